"""The rooms know each other in one direction only, and the mathematics knows no framework."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
ROOMS = ["datamodules", "lightning_modules", "callbacks", "pipelines"]
FILES = sorted(file for room in ROOMS for file in (HOME / room).rglob("*.py"))
# Files of a probe family that speak to Lightning; every other file there is an algorithm.
FRAMEWORK_FILES = {"__init__.py", "probe.py"}
ALGORITHMS = [
    file
    for file in FILES
    if file.relative_to(HOME).parts[0] == "callbacks"
    and len(file.relative_to(HOME).parts) > 2
    and file.name not in FRAMEWORK_FILES
]


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield node.module or ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOME)))
def test_imports_go_one_way(file: Path) -> None:
    own = ROOMS.index(file.relative_to(HOME).parts[0])
    later = set(ROOMS[own + 1 :])
    wrong = [name for name in imports(file) if name.split(".")[0] in later | {"tests"}]
    assert not wrong


@pytest.mark.parametrize("file", ALGORITHMS, ids=lambda file: str(file.relative_to(HOME)))
def test_algorithms_import_no_framework(file: Path) -> None:
    frameworks = {"lightning", "mlflow", "torchmetrics", "lightning_modules"}
    assert not [name for name in imports(file) if name.split(".")[0] in frameworks]


def test_tests_have_no_packages() -> None:
    assert not list((HOME / "tests").rglob("__init__.py")), "would hide the package it is named as"
