"""What sequences amount to: how often answers flip, and how many never do."""

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from callbacks.family import Number, Summary
from callbacks.reductions import column_mean
from callbacks.results import ProbeResult
from callbacks.statistics import Interval, rate
from callbacks.words import number, percent, with_interval, with_mark


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Flip rate and consistency at each sequence's own steps.

    Args:
        results: of stability probes.
        clean: not asked for: the image itself is a frame of every sequence but noise.

    Returns:
        Numbers `stability_flip_rate`, the mean over sequences, and `stability_constant`, the share
        of images whose answer never changes in any.
    """
    tables = {result.name: flips(result) for result in results if len(result.rows)}
    if not tables:
        return Summary()
    joined = pd.concat(tables, axis=1).dropna()
    if not len(joined):
        return Summary()
    flip = column_mean(pd.DataFrame({"flip": joined.mean(axis=1)}), "flip")
    constant = rate(int((joined == 0).all(axis=1).sum()), len(joined))
    titles = {result.name: _title(result) for result in results}
    count = f"{len(tables)} sequences" if len(tables) > 1 else titles[next(iter(tables))]
    note = f"mean of {count} on {len(joined):,} images"
    asked = _conditions(results, joined)
    numbers = {
        "stability_flip_rate": Number(
            "Answers that flip from frame to frame", flip, "%", with_mark(note, flip), asked
        ),
        "stability_constant": Number(
            "Images whose answer never flips", constant, "%", note, asked, False
        ),
    }
    return Summary(numbers, _sentences(tables, titles, flip, constant, count))


def flips(result: ProbeResult) -> pd.Series:
    """Flip rate of every image, by index, at the sequence's own steps."""
    rows = result.at_headline.drop_duplicates("index")
    return pd.Series(rows["flip"].to_numpy(float), rows["index"])


def _title(result: ProbeResult) -> str:
    """With the strength it is told at, where that is not the sequence's own."""
    strength = result.at_headline["value"].iloc[0] if len(result.rows) else 1.0
    return result.title if strength == 1 else f"{result.title} x {strength:g}"


def _sentences(
    tables: dict[str, pd.Series],
    titles: dict[str, str],
    flip: Interval,
    constant: Interval,
    count: str,
) -> list[str]:
    worst = max(tables, key=lambda name: float(tables[name].mean()))
    said = [
        f"From one frame to the next {percent(flip.value)} % of its answers change "
        f"({with_interval(flip)}; {count}), and {percent(constant.value)} % of the images get one "
        f"answer throughout ({with_interval(constant)})."
    ]
    if len(tables) > 1:
        share = number(100 * float(np.mean(tables[worst])), 1)
        said.append(f"It is least stable under {titles[worst].lower()}: {share} %.")
    return said


def _conditions(results: Sequence[ProbeResult], joined: pd.DataFrame) -> str:
    """What decides the numbers besides the model."""
    algorithms = "; ".join(sorted(result.algorithm for result in results))
    images = zlib.crc32(joined.index.to_numpy("int64").tobytes())
    return f"{algorithms} on images {images:08x}"
