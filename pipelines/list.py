"""`assay list`: what there is, read from the sources without importing them."""

import argparse
import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.evaluate.presets import PRESETS

_HOME = Path(__file__).resolve().parents[1]


class Table(NamedTuple):
    """A dictionary in the sources that users choose from by name.

    Args:
        file: relative to the packages' folder.
        name: of the dictionary.
        usage: how an entry is named on the command line.
    """

    file: str
    name: str
    usage: str


_RECOVER = "assay recover --damage NAME"
_TABLES = {
    "data": Table("datamodules/__init__.py", "DATA", "--data NAME, or NAME:FOLDER"),
    "models": Table("lightning_modules/sources/__init__.py", "SOURCES", "--model SOURCE:NAME"),
    "architectures": Table(
        "lightning_modules/architectures.py", "ARCHITECTURES",
        "--model NAME, or --arch NAME for a checkpoint",
    ),
    "attacks": Table(
        "callbacks/adversarial/__init__.py", "ATTACKS", "assay evaluate --attack NAME"
    ),
    "minimum_norm": Table(
        "callbacks/adversarial/__init__.py", "MINIMUM_NORM", "the same: --attack NAME"
    ),
    "spatial": Table(
        "callbacks/adversarial/__init__.py", "SPATIAL",
        "the same: --attack NAME, --epsilon DEGREES",
    ),
    "universal": Table(
        "callbacks/adversarial/__init__.py", "UNIVERSAL",
        "the same: --attack NAME; --epsilon SHARE for a patch",
    ),
    "corruptions": Table(
        "callbacks/corruption/registry.py", "CORRUPTIONS",
        "assay evaluate --corruption NAME ...: the 15 of ImageNet-C, then the 4 that it holds out",
    ),
    "cameras": Table(
        "callbacks/camera/registry.py", "CAMERAS",
        "the same: --corruption NAME ...; a group with a mean of its own",
    ),
    "foreign": Table(
        "callbacks/foreign/registry.py", "LIBRARIES",
        'the same: --corruption "LIBRARY:Class(parameter=value, swept=mild|...|severe)"',
    ),
    "damages": Table("callbacks/damage/__init__.py", "DAMAGES", _RECOVER),
    "structure": Table("callbacks/damage/__init__.py", "STRUCTURE", _RECOVER),
    "training_data": Table("pipelines/recover/damages.py", "DATA_DAMAGES", _RECOVER),
    "strategies": Table(
        "pipelines/recover/strategies.py", "STRATEGIES", "assay recover --strategies NAME ..."
    ),
    "regularisers": Table(
        "lightning_modules/regularisers/terms.py", "REGULARISERS",
        "--regulariser.NAME WEIGHT of fine-tune and distill, or as the line says",
    ),
    "explainers": Table(
        "callbacks/interpretability/registry.py", "EXPLAINERS",
        "callbacks.ExplanationProbe, in YAML: explainer: NAME",
    ),
    "explanation_metrics": Table(
        "callbacks/interpretability/registry.py", "METRICS", "the same: metrics: [NAME, ...]"
    ),
}  # fmt: skip
_GROUPS = {"corruptions": ("corruptions", "cameras", "foreign")}
"""Sections that are shown together where one is named."""


_ELSEWHERE = {
    "awp": "Adversarial weight perturbation (2004.05884): --regulariser.awp GAMMA",
    "trades": "KL of clean and attacked answers (1901.08573): --config trades --robust.beta WEIGHT",
    "mart": "The same, weighted by what is wrong: --config mart --robust.beta WEIGHT",
    "l2_sp": "Pull to where the weights started (1802.01483): --tuning.mode l2_sp",
    "label_smoothing": "Labels spread over all classes: --tuning.label_smoothing SHARE",
    "weight_decay": "Pull to zero: --tuning.weight_decay WEIGHT",
    "dropout": "Of the model's dropout layers: --tuning.dropout PROBABILITY",
    "noise": "Noisy training images: --config noise",
    "corrupted": "Corrupted training images: --config corrupted",
}
"""Regularisers that are options of another name."""


def main(words: list[str]) -> int:
    """Prints all sections, or those named."""
    parser = argparse.ArgumentParser(prog="assay list", description="Names everything there is.")
    sections = [*_TABLES, "probes", "presets", "recipes"]
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(sections)}; default: all"
    )
    chosen = parser.parse_args(words).sections
    if unknown := [word for word in chosen if word not in sections]:
        from pipelines.cli import mistake, suggestion

        return mistake(f"There is no section {unknown[0]!r}.{suggestion(unknown[0], sections)}")
    shown = [part for section in chosen for part in _GROUPS.get(section, (section,))]
    for section in dict.fromkeys(shown) or sections:
        _print_section(section)
    return 0


def entries(section: str) -> Iterator[tuple[str, str]]:
    """Yields (name, first sentence of its docstring) of a section."""
    if section == "probes":
        for file in _families():
            yield from _table_entries(file, _probes_of(file))
        return
    table = _TABLES[section]
    tree = ast.parse((_HOME / table.file).read_text())
    yield from _table_entries(_HOME / table.file, _assigned(tree, table.name))


def preset_probes(preset: str) -> list[str]:
    """Names of the probes that the families give to a preset."""
    names: list[str] = []
    for file in _families():
        call = _assigned(ast.parse(file.read_text()), "FAMILY")
        assert isinstance(call, ast.Call)
        given = [k.value for k in call.keywords if k.arg == "presets"]
        names += ast.literal_eval(given[0]).get(preset, ()) if given else ()
    return names


# -- reading the sources ---------------------------------------------------------------------------


def _families() -> Iterator[Path]:
    """The file of each family in `FAMILIES`, in their order."""
    table = _assigned(ast.parse((_HOME / "callbacks/__init__.py").read_text()), "FAMILIES")
    assert isinstance(table, ast.Dict)
    for value in table.values:
        assert isinstance(value, ast.Attribute)
        name = ast.unparse(value.value)
        yield _module_file(f"callbacks.{name}")


def _probes_of(file: Path) -> ast.expr:
    """A family's table of probes: `PROBES`, or what its `Family` is given."""
    tree = ast.parse(file.read_text())
    call = _assigned(tree, "FAMILY")
    assert isinstance(call, ast.Call)
    (given,) = [k.value for k in call.keywords if k.arg == "probes"]
    return _assigned(tree, given.id) if isinstance(given, ast.Name) else given


def _table_entries(file: Path, table: ast.expr) -> Iterator[tuple[str, str]]:
    """The entries of a dictionary, of `each(TABLE, ...)`, and of one inside the other."""
    tree = ast.parse(file.read_text())
    if isinstance(table, ast.Call):
        yield from _each(file, table)
        return
    assert isinstance(table, ast.Dict)
    for key, value in zip(table.keys, table.values, strict=True):
        if key is None:
            yield from _table_entries(file, value)
        else:
            yield ast.literal_eval(key), _first_sentence(tree, _subject(value)) + _options(value)


def _each(file: Path, call: ast.Call) -> Iterator[tuple[str, str]]:
    """`each(DAMAGES, DamageProbe, "damage", prefix="x_")`: an entry of every line of a table."""
    (prefix,) = [ast.literal_eval(k.value) for k in call.keywords if k.arg == "prefix"] or [""]
    name = ast.unparse(call.args[0])
    where = _defining_file(file, name)
    table = _assigned(ast.parse(where.read_text()), name)
    for key, text in _table_entries(where, table):
        yield f"{prefix}{key}", text


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    """What is assigned to a name at the top of a module."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            assert node.value is not None
            return node.value
    raise LookupError(f"nothing is assigned to {name}")


def _subject(value: ast.expr) -> str:
    """What an entry is made of: `Clean`, `Entry(Probe, attack=PGD)`, `partial(Net, 3)`."""
    if isinstance(value, ast.Call):
        classes = [k.value for k in value.keywords if isinstance(k.value, ast.Name)]
        value = [*classes, *value.args][0]
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _options(value: ast.expr) -> str:
    """The keywords that tell entries of one kind apart, e.g. ` (norm l2)`."""
    given = value.keywords if isinstance(value, ast.Call) else []
    told = [
        f"{k.arg} {ast.literal_eval(k.value)}" for k in given if not isinstance(k.value, ast.Name)
    ]
    return f" ({', '.join(told)})" if told else ""


def _first_sentence(tree: ast.Module, name: str) -> str:
    """Follows a name through imports and `partial` to its definition's docstring."""
    for node in tree.body:
        if getattr(node, "name", None) == name:
            return (ast.get_docstring(node) or "").split("\n")[0]  # type: ignore[arg-type]
        if isinstance(node, ast.ImportFrom) and name in [a.asname or a.name for a in node.names]:
            file = _module_file(str(node.module))
            return _first_sentence(ast.parse(file.read_text()), name) if file.is_file() else ""
        if isinstance(node, ast.Assign) and name in [getattr(t, "id", None) for t in node.targets]:
            return _first_sentence(tree, _subject(node.value))
    return ""


def _defining_file(file: Path, name: str) -> Path:
    """The file that a name comes from, through its imports."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and name in [a.asname or a.name for a in node.names]:
            return _defining_file(_module_file(str(node.module)), name)
    return file


def _module_file(module: str) -> Path:
    path = _HOME / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


# -- printing --------------------------------------------------------------------------------------


def _print_section(section: str) -> None:
    lines, usage = _lines(section)
    width = max(len(name) for name, _ in lines)
    print(f"{section}   ({usage})")
    for name, text in lines:
        print(f"  {name:<{width}}  {text}")
    print()


def _lines(section: str) -> tuple[list[tuple[str, str]], str]:
    special: dict[str, tuple[Callable[[], Iterator[tuple[str, str]]], str]] = {
        "presets": (_presets, "--preset NAME"),
        "recipes": (_recipes, "assay fine-tune --config NAME"),
        "probes": (lambda: entries("probes"), "--probes NAME ..."),
    }
    if section in special:
        lines, usage = special[section]
        return list(lines()), usage
    elsewhere = _ELSEWHERE if section == "regularisers" else {}
    return [*entries(section), *elsewhere.items()], _TABLES[section].usage


def _presets() -> Iterator[tuple[str, str]]:
    for name, preset in PRESETS.items():
        yield name, f"{preset}; {' '.join(preset_probes(name))}"


def _recipes() -> Iterator[tuple[str, str]]:
    """Trainings by name, with the comment at the head of each file."""
    for file in sorted((_HOME / "pipelines/configs").glob("*.yaml")):
        head = [line[2:] for line in file.read_text().splitlines() if line.startswith("# ")]
        yield file.stem, " ".join(head)
