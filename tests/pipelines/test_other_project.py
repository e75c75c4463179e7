"""Started inside a project that has folders of our names: it works, or says one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
MODEL = """
from callbacks import EarlyStopper
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's own training project."""
    for name in ("callbacks", "pipelines", "datamodules", "lightning_modules"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("class EarlyStopper: ...\n")
    (tmp_path / "mine.py").write_text(MODEL)
    (tmp_path / "script.py").write_text("from pipelines import evaluate\n")
    return tmp_path


def run(project: Path, *words: str, path: str = ".") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=project, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def program(project: Path) -> str:
    """Where an installation puts it: alone in a folder."""
    (project / "bin").mkdir(exist_ok=True)
    return shutil.copy(HOME / "pipelines" / "assay", project / "bin" / "assay")


def test_the_program_finds_its_own_packages(project: Path) -> None:
    answer = run(project, program(project), "list", "presets")
    assert (answer.returncode, "quick" in answer.stdout) == (0, True), answer.stderr


def test_the_module_of_another_project_is_one_sentence(project: Path) -> None:
    """`python:mine:net` asks for `callbacks.EarlyStopper`, and `callbacks` is ours here."""
    words = "evaluate --model python:mine:net --data Digits --tracking.enabled false".split()
    answer = run(project, program(project), *words)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert "cannot import name 'EarlyStopper' from 'callbacks'" in answer.stderr


@pytest.mark.parametrize("theirs", ["callbacks", "datamodules"])
def test_a_script_that_hides_one_of_our_packages_is_told_which(project: Path, theirs: str) -> None:
    for name in {"callbacks", "pipelines", "datamodules", "lightning_modules"} - {theirs}:
        (project / name / "__init__.py").unlink()
        (project / name).rmdir()
    answer = run(project, "script.py", path=str(HOME))
    last = answer.stderr.strip().splitlines()[-1]
    assert f"The package '{theirs}' that Python finds is not Assay's" in last
