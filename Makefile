# Two commands are all a new machine needs: `make run` and `make test`.
# Both make .venv on first use (Python >= 3.10, pip and make; ~6 GB because torch brings its CUDA packages).

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/python -m uv
STAMP := .venv/.installed

.PHONY: run test test-all test-lowest test-gpu lint docs results bench freeze clean

run: $(STAMP)  ## a LeNet on digits, asked all five questions -> MLflow, plan, profile, report
	@$(BIN)/assay assess --preset quick

test: $(STAMP)  ## everything that is fast and offline
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/python -m pytest -n auto --dist worksteal

test-all: $(STAMP)  ## slow and multi-process tests too
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/python -m pytest -m "not gpu and not network and not bench"

test-gpu: $(STAMP)
	@$(BIN)/python -m pytest -m gpu

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

docs: $(STAMP)  ## docs/_build/html; a warning is an error
	@$(UV) pip install -q --python $(BIN)/python --constraint .ci/constraints.txt -e ".[docs]"
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/python -m sphinx -b html -W --keep-going -n -q docs docs/_build/html

results: $(STAMP)  ## write the tables of docs/results.md from the runs below mlruns/
	@$(BIN)/python docs/results.py

# The lowest versions that pyproject.toml promises, in an environment of their own.
test-lowest:
	@$(PYTHON) -m venv .venv-lowest && .venv-lowest/bin/python -m pip install -q "uv>=0.5"
	@.venv-lowest/bin/python -m uv pip install -q --python .venv-lowest/bin/python --compile-bytecode \
		--resolution lowest-direct -e ".[dev]"
	@MLFLOW_DISABLE_TELEMETRY=true .venv-lowest/bin/python -m pytest -n auto --dist worksteal

# Foolbox, torchattacks and imagecorruptions live in an environment of their own, never in the project's.
bench: $(STAMP)
	@$(PYTHON) -m venv .venv-bench && .venv-bench/bin/python -m pip install -q "uv>=0.5"
	@.venv-bench/bin/python -m uv pip install -q --python .venv-bench/bin/python --compile-bytecode \
		--constraint .ci/constraints.txt --overrides tests/benchmarks/overrides.txt \
		--build-constraints tests/benchmarks/build-constraints.txt \
		-e . -r tests/benchmarks/requirements.txt
	@.venv-bench/bin/python tests/benchmarks/peer_attacks.py
	@.venv-bench/bin/python tests/benchmarks/peer_auto_attack.py
	@.venv-bench/bin/python tests/benchmarks/peer_minimum_norm.py
	@$(BIN)/python tests/benchmarks/attack_speed.py
	@.venv-bench/bin/python tests/benchmarks/damage_speed.py
	@.venv-bench/bin/python tests/benchmarks/corruption_speed.py
	@.venv-bench/bin/python tests/benchmarks/peer_corruptions.py

# uv lives inside the environment: nothing is installed outside this folder.
$(STAMP): pyproject.toml .ci/constraints.txt
	@echo "assay: installing into .venv: about 6 GB (torch with its CUDA packages), one to four minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check "uv>=0.5"  # 0.5: --compile-bytecode with constraints
	@$(UV) pip install -q --python $(BIN)/python --compile-bytecode --constraint .ci/constraints.txt -e ".[dev]"
	@$(BIN)/python -c "import torchvision" || { echo "assay: torch and torchvision do not fit each other;" \
		"remove .venv and run make again, with versions of one release (see .ci/constraints.txt)."; exit 1; }
	@touch $@

freeze: $(STAMP)  ## write the tested set anew
	@$(UV) pip freeze --python $(BIN)/python --exclude-editable | grep -v '^uv==' > .ci/constraints.txt

clean:
	rm -rf .venv .venv-lowest .venv-bench build *.egg-info
