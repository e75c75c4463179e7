"""A monitor as a file: tensors as safetensors, the rest as JSON in its header, never a pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from callbacks.monitoring.drift_test import DriftTest
from callbacks.monitoring.streaming import LayerStatistics
from datamodules.errors import UserError

_FORMAT = "assay-monitor-1"
_FIELDS = ("count", "mean", "m2", "zeros", "histogram")
_NUMBERS = ("window", "false_alarms", "threshold", "centre", "scale")


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


def read_monitor(file: Path) -> tuple[dict[str, Any], DriftTest, dict[str, LayerStatistics]]:
    """Reads what `write_monitor` wrote: facts, test and profile.

    Raises:
        UserError: the file is no monitor.
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
    facts = json.loads(header["facts"])
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        parts.setdefault(kind, {})[name] = value
    test = DriftTest(reference=parts["reference"], spread=parts["spread"], **facts["test"])
    profile = {
        name: LayerStatistics(*(parts[field][name] for field in _FIELDS))
        for name in facts["test"]["centre"]  # in the order of the layers; files are sorted
    }
    return facts["monitor"], test, profile
