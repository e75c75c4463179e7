"""The band between what is certified and what attacks leave: the truth lies in it."""

from collections.abc import Iterator, Sequence

import pandas as pd

from callbacks.adversarial.attack_set import AttackSet
from callbacks.family import Number
from callbacks.reductions import accuracy
from callbacks.results import ProbeResult, unit_sign, unit_slug
from callbacks.statistics import paired_difference
from callbacks.words import percent, radius, with_interval


def certified_bounds(
    results: Sequence[ProbeResult], attacks: Sequence[AttackSet]
) -> tuple[dict[str, Number], list[str]]:
    """The best certified accuracy of each norm, and how far below the attacks it lies.

    Bounds of the smoothed network are of another network, and stand in no band with attacks on
    this one.

    Args:
        results: of probes that certify.
        attacks: of the same model, by threat model.

    Returns:
        Numbers `certified_<norm>_acc`, and sentences.
    """
    numbers: dict[str, Number] = {}
    sentences: list[str] = []
    own = [result for result in results if "smoothed" not in result.title and len(result.rows)]
    for unit in dict.fromkeys(result.unit for result in own):
        alike = [result for result in own if result.unit == unit]
        rival = next((group for group in attacks if group.norm == unit_slug(unit)), None)
        step = _step(alike, rival)
        rows, value = _best(alike, step), alike[0].values.get(step)
        if value is None or not len(rows):
            continue
        at = f"{unit_sign(unit)} {radius(value, unit)}"
        names = " and ".join(result.title.split(" (")[0].lower() for result in alike)
        numbers[f"certified_{unit_slug(unit)}_acc"] = Number(
            f"Certified accuracy at {at}", accuracy(rows), "%", f"{names}, {len(rows):,} images", at
        )
        sentences += _sentences(rows, rival, step, at)
    return numbers, sentences


def _step(results: Sequence[ProbeResult], rival: AttackSet | None) -> int:
    """The radius of the attacks' headline where it was certified too, else the usual or largest."""
    if rival is not None and all(rival.step in result.values for result in results):
        return rival.step
    return int(results[0].at_headline["severity"].iloc[0])


def _best(results: Sequence[ProbeResult], step: int) -> pd.DataFrame:
    """Certain by any of several bounds, image by image; images that not all have are left out."""
    joined = pd.concat([result.at(step) for result in results])
    counts = joined.groupby("index")["index"].transform("size")
    joined = joined.loc[counts == len(results)].sort_values("correct", ascending=False)
    return joined.drop_duplicates("index").sort_values("index")


def _sentences(rows: pd.DataFrame, rival: AttackSet | None, step: int, at: str) -> Iterator[str]:
    share = accuracy(rows)
    start = f"At {at}, {percent(share.value)} % are certain to stay right ({with_interval(share)})"
    if rival is None or step not in rival.values:
        yield f"{start}; nothing was attacked at this radius, so that no upper bound is known."
        return
    attacked = rival.worst(step).set_index("index")
    both = rows.set_index("index").join(attacked["correct"].rename("left"), how="inner")
    width = paired_difference(both["correct"], both["left"])
    yield (
        f"{start} and attacks leave {percent(float(both['left'].mean()))} % of the same "
        f"{len(both):,} images: the truth lies between, a band of {percent(width.value)} points."
    )
    if crossed := int(((both["correct"] == 1) & (both["left"] == 0)).sum()):
        yield (
            f"{crossed:,} of these images are certified and yet broken, which cannot be: the "
            "arithmetic of the network differs from what was certified; believe the attack."
        )
