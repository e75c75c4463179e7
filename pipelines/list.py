"""`assay list`: what there is, read from the sources without importing them."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from pipelines.evaluate.presets import PRESETS

_HOME = Path(__file__).resolve().parents[1]
_TABLES = {
    "data": ("datamodules/__init__.py", "DATA", "--data NAME"),
    "models": ("lightning_modules/sources/__init__.py", "SOURCES", "--model SOURCE:NAME"),
    "architectures": (
        "lightning_modules/architectures.py",
        "ARCHITECTURES",
        "--model NAME, or --arch NAME for a checkpoint",
    ),
    "damages": ("callbacks/damage/__init__.py", "DAMAGES", "assay recover --damage NAME"),
    "structure": ("callbacks/damage/__init__.py", "STRUCTURE", "assay recover --damage NAME"),
    "training_data": (
        "pipelines/recover/subject.py",
        "DATA_DAMAGES",
        "assay recover --damage NAME",
    ),
    "strategies": (
        "pipelines/recover/strategies.py",
        "STRATEGIES",
        "assay recover --strategies NAME ...",
    ),
    "probes": ("callbacks/__init__.py", "PROBES", "--probes NAME ..."),
    "explainers": (
        "callbacks/interpretability/registry.py",
        "EXPLAINERS",
        "callbacks.interpretability.ExplanationProbe, in YAML: explainer: NAME",
    ),
    "explanation_metrics": (
        "callbacks/interpretability/registry.py",
        "METRICS",
        "the same: metrics: [NAME, ...]",
    ),
}
"""Section: file, name of its dictionary, how to use an entry."""


def main(words: list[str]) -> int:
    """Prints all sections, or those named."""
    sections = [*_TABLES, "presets"]
    if unknown := [word for word in words if word not in sections]:
        from pipelines.cli import suggestion

        hint = suggestion(unknown[0], sections)
        print(f"assay: there is no section {unknown[0]!r}.{hint}", file=sys.stderr)
        return 2
    for section in words or sections:
        _print_section(section)
    return 0


def entries(section: str) -> Iterator[tuple[str, str]]:
    """Yields (name, first sentence of its docstring) of a section."""
    file, table, _ = _TABLES[section]
    tree = ast.parse((_HOME / file).read_text())
    for key, value in _dictionary(tree, table):
        yield key, _first_sentence(tree, _name_in(value)) + _arguments(value)


def _dictionary(tree: ast.Module, name: str) -> Iterator[tuple[str, ast.expr]]:
    """Yields the items of the dictionary literal assigned to `name`."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            assert isinstance(node.value, ast.Dict)  # type: ignore[union-attr]
            for key, value in zip(node.value.keys, node.value.values, strict=True):  # type: ignore[union-attr]
                yield ast.literal_eval(key), value  # type: ignore[arg-type]


def _name_in(value: ast.expr) -> str:
    """What an entry is made of: `Clean`, `Clean.within`, `attacked_by(PGD)`, `partial(Net, 3)`."""
    if isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _arguments(value: ast.expr) -> str:
    """The keywords that tell entries of one kind apart, e.g. ` (norm l2)`."""
    given = value.keywords if isinstance(value, ast.Call) else []
    said = [f"{one.arg} {ast.literal_eval(one.value)}" for one in given]
    return f" ({', '.join(said)})" if said else ""


def _first_sentence(tree: ast.Module, name: str) -> str:
    """Follows a name through imports and `partial` to its definition's docstring."""
    for node in tree.body:
        if getattr(node, "name", None) == name:
            return (ast.get_docstring(node) or "").split("\n")[0]  # type: ignore[arg-type]
        if isinstance(node, ast.ImportFrom) and name in [a.asname or a.name for a in node.names]:
            path = _HOME / str(node.module).replace(".", "/")
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            return _first_sentence(ast.parse(file.read_text()), name) if file.is_file() else ""
        if isinstance(node, ast.Assign) and name in [getattr(t, "id", None) for t in node.targets]:
            return _first_sentence(tree, _name_in(node.value))
    return ""


def _print_section(section: str) -> None:
    rows = PRESETS.items() if section == "presets" else entries(section)
    lines = [(name, str(text)) for name, text in rows]
    usage = "--preset NAME" if section == "presets" else _TABLES[section][2]
    width = max(len(name) for name, _ in lines)
    print(f"{section}   ({usage})")
    for name, text in lines:
        print(f"  {name:<{width}}  {text}")
    print()
