"""Which images one model gets right and the other wrong."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from callbacks.results import ProbeResult
from pipelines.compare.pairing import SETTING, joined

COLUMNS = ("probe", *SETTING, "index", "label", "prediction_one", "prediction_other", "change")


def changed_sides(one: Sequence[ProbeResult], other: Sequence[ProbeResult]) -> pd.DataFrame:
    """Images that changed sides, under every probe and setting.

    Args:
        one: from `answers`, of the baseline.
        other: the same probes of the other model.

    Returns:
        Columns `COLUMNS`, a row an image; `change` is `fixed` where only the other is right, and
        `broken` where only the baseline was. Over random draws the majority counts.
    """
    tables = [_changed(*pair) for pair in zip(one, other, strict=True) if not pair[0].is_list]
    return pd.concat(tables or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)


def with_files(changed: pd.DataFrame, files: Mapping[int, str]) -> pd.DataFrame:
    """The same images with a column `file`; as they were where no image is a file.

    Args:
        changed: from `changed_sides`.
        files: names by index.
    """
    if not files or not len(changed):
        return changed
    return changed.assign(file=[files.get(index, "") for index in changed["index"]])


def stored_files(folder: Path, data: str) -> dict[int, str]:
    """The names of the test images of a data set, which a study kept beside its result.

    Args:
        folder: of the result.
        data: title of the data set.
    """
    kept = folder / "files.json"
    if not kept.is_file():  # the images are no files, or the result is older than that
        return {}
    return {int(index): name for index, name in json.loads(kept.read_text())[data].items()}


def _changed(one: ProbeResult, other: ProbeResult) -> pd.DataFrame:
    both = joined(one, other)
    before, after = both["correct_one"] > 0.5, both["correct_other"] > 0.5
    changed = both[before != after]
    change = np.where(after[before != after], "fixed", "broken")
    return changed.assign(probe=one.name, change=change)[list(COLUMNS)]
