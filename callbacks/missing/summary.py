"""What missing input amounts to: what is still right, how sure, and when it had better abstain."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from callbacks.family import Curve, Number, Summary
from callbacks.grid import Grid
from callbacks.results import ProbeResult
from callbacks.severity import by_severity
from callbacks.share_map import share_map
from callbacks.statistics import Interval, mean
from callbacks.words import percent, with_interval, with_mark

ANSWERED = 0.95
"""Share of undisturbed images that are confident enough to be answered."""


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Accuracy and confidence over all kinds and rates, and what abstaining would leave.

    A model that abstains below a confidence that `ANSWERED` of its undisturbed images reach is
    asked how often it would abstain, and how much of the rest is right. What is no answer (NaN)
    counts as abstained.

    Args:
        results: of missing-input probes; a kind that changed nothing (the order of the channels of
            grey images) is left out.
        clean: the undisturbed images; without them nothing is told of abstention.

    Returns:
        Numbers `missing_acc missing_loss missing_confidence missing_abstention
        missing_answered_acc`.
    """
    grid = Grid([result for result in results if result.rows["lost"].any()])
    if not len(grid.severities) or not len(grid.images):
        return Summary(sentences=_nothing_common(grid))
    threshold = _threshold(clean)
    numbers = _numbers(grid) | _abstention(grid, threshold)
    count = len(grid.names)
    table = by_severity(grid, "all_missing")
    curve = Curve(f"mean of {count}", "rate", table, _start(grid, clean), aggregate=True)
    return Summary(
        numbers,
        _sentences(grid, numbers, threshold),
        [curve] if count > 1 else [],
        {f"Mean of {count} kinds of missing input": table} if count > 1 else {},
        _figures(grid, threshold),
    )


def _nothing_common(grid: Grid) -> list[str]:
    """Why there is no mean, where there is something to take it of."""
    if len(grid.names) < 2:
        return []
    what = "image" if grid.severities else "rate"
    kinds = ", ".join(result.title for result in grid.results)
    return [f"No mean over kinds of missing input: {kinds} have no {what} in common."]


def abstained(confidence: np.ndarray, threshold: float) -> np.ndarray:
    """Whether answers are held back: below the threshold, or no answer at all.

    >>> abstained(np.array([0.2, 0.9, np.nan]), 0.5).tolist()
    [True, False, True]
    """
    return ~(confidence >= threshold)


def _threshold(clean: ProbeResult | None) -> float:
    """The confidence that 95 % of undisturbed images reach; NaN where they were not measured."""
    if clean is None or not len(clean.rows):
        return math.nan
    return float(np.nanquantile(clean.rows["confidence"], 1 - ANSWERED, method="lower"))


def _numbers(grid: Grid) -> dict[str, Number]:
    note, asked = _note(grid), _conditions(grid)
    acc, loss = grid.over_all("correct", (0, 1)), grid.over_all("loss", (0, math.inf))
    sure = grid.over_all("sure", (0, 1))
    return {
        "missing_acc": Number(
            "Accuracy when input is missing", acc, "%", with_mark(note, acc), asked
        ),
        "missing_loss": Number(
            "Loss when input is missing", loss, "nats", with_mark(note, loss), asked, False
        ),
        "missing_confidence": Number(
            "Confidence when input is missing", sure, "%",
            with_mark(f"no answer counts as 0; {note}", sure), asked, False,
        ),
    }  # fmt: skip


def _abstention(grid: Grid, threshold: float) -> dict[str, Number]:
    if math.isnan(threshold):
        return {}
    held = abstained(grid.cells("confidence"), threshold)
    share = mean(held.mean((0, 1)), bounds=(0, 1))
    answered = ~held
    right = (grid.cells("correct") * answered).sum((0, 1))
    note = f"below confidence {threshold:.2f}, which 95 % of clean images reach; {_note(grid)}"
    asked = f"{_conditions(grid)}, threshold {threshold:.6g}"
    numbers = {
        "missing_abstention": Number("Abstains when input is missing", share, "%", note, asked)
    }
    if answered.any():
        correct = _ratio(right, answered.sum((0, 1)))
        numbers["missing_answered_acc"] = Number(
            "Right of what is answered", correct, "%", note, asked
        )
    return numbers


def _ratio(part: np.ndarray, whole: np.ndarray) -> Interval:
    """Ratio of sums over images with its interval: that of a mean of linearised residuals."""
    value = float(part.sum() / whole.sum())
    spread = mean(value + (part - value * whole) / whole.mean())
    low, high = np.clip(spread[1:], 0, 1).tolist()
    return Interval(value, low, high).marked(spread.mark)


def _figures(grid: Grid, threshold: float) -> dict[str, Figure]:
    titles = [result.title for result in grid.results]
    rates = [f"{100 * rate:g} %" for rate in grid.severities]
    error = 1 - grid.cells("correct").mean(2)
    figures = {"missing_error": share_map(error, titles, rates, "Error", "missing")}
    if not math.isnan(threshold):
        held = abstained(grid.cells("confidence"), threshold).mean(2)
        figures["missing_abstention"] = share_map(held, titles, rates, "Abstained", "missing")
    return figures


def _start(grid: Grid, clean: ProbeResult | None) -> dict[str, float]:
    """Undisturbed numbers on the images of the grid."""
    if clean is None:
        return {}
    rows = clean.rows[clean.rows["index"].isin(grid.images)]
    return {name: float(rows[name].mean()) for name in ("correct", "loss")} if len(rows) else {}


def _sentences(grid: Grid, numbers: dict[str, Number], threshold: float) -> list[str]:
    acc, sure = numbers["missing_acc"].interval, numbers["missing_confidence"].interval
    said = [
        f"With input missing or broken it gets {percent(acc.value)} % right "
        f"({with_interval(acc)}; {_note(grid)}) and is {percent(sure.value)} % sure on average."
    ]
    if "missing_abstention" in numbers:
        held = numbers["missing_abstention"].interval
        rest = numbers.get("missing_answered_acc")
        right = f", and gets {percent(rest.interval.value)} % of the rest right" if rest else ""
        said.append(
            f"If it abstained below a confidence of {threshold:.2f}, which 95 % of its clean "
            f"images reach, it would answer all but {percent(held.value)} %{right}."
        )
    return said


def _note(grid: Grid) -> str:
    """`mean of 15 kinds x 10 rates on 1,000 images`."""
    kinds = f"{len(grid.names)} kinds" if len(grid.names) > 1 else grid.results[0].title
    rates = f"{len(grid.severities)} rates" if len(grid.severities) > 1 else "1 rate"
    return f"mean of {kinds} x {rates} on {len(grid.images):,} images"


def _conditions(grid: Grid) -> str:
    """What decides the numbers besides the model."""
    algorithms = sorted(result.algorithm for result in grid.results)
    images = zlib.crc32(np.asarray(grid.images, "int64").tobytes())
    return f"{'; '.join(algorithms)} at {grid.severities} on images {images:08x}"
