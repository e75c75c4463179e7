"""What a command leaves behind, in parts that are equal if nothing has changed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file

_VOLATILE = {"command", "created", "run_id", "examples", "environment"}
_TIMED = {"predicted", "latency", "throughput", "delay", "images", "monitor_overhead"}
"""Columns and numbers that are times, hold some, or follow from how fast this machine is."""
_SECONDS = re.compile(r'\\*"seconds\\*": ?[^,}]*')
"""In a curve, which is JSON inside of a cell."""
_NAMES = re.compile(r"[0-9a-f]{8,}|events\.out\S+")
_LAID_OUT = re.compile(r"[\s|+-]+")
"""Between words; a longer number breaks lines and widens columns."""
_TIMES = re.compile(
    r"[0-9a-f]{8,}|/\S+|[\d.]+ (s|min|h)\b|[\d,]+ (images a second forward|trained)"
)


def outcome(home: Path, printed: str) -> dict[str, str]:
    """What is in a folder after a command, which is then emptied.

    Args:
        home: working folder; its `lenet.pt`, `given` and the tables of its store stay.
        printed: on the terminal.

    Returns:
        `result`: rows, tables, headline and weights that were learnt, but no settings, as a setting
        that is only written down has changed nothing; `files`: their names; `message`: what is
        told, without times.
    """
    folders = [file.parent for file in sorted(home.glob("**/results/*/result.json"))]
    told = [json.loads((folder / "result.json").read_text()) for folder in folders]
    numbers = [_numbers(folder) for folder in folders]
    learnt = sorted(home.glob("**/checkpoints/*/model.safetensors"))
    weights = [_sums(file) for file in learnt]
    headlines = [_steady(one.pop("headline", None)) for one in told]
    names = (str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())
    maps = [_arrays(file) for file in sorted(home.glob("**/results/*/*.npz"))]
    found = {
        "result": json.dumps([numbers, headlines, weights, maps], sort_keys=True),
        "files": "\n".join(sorted({_NAMES.sub("", name) for name in names if _of_run(name)})),
        "message": json.dumps([one.get("about", {}).get("notes") for one in told])
        + _TIMES.sub("", _LAID_OUT.sub(" ", printed)),
    }
    _empty(home)
    return found


def _of_run(name: str) -> bool:
    """Not what is there until a run has ended, or was logged by an earlier one."""
    return not {"resume", "models"} & set(name.split("/"))


def _sums(file: Path) -> dict[str, float]:
    """Of the magnitudes in every tensor: the file also says how it was made."""
    return {k: float(v.double().abs().sum()) for k, v in load_file(file).items()}


def _arrays(file: Path) -> dict[str, list[float]]:
    """Of maps and images by their name: the size, and the sum of the magnitudes."""
    with np.load(file) as held:
        return {k: [*v.shape, float(np.abs(v.astype(float)).sum())] for k, v in held.items()}


def _numbers(folder: Path) -> list[Any]:
    """Rows and tables of a result, without times."""
    rows = [_without_times(pd.read_parquet(file)) for file in sorted(folder.glob("**/*.parquet"))]
    tables = [json.loads(file.read_text()) for file in sorted(folder.glob("**/tables/*.json"))]
    return [*rows, *map(_steady, tables)]


def _without_times(rows: pd.DataFrame) -> str:
    kept = [name for name in rows if "second" not in str(name) and name not in _TIMED]
    return _SECONDS.sub("", str(rows[kept].to_json()))


def _steady(value: Any) -> Any:
    """Without what differs between two runs of one command."""
    if isinstance(value, list):
        return [_steady(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "columns" in value and "data" in value:  # a table as MLflow keeps them
        return _without_times(pd.DataFrame(value["data"], columns=value["columns"]))
    left = {k: v for k, v in value.items() if k not in _VOLATILE | _TIMED and "second" not in k}
    return {k: _steady(v) for k, v in left.items()}


def _empty(home: Path) -> None:
    for one in home.iterdir():
        if one.name == "mlruns":
            for part in one.iterdir():
                if not part.name.startswith("mlflow.db"):
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
        elif one.name not in ("lenet.pt", "given"):
            shutil.rmtree(one) if one.is_dir() else one.unlink()
