"""A monitor as a file: tensors as safetensors, the rest as JSON in its header, never a pickle."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from callbacks.monitoring.drift_test import DriftTest, Order
from callbacks.monitoring.streaming import LayerStatistics, histogram_edges
from datamodules.errors import UserError

INPUT, OUTPUT = "input", "output"
"""What stands beside the layers: the images and the logits."""
_FORMAT = "assay-monitor-1"
_FIELDS = ("count", "mean", "m2", "zeros", "histogram")
_NUMBERS = ("window", "false_alarms", "threshold", "centre", "scale", "order")
_BY_LAYER = ("reference", "spread", "centre", "scale")
_COUNTS = ("every", "places", "window", "profile_images")


def write_monitor(
    file: Path, facts: dict[str, Any], test: DriftTest, profile: Mapping[str, LayerStatistics]
) -> Path:
    """Writes what a monitor has learnt and returns the file.

    Args:
        file: its folder is made.
        facts: plain options of the monitor.
        test: for drift.
        profile: clean statistics by layer.
    """
    tensors: dict[str, Tensor] = {}
    for kind in ("reference", "spread"):
        tensors |= {f"{kind}/{name}": value for name, value in getattr(test, kind).items()}
    for name, statistics in profile.items():
        tensors |= {f"{kind}/{name}": value for kind, value in statistics.tensors().items()}
    plain = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    numbers = {name: getattr(test, name) for name in _NUMBERS}
    header = json.dumps({"monitor": facts, "test": numbers})
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(plain, str(file), {"format": _FORMAT, "facts": header})
    return file


class Learnt(NamedTuple):
    """What a monitor has learnt.

    Args:
        facts: plain options of the monitor.
        test: for drift.
        profile: clean statistics by layer.
    """

    facts: dict[str, Any]
    test: DriftTest
    profile: Mapping[str, LayerStatistics]

    def renamed(self, names: Mapping[str, str], without: Collection[str] = ()) -> "Learnt":
        """The same under other names of layers, some left out."""

        def moved(of: Mapping[str, Any]) -> dict[str, Any]:
            return {_renamed(key, names): one for key, one in of.items() if key not in without}

        parts = {kind: moved(getattr(self.test, kind)) for kind in _BY_LAYER}
        return Learnt(self.facts, replace(self.test, **parts), moved(self.profile))


def _renamed(key: str, names: Mapping[str, str]) -> str:
    """`model.relu:2`, the second call of a layer, becomes `relu:2`."""
    name, colon, call = key.partition(":")
    return names.get(name, name) + colon + call


def read_monitor(file: Path) -> Learnt:
    """Reads what `write_monitor` wrote.

    Raises:
        UserError: the file is no monitor, is broken, or could never raise an alarm.
    """
    try:
        with safe_open(str(file), "pt") as opened:
            header = opened.metadata() or {}
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own, and OSError
        raise UserError(f"Expected a monitor in {str(file)!r}, but: {error}.") from error
    if header.get("format") != _FORMAT:
        raise UserError(
            f"Expected a monitor in {str(file)!r}, but its format is {header.get('format')!r}."
        )
    try:
        learnt = _learnt(json.loads(header["facts"]), tensors)
        if not (wrong := _wrong(learnt)):
            return learnt
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = f"it is broken ({type(error).__name__}: {error})"
    raise UserError(f"Expected a monitor in {str(file)!r}, but {wrong}: learn it again.")


def _learnt(facts: dict[str, Any], tensors: Mapping[str, Tensor]) -> Learnt:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        parts.setdefault(kind, {})[name] = value
    test = DriftTest(reference=parts["reference"], spread=parts["spread"], **facts["test"])
    profile = {
        name: LayerStatistics(*(parts[field][name] for field in _FIELDS))
        for name in facts["test"]["centre"]  # in the order of the layers; files are sorted
    }
    return Learnt(facts["monitor"], test, profile)


def _wrong(learnt: Learnt) -> str:
    """What keeps a monitor from watching, or nothing."""
    test, facts = learnt.test, learnt.facts
    numbers = [test.threshold, *test.centre.values(), *test.scale.values()]
    if not all(math.isfinite(number) for number in numbers):
        return "its threshold is no number, so that it would never raise an alarm"
    if min(test.scale.values()) <= 0 or not 0 < test.false_alarms < 1:
        return "its threshold cannot be right"
    if test.false_alarms != facts["false_alarms"] or test.order not in get_args(Order):
        return "it does not say what its rate of false alarms is stated for"
    if not all(bool(value.isfinite().all()) for value in test.reference.values()):
        return "its reference is not finite"
    if not all(bool((value.isfinite() & (value >= 0)).all()) for value in test.spread.values()):
        return "its spread is none, so that it would never raise an alarm"
    whole = all(isinstance(facts[name], int) and facts[name] > 0 for name in _COUNTS)
    same = [set(getattr(test, kind)) for kind in _BY_LAYER]
    if not whole or facts["window"] != test.window or any(one != same[0] for one in same):
        return "its parts do not belong together"
    if not all(isinstance(name, str) for name in facts["layers"]):
        return "its layers have no names"
    known = {INPUT, OUTPUT, *facts["layers"]}
    if not {name.partition(":")[0] for name in same[0]} <= known:
        return "it tells of layers that it does not watch"
    if not all(_belong_together(learnt, name) for name in test.reference):
        return "its tensors have shapes of different layers"
    return ""


def _belong_together(learnt: Learnt, name: str) -> bool:
    """Whether everything about a layer is of the same channels."""
    reference, told = learnt.test.reference[name], learnt.profile[name]
    by_channel = (reference, learnt.test.spread[name], told.mean, told.m2, told.zeros)
    edges = histogram_edges(told.histogram.device)
    return (
        all(part.shape == (len(reference),) and part.is_floating_point() for part in by_channel)
        and told.histogram.shape == (len(edges) + 1,)
        and float(told.count) > 0
    )
