"""The model card of a result, after Mitchell et al. 2019 (arXiv 1810.03993).

Only stored facts stand in it. What no measurement can know, such as what a model is meant for,
comes from a file of the user's, or the card says that it was not stated.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from callbacks.family import Number
from callbacks.words import ends, number, percent
from datamodules.errors import UserError, suggestion
from datamodules.strict_yaml import read_yaml, yaml_problem
from pipelines.report.result import Result
from pipelines.report.scope import untested

STATABLE = {
    "developed_by": "Developed by",
    "version": "Version",
    "license": "License",
    "citation": "Citation",
    "contact": "Contact",
    "intended_use": "Intended use",
    "out_of_scope": "Out of scope",
    "factors": "Relevant factors",
    "training_data": "Trained on",
    "ethical_considerations": "Ethical considerations",
    "caveats": "Caveats",
}
"""What the user's file may say, and how the card calls it."""
Stated = Mapping[str, str]
_NOT_STATED = "not stated by the user"
_DETAILS = ("developed_by", "version", "license", "citation", "contact")


class CardPart(NamedTuple):
    """One of the nine parts of a card.

    Args:
        title: as in the paper.
        lines: names and texts.
    """

    title: str
    lines: Sequence[tuple[str, str]]


def read_stated(file: Path) -> dict[str, str]:
    """Reads what the user states about a model.

    Args:
        file: YAML; keys as in `STATABLE`, values texts or lists of texts.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        read = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"Expected `model_card` to be a YAML file, but: {yaml_problem(error)}."
        ) from error
    if not isinstance(read, dict):
        raise UserError(
            f"Expected {str(file)!r} to hold lines such as `intended_use: ...`, but got "
            f"{type(read).__name__}. Keys: {', '.join(STATABLE)}."
        )
    return {str(key): _text(str(key), value, file) for key, value in read.items()}


def _text(key: str, value: Any, file: Path) -> str:
    if key not in STATABLE:
        told = suggestion(key, STATABLE)
        raise UserError(f"Expected no {key!r} in {str(file)!r}.{told}")
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(one, dict | list) or one is None for one in values):
        raise UserError(f"Expected {key!r} in {str(file)!r} to be a text or a list of texts.")
    return "; ".join(" ".join(str(one).split()) for one in values)


def card_of(result: Result, stated: Stated | None = None) -> list[CardPart]:
    """Fills in the nine parts.

    Args:
        result: of any question.
        stated: see `read_stated`.
    """
    said = stated or {}
    numbers = [one for one in result.headline().values() if one.card]
    return [
        CardPart("Model details", [*_models(result), *_said(said, *_DETAILS)]),
        CardPart("Intended use", _said(said, "intended_use", "out_of_scope")),
        CardPart("Factors", [*_said(said, "factors"), *_varied(result)]),
        CardPart("Metrics", [(one.title, one.note or "see its table") for one in numbers]),
        CardPart("Evaluation data", list(_evaluated(result))),
        CardPart("Training data", [*_said(said, "training_data"), *_training(result)]),
        CardPart("Quantitative analyses", [(one.title, told(one)) for one in numbers]),
        CardPart("Ethical considerations", _said(said, "ethical_considerations")),
        CardPart("Caveats and recommendations", [*_said(said, "caveats"), *_caveats(result)]),
    ]


def told(found: Number) -> str:
    """`98.1 %, 95 % interval 97.0–98.9`, or that there is no interval."""
    value, low, high = found.interval
    share = found.unit == "%"
    text = percent(value) if share else number(value)
    between = ends(low, high, 100, 1) if share else ends(low, high)
    interval = f"95 % interval {between}" if between else "no interval"
    return f"{f'{text} {found.unit}'.strip()}, {interval}"


def _said(stated: Stated, *keys: str) -> list[tuple[str, str]]:
    return [(STATABLE[key], stated.get(key, _NOT_STATED)) for key in keys]


def _models(result: Result) -> Iterator[tuple[str, str]]:
    for model in result.about.models:
        parts = [
            str(model.get("source") or model["architecture"]),
            f"architecture {model['architecture']}",
            f"{model['parameters']:,} parameters",
            f"{len(model['classes'])} classes",
            f"weights {model['digest']}",
        ]
        yield str(model["name"]), ", ".join(parts)
        if model.get("input_told"):
            yield f"{model['name']} sees", str(model["input_told"])


def _varied(result: Result) -> Iterator[tuple[str, str]]:
    probes = {k: v for k, v in result.parameters().items() if k.startswith("probe.")}
    yield from ((name.removeprefix("probe."), str(done)) for name, done in probes.items())
    if not probes and (asked := result.parameters()):
        yield "Settings", " · ".join(f"{name} {value}" for name, value in asked.items())


def _evaluated(result: Result) -> Iterator[tuple[str, str]]:
    for data in result.about.data:
        test = data["splits"].get("test")
        if test:
            digest = str(test["digest"])[:16]
            title = str(data.get("title", data["name"]))
            yield title, f"{test['samples']:,} test images, digest {digest}"


def _training(result: Result) -> Iterator[tuple[str, str]]:
    """What this run loaded besides test images; whether the model learnt it, the question says."""
    for data in result.about.data:
        loaded = [
            f"{split['samples']:,} {name} images"
            for name, split in data["splits"].items()
            if name != "test"
        ]
        if loaded:
            yield f"{data.get('title', data['name'])}, loaded by this run", ", ".join(loaded)


def _caveats(result: Result) -> list[tuple[str, str]]:
    notes = [("Note", note) for note in result.about.notes]
    return [*notes, *(("Not tested", line) for line in untested(result))]
