"""What minimum-norm attacks amount to: the median of the least changes found, by norm."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from callbacks.family import Curve, Number
from callbacks.results import ProbeResult, unit_sign, unit_slug
from callbacks.statistics import Interval, median, share_ends
from callbacks.words import said_interval

_SIZES = {
    "linf": "by at most {} at every pixel",
    "l2": "by {} or less (Euclidean distance, pixels in 0 to 1)",
    "l1": "by {} or less (all pixels added up, in 0 to 1)",
    "l0": "in {} numbers or fewer (a pixel of a colour image has three)",
}


def least_distances(results: Sequence[ProbeResult]) -> pd.Series:
    """The least distance that any of several attacks found, by the index of the image.

    Args:
        results: at least one, of minimum-norm attacks of one norm; images that not all of them
            have are left out.

    Returns:
        Infinite where none found a point, 0 where the model errs undisturbed.
    """
    of_each = [r.rows.drop_duplicates("index").set_index("index") for r in results]
    columns = [rows["minimum_distance"] for rows in of_each]
    return pd.concat(columns, axis=1, join="inner").min(axis=1, skipna=False)


def medians(results: Sequence[ProbeResult]) -> tuple[dict[str, Number], list[str]]:
    """The median least change of every norm that was searched, as numbers and sentences.

    Args:
        results: of the adversarial family; those of other attacks are passed over.

    Returns:
        Numbers `adversarial_<norm>_median`; none where half of the images or more were not broken,
        which the sentence then says.
    """
    groups: dict[str, list[ProbeResult]] = {}
    for result in results:
        if "minimum_distance" in result.rows and len(result.rows):
            groups.setdefault(result.unit, []).append(result)
    numbers: dict[str, Number] = {}
    sentences: list[str] = []
    for unit, members in groups.items():
        distances = least_distances(members)
        found = median(distances)
        if math.isfinite(found.value):
            numbers[f"adversarial_{unit_slug(unit)}_median"] = _number(unit, members, distances)
        sentences.append(_sentence(unit_slug(unit), distances, found))
    return numbers, sentences


def whole_curves(results: Sequence[ProbeResult]) -> list[Curve]:
    """Accuracy at every radius of each attack that looks for the least change, from its distances.

    Args:
        results: of the adversarial family; those of other attacks are passed over.

    Returns:
        Stairs from the undisturbed accuracy on, with Wilson's interval at every step, up to the
        largest radius or to where all but a twentieth of the points found lie.
    """
    return [_whole_curve(r) for r in results if "minimum_distance" in r.rows and len(r.rows)]


def _whole_curve(result: ProbeResult) -> Curve:
    distances = least_distances([result]).to_numpy()
    found = np.sort(distances[np.isfinite(distances)])
    end = max([*result.values.values(), *np.quantile(found, [_SHOWN])] if len(found) else [0.0])
    places = np.unique(found[(found > 0) & (found <= end)])
    places = places[np.unique(np.linspace(0, len(places) - 1, _STEPS).astype(int))]
    value = np.unique([0.0, *places, end])
    share = (distances > value[:, None]).mean(1)
    low, high = share_ends(share, len(distances))
    table = pd.DataFrame({"value": value, "acc": share, "acc_low": low, "acc_high": high})
    return Curve(result.title, result.unit, table, stairs=True)


_SHOWN, _STEPS = 0.95, 200


def _number(unit: str, members: Sequence[ProbeResult], distances: pd.Series) -> Number:
    names = " and ".join(member.title.split(" (")[0] for member in members)
    found = median(distances)
    images = zlib.crc32(distances.index.to_numpy("int64").tobytes())
    algorithms = ", ".join(sorted(member.algorithm for member in members))
    note = f"{found.value:.3g}, found by {names} on {len(distances):,} images"
    asked = f"{algorithms} on images {images:08x}"
    return Number(f"Median minimum perturbation ({unit_sign(unit)})", found, "", note, asked)


def _sentence(norm: str, distances: pd.Series, found: Interval) -> str:
    broken = int(distances.map(math.isfinite).sum())
    if not math.isfinite(found.value):
        return (
            f"A change that errs was found for {broken:,} of {len(distances):,} images only, so "
            "that the median least change is not known."
        )
    if found.value == 0:
        return "Half of the images or more are answered wrongly as they are: no change is needed."
    size = _SIZES[norm].format(f"{found.value:.3g}")
    digits = max(0, 2 - math.floor(math.log10(found.value)))
    return (
        f"Half of the images are answered wrongly when changed {size} "
        f"({said_interval(found, 1, digits)})."
    )
