"""What the pages say is true: links lead somewhere, commands exist, notebooks run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli import COMMANDS

HOME = Path(__file__).resolve().parents[1]
DOCS = HOME / "docs"
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md"] + [
    page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts
]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"^(?:\.venv/bin/)?assay (\S+)((?:.*\\\n)*.*)", re.MULTILINE)


def label(page: Path) -> str:
    return page.relative_to(HOME).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_lead_to_files(page: Path) -> None:
    folder = DOCS if page.parent.name == "kept" else page.parent  # included into docs/results.md
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [link for link in links if not (folder / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_commands_exist(page: Path) -> None:
    named = {command for command, _ in COMMAND.findall(page.read_text())}
    assert named <= {*COMMANDS, "COMMAND"}


def test_flags_exist() -> None:
    """A flag of a page's command is named by the sources, or is one of Lightning's Trainer."""
    sources = "\n".join(
        file.read_text()
        for room in ("pipelines", "datamodules", "lightning_modules", "callbacks")
        for file in (HOME / room).rglob("*.py")
    )
    flags = {
        flag
        for page in PAGES
        for _, line in COMMAND.findall(page.read_text())
        for flag in re.findall(r"--([a-z_.A-Z0-9]+)", line)
        if not flag.startswith("trainer.")
    }
    unknown = [flag for flag in flags if not re.search(rf"\b{flag.split('.')[-1]}\b", sources)]
    assert not unknown
    assert flags


def test_the_readme_is_one_screen() -> None:
    assert len((HOME / "README.md").read_text().splitlines()) <= 60


def test_notebooks_keep_their_outputs_small() -> None:
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text())["cells"]
        ran = [cell for cell in cells if cell["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in ran), notebook
        assert not any(out["output_type"] == "error" for cell in ran for out in cell["outputs"])
        assert notebook.stat().st_size < 200_000
        assert "/tmp" not in notebook.read_text(), "a path of the machine that ran it"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=label)
def test_notebooks_run(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="needs `pip install 'assay[docs]'`")
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    read = nbformat.read(notebook, 4)
    nbclient.NotebookClient(
        read, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()  # raises what a cell raises


def test_tables_of_results_are_written_by_their_program(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text((DOCS / "results.md").read_text().replace("[92.2, 96.1]", "[old, old]"))
    stored(tmp_path, "fine-tune-lenet-Digits-s0-00000000", 0.4)
    os.utime(stored(tmp_path, "fine-tune-lenet-Digits-s0-ca4d55de", 0.5), (2e9, 2e9))
    stored(tmp_path, "assess-lenet-Digits-s0-1424b6f2", 0.6)
    told = written(page, tmp_path)
    assert "written  digits" in told
    assert "| LeNet | 50.0 [25.0, 75.0] | - | - | - |" in page.read_text()  # of the newest
    assert "[old, old]" not in page.read_text()
    assert "written  five" in told
    assert "| robustness: accuracy % | 60.0 [25.0, 75.0] |" in page.read_text()


def test_a_run_that_is_gone_leaves_its_table(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text((DOCS / "results.md").read_text())
    assert "left     digits" in written(page, tmp_path)
    assert page.read_text() == (DOCS / "results.md").read_text()


def test_comparisons_hold_their_level() -> None:
    """As measured: the lower end of what was called different by chance is at most 5 %."""
    page = (DOCS / "false_alarms.md").read_text()
    head, _, *lines = [line.strip("| ").split(" | ") for line in page.splitlines() if "|" in line]
    assert len(lines) >= 6
    for line in lines:
        cells = dict(zip(head, line, strict=True))
        for column in ("any verdict", "draws"):
            assert float(cells[column].partition("[")[2].split(",")[0]) <= 5, (column, line)


def stored(root: Path, run: str, accuracy: float) -> Path:
    folder = root / "mlruns" / "results" / run
    folder.mkdir(parents=True)
    about = {"command": "assay x", "created": "2026-01-02T", "seed": 0}
    about["environment"] = {"torch": "2.6", "device": "cpu"}
    interval = {"value": accuracy, "low": 0.25, "high": 0.75}
    headline = {"clean_acc": {"unit": "%", "interval": interval}}
    (folder / "result.json").write_text(json.dumps({"about": about, "headline": headline}))
    return folder / "result.json"


def written(page: Path, root: Path) -> str:
    return subprocess.run(
        [sys.executable, str(DOCS / "results.py"), "--root", str(root), "--page", str(page)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(HOME)},
    ).stdout  # fmt: skip
