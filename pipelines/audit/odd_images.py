"""Images that are hardly any: of one value, nearly black or white, of an odd shape or size."""

import numpy as np
import pandas as pd

from pipelines.audit.fingerprints import Fingerprints

DARK, LIGHT = 0.1, 0.9
"""An image without any pixel above, or below, in [0, 1]."""
_ASPECT, _AREA = 3.0, 10.0
RULES = {
    "constant": "all pixels of one value",
    "nearly black": f"no pixel above {DARK:g}",
    "nearly white": f"no pixel below {LIGHT:g}",
    "odd shape": f"sides {_ASPECT:g} times as unequal as the median image's, either way",
    "odd size": f"an area {_AREA:g} times larger or smaller than the median image's",
}
"""By finding."""


def find_odd(prints: Fingerprints, split: str) -> pd.DataFrame:
    """Images that fit a rule, the first of them: `index, split, finding, score, label, file`.

    Args:
        prints: of a split.
        split: its name.
    """
    table = prints.statistics
    aspect, area = table["width"] / table["height"], table["width"] * table["height"]
    stretched, scaled = (np.abs(np.log(part / part.median())) for part in (aspect, area))
    rules = {
        "constant": (table["lightest"] == table["darkest"], table["brightness"]),
        "nearly black": (table["lightest"] <= DARK, table["lightest"]),
        "nearly white": (table["darkest"] >= LIGHT, table["darkest"]),
        "odd shape": (stretched >= np.log(_ASPECT), aspect),
        "odd size": (scaled >= np.log(_AREA), area),
    }
    finding, score = pd.Series("", index=table.index), pd.Series(0.0, index=table.index)
    for name, (fits, value) in rules.items():
        new = fits & (finding == "")
        finding, score = finding.mask(new, name), score.mask(new, value.astype(float))
    rows = np.flatnonzero(finding != "")
    return pd.DataFrame(
        {
            "index": prints.index.numpy()[rows],
            "split": split,
            "finding": finding.to_numpy(str)[rows],
            "score": score.to_numpy()[rows],
            "label": prints.label.numpy()[rows],
            "file": [prints.name(row) for row in rows.tolist()],
        }
    )
