"""What corruptions amount to: the mean over all of them, by severity, by class, against AlexNet."""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from callbacks.corruption.alexnet import (
    CLASSES,
    ERRORS,
    SIDE,
    mean_corruption_error,
    relative_corruption_error,
)
from callbacks.corruption.corruption import Corruption
from callbacks.corruption.figures import picture_sheet
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.family import Curve, Number, Summary
from callbacks.grid import Grid
from callbacks.results import ProbeResult
from callbacks.severity import by_severity, half_of, mean_of_cells
from callbacks.share_map import share_map
from callbacks.statistics import Interval, mean
from callbacks.words import number, percent, said_interval, with_interval, with_mark

_NAMED = 3


@dataclass(frozen=True)
class Group:
    """Corruptions whose mean is told, and what they are called.

    Args:
        name: the family's, and the beginning of its numbers' names.
        when: after a number: `Accuracy when corrupted`.
        noun: what one of them is; an s makes it many.
        kinds: by the names of their probes, for pictures.
        graded: whether severities are a scale from nothing at 0 on, so that it can be told where
            half is gone; places of values that a user names are none.
    """

    name: str
    when: str
    noun: str
    kinds: Mapping[str, type[Corruption]] = field(default_factory=dict)
    graded: bool = True


_PUBLISHED = Group("corruption", "when corrupted", "corruption", CORRUPTIONS)


def summarise(
    results: Sequence[ProbeResult], clean: ProbeResult | None, group: Group = _PUBLISHED
) -> Summary:
    """Accuracy, calibration and errors over all corruptions and severities that were measured.

    Args:
        results: of corruption probes.
        clean: the undisturbed images; without them nothing is told of halves and growth.
        group: that the corruptions are of, the published ones or others.

    Returns:
        Numbers `corruption_acc corruption_loss corruption_brier corruption_ece
        corruption_worst_class_acc corruption_half_severity` (`camera_acc` and so on of others);
        `corruption_fifteen_acc` where others stand beside the fifteen of ImageNet-C; and `mce` and
        `relative_mce` where these were measured on a model of 1000 classes with the constants of
        224 px, or stored at 224 px.
    """
    grid = Grid(results)
    if not len(grid.severities) or not len(grid.images):
        return Summary()
    table, start = by_severity(grid, f"all_{group.name}s"), _start(grid, clean)
    half = half_of(table, start) if group.graded else None
    numbers = _numbers(grid, group) | _half(half, grid, group)
    numbers |= against_alexnet(grid, clean)
    count = len(grid.names)
    curve = Curve(f"mean of {count}", "severity", table, start, aggregate=True)
    return Summary(
        numbers,
        _sentences(grid, numbers, start, group),
        [curve] if count > 1 else [],
        {f"Mean of {count} {group.noun}s": table} if count > 1 else {},
        _figures(grid, group),
        front=["corruption_acc"] if group is _PUBLISHED else [],
    )


def _figures(grid: Grid, group: Group) -> dict[str, Figure]:
    error = 1 - grid.cells("correct").mean(2)
    titles = [result.title for result in grid.results]
    severities = [f"{severity:g}" for severity in grid.severities]
    shown = share_map(error, titles, severities, "Error", "severity")
    figures = {f"{group.name}_error": shown}
    known = [group.kinds[name]() for name in grid.names if name in group.kinds]
    side = _used(grid.results[0])[0]
    if known and side and not any(map(_is_stored, grid.results)):
        figures[f"{group.name}_pictures"] = picture_sheet(known, side)
    return figures


def _numbers(grid: Grid, group: Group) -> dict[str, Number]:
    acc, loss = grid.over_all("correct", (0, 1)), grid.over_all("loss", (0, math.inf))
    fifteen = Grid([result for result in grid.results if result.name in ERRORS])
    extra = len(ERRORS) == len(fifteen.names) < len(grid.names)
    brier, ece = grid.over_all("brier", (0, 2)), mean_of_cells(grid, "ece")
    worst, share = _worst_class(grid)
    note, asked = _note(grid, group), _conditions(grid)

    def told(
        title: str, interval: Interval, more: str = "", unit: str = "", card: bool = False
    ) -> Number:
        said = with_mark(f"{more}; {note}" if more else note, interval)
        return Number(f"{title} {group.when}", interval, unit, said, asked, card)

    return {
        f"{group.name}_acc": told("Accuracy", acc, unit="%", card=True),
        **({"corruption_fifteen_acc": _of_fifteen(fifteen)} if extra else {}),
        f"{group.name}_loss": told("Loss", loss, "nats"),
        f"{group.name}_brier": told("Brier score", brier, "0 to 2, 0 is perfect"),
        f"{group.name}_ece": told(
            "Calibration error", ece, "mean over cells, 15 bins", card=True
        ),
        f"{group.name}_worst_class_acc": told(
            "Worst class", share,
            f"class {worst}, the lowest on these images, so rather too low", "%",
        ),
    }  # fmt: skip


def _of_fifteen(grid: Grid) -> Number:
    """The mean that the field tells: of the fifteen of ImageNet-C, without the held-out ones."""
    share, note = grid.over_all("correct", (0, 1)), _note(grid)
    said = with_mark(f"without the held-out ones; {note}", share)
    return Number("Accuracy under the fifteen", share, "%", said, _conditions(grid))


def _half(half: Interval | None, grid: Grid, group: Group) -> dict[str, Number]:
    """Where half of the accuracy is gone on average, if that is between severities measured."""
    if half is None:
        return {}
    note, asked = _note(grid, group), _conditions(grid)
    told = Number("Half is gone at severity", half, "", note, asked, False)
    return {f"{group.name}_half_severity": told}


def against_alexnet(grid: Grid, clean: ProbeResult | None) -> dict[str, Number]:
    """Errors in units of AlexNet's, only where these are of the same task."""
    results = {result.name: result for result in grid.results}
    same = all(name in results and _used(results[name]) == (SIDE, CLASSES) for name in ERRORS)
    if not same or grid.severities != [1, 2, 3, 4, 5]:
        return {}
    fifteen = Grid([results[name] for name in ERRORS])
    wrong = 1 - fifteen.cells("correct")
    stored = any(_is_stored(result) for result in fifteen.results)
    made = "made in memory with drawn frost, not the stored JPEGs of ImageNet-C"
    note = f"100 is AlexNet on all of ImageNet-C; {'the stored images' if stored else made}"
    asked = _conditions(fifteen)
    numbers = {"mce": Number("mCE", mean_corruption_error(wrong), "%", note, asked)}
    if clean is not None:
        rows = clean.rows.set_index("index")["correct"].reindex(fifteen.images)
        relative = relative_corruption_error(wrong, 1 - rows.to_numpy(float))
        numbers["relative_mce"] = Number("Relative mCE", relative, "%", note, asked, False)
    return numbers


def _worst_class(grid: Grid) -> tuple[int, Interval]:
    rows = grid.results[0].rows.drop_duplicates("index").set_index("index")
    label = rows["label"].reindex(grid.images).to_numpy(int)
    right = grid.cells("correct").mean((0, 1))
    shares = {k: mean(right[label == k], bounds=(0, 1)) for k in np.unique(label)}
    worst = min(shares, key=lambda k: shares[k].value)
    return int(worst), shares[worst]


def _start(grid: Grid, clean: ProbeResult | None) -> dict[str, float]:
    """Undisturbed numbers on the images of the grid."""
    if clean is None:
        return {}
    rows = clean.rows[clean.rows["index"].isin(grid.images)]
    return {name: float(rows[name].mean()) for name in ("correct", "loss")} if len(rows) else {}


def _sentences(
    grid: Grid, numbers: dict[str, Number], start: dict[str, float], group: Group
) -> list[str]:
    acc, when = numbers[f"{group.name}_acc"].interval, group.when
    return [
        f"{when[0].upper()}{when[1:]}, it gets {percent(acc.value)} % right ({with_interval(acc)}; "
        f"{_note(grid, group)}).",
        *_left_out(grid),
        *_extremes(grid),
        *(_halves(grid, start, group) if group.graded else []),
    ]


def _left_out(grid: Grid) -> list[str]:
    """Says what the means do not hold: severities that some lack, corruptions that a set lacks."""
    told = []
    every = {value for result in grid.results for value in result.values.values()}
    if gone := sorted(every - set(grid.severities)):
        lacking = [r.title.lower() for r in grid.results if not every <= {*r.values.values()}]
        told.append(
            f"Means are over severities {', '.join(f'{s:g}' for s in grid.severities)} alone, as "
            f"{', '.join(lacking[:_NAMED])}{', ...' if len(lacking) > _NAMED else ''} lack "
            f"{', '.join(f'{s:g}' for s in gone)}."
        )
    absent = [CORRUPTIONS[name].title.lower() for name in ERRORS if name not in grid.names]
    if absent and any(map(_is_stored, grid.results)):
        named = f": {', '.join(absent)}" if len(absent) <= 2 * _NAMED else ""
        told.append(
            f"The set lacks {len(absent)} of the fifteen corruptions of ImageNet-C{named}; its "
            "mean is not that of the benchmark."
        )
    return told


def _extremes(grid: Grid) -> list[str]:
    """Names the corruptions that leave least and most."""
    right = grid.cells("correct").mean((1, 2))
    order = right.argsort(kind="stable")
    if len(order) <= _NAMED:
        return []
    told = [f"{_inside(grid.results[i].title)} ({percent(right[i])} %)" for i in order]
    return [f"Least is left under {', '.join(told[:_NAMED])}, most under {told[-1]}."]


def _halves(grid: Grid, start: dict[str, float], group: Group) -> list[str]:
    """Names the corruptions under which half of the accuracy is gone first, and how many do."""
    halves = [
        (half, _inside(result.title))
        for result in grid.results
        if (half := half_of(result.table, start)) is not None
    ]
    if not halves:
        return []
    halves.sort(key=lambda pair: pair[0].value)
    told = [
        f"{title} at severity {number(half.value, 1)} ({said_interval(half, digits=1)})"
        for half, title in halves[:_NAMED]
    ]
    count = f"{len(halves)} of {len(grid.names)} {group.noun}s take half of its accuracy"
    return [f"{count}: {', '.join(told)}{', ...' if len(halves) > _NAMED else ''}."]


def _inside(title: str) -> str:
    """A title within a sentence: `fog`, but `ISO noise`."""
    return title if any(letter.isupper() for letter in title[1:]) else title.lower()


def _note(grid: Grid, group: Group = _PUBLISHED) -> str:
    """`mean of 19 corruptions x 5 severities on 1,017 images, constants for 32 px`."""
    sides = sorted({str(side) for result in grid.results if (side := _used(result)[0])})
    stored = sum(map(_is_stored, grid.results))
    made = "stored at" if stored == len(grid.results) else "constants for"
    made = "stored at and constants for" if 0 < stored < len(grid.results) else made
    used = f", {made} {' and '.join(sides)} px" if sides else ""
    several = len(grid.names) > 1
    kinds = f"{len(grid.names)} {group.noun}s" if several else grid.results[0].title
    severities = f"{len(grid.severities)} severities" if len(grid.severities) > 1 else "1 severity"
    return f"mean of {kinds} x {severities} on {len(grid.images):,} images{used}"


def _conditions(grid: Grid) -> str:
    """What decides the numbers besides the model."""
    algorithms = sorted(result.algorithm for result in grid.results)
    images = zlib.crc32(np.asarray(grid.images, "int64").tobytes())
    return f"{'; '.join(algorithms)} at {grid.severities} on images {images:08x}"


def _used(result: ProbeResult) -> tuple[int, int]:
    """Image side whose constants were taken, and how many classes the model tells; 0 if unsaid.

    Of stored images the side that the model is shown.
    """
    said = re.search(r"(?:constants for|at \d+x)(?: )?(\d+) px.*; (\d+) classes", result.algorithm)
    return (int(said[1]), int(said[2])) if said else (0, 0)


def _is_stored(result: ProbeResult) -> bool:
    """Whether the images came from a prepared set."""
    return result.algorithm.startswith("stored ")
