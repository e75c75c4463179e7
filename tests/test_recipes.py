"""What CONTRIBUTING says about adding things is true: its blocks are run as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```(python|diff)\n# (\S+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages in which every recipe was followed."""
    root = tmp_path_factory.mktemp("copy")
    for package in ("datamodules", "lightning_modules", "callbacks", "pipelines"):
        shutil.copytree(
            HOME / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for kind, name, text in BLOCK.findall((HOME / "CONTRIBUTING.md").read_text()):
        file = root / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text if kind == "python" else added(file.read_text(), text))
    return root


def added(source: str, diff: str) -> str:
    """Puts the `+` lines behind the line that stands before them, imports behind the docstring."""
    anchor = ""
    for line in diff.splitlines():
        if line.startswith("+") and not anchor:
            end = source.index('"""', 3) + 3
            source = f"{source[:end]}\n{line[1:]}{source[end:]}"
        elif line.startswith("+"):
            assert source.count(anchor) == 1, anchor
            source = source.replace(anchor, f"{anchor}\n{line[1:]}")
        else:
            anchor = line[1:]
    return source


def assay(copied: Path, folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copied), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        capture_output=True, text=True, env=environment, cwd=folder, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_what_was_added_is_listed(copied: Path, tmp_path: Path) -> None:
    listed = assay(copied, tmp_path, "list", "probes", "damages", "explainers", "data")
    for name in ("random_sign", "posterise", "halve", "explain_brightness", "negative", "Stripes"):
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE), name


def test_what_was_added_is_measured_and_shown(copied: Path, tmp_path: Path) -> None:
    probes = ("random_sign", "halve", "explain_brightness", "negative")
    out = assay(
        copied, tmp_path, "evaluate", "--model", "lenet", "--data", "Stripes", "--data.limit", "30",
        "--probes", *probes, "--tracking.enabled", "false",
    )  # fmt: skip
    (folder,) = (tmp_path / "mlruns" / "results").iterdir()
    rows = {file.stem for file in (folder / "rows").iterdir()}
    added = {"randomsign_linf", "halve", "explain_brightness", "negative"}
    assert rows == {"clean", "masking_linf", *added}, "masking is looked for beside any attack"
    result = json.loads((folder / "result.json").read_text())
    assert "negative_acc" in result["headline"]
    page = (folder / "report.html").read_text()
    for text in ("RandomSign (L∞)", "Weights halved", "Towards the negative", "In negative"):
        assert text in page
    assert "In negative it gets" in page
    assert "In negative it gets" in out
    assert "Weights halved" in out
    figures = {file.stem for file in (folder / "figures").iterdir()}
    assert "negative_share_of_the_way_acc" in figures
