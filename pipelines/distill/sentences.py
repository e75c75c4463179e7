"""What a distillation amounts to, in sentences that need no background."""

import math
from collections.abc import Iterator

from callbacks.statistics import Interval
from callbacks.words import DASH, percent, with_interval
from pipelines.distill.comparison import ModelComparison, difference

_LITTLE = 0.1
"""A teacher with less accuracy than this, of which no share can be told, has nothing to keep."""
_CONTROLS = {
    "label only": "the same network trained on the labels alone gets {} % right",
    "random teacher": "with a teacher of random weights {} %",
    "pruned teacher": "the teacher pruned to the student's work {} %",
    "int8 teacher": "the teacher with weights of 8 bits {} %",
}


def sentences_of(comparison: ModelComparison) -> list[str]:
    """Accuracy, what of the teacher's is kept, what is had without it, and how alike the two are.

    Args:
        comparison: of all models.
    """
    return [
        _accuracy(comparison),
        _kept(comparison),
        *_controls(comparison),
        *_gain(comparison),
        _likeness(comparison),
        *_nothing_to_keep(comparison),
    ]


def _accuracy(comparison: ModelComparison) -> str:
    own, its = (comparison.number(name, "acc") for name in ("student", "teacher"))
    sizes = [comparison.named(name)[0].footprint.bytes for name in ("teacher", "student")]
    ratio = sizes[0] / sizes[1]
    size = "of the same size" if 0.95 < ratio < 1.05 else f"{ratio:.3g} times as large"
    return (
        f"The student gets {percent(own.value)} % of the test images right ({with_interval(own)}); "
        f"its teacher, {size}, {percent(its.value)} % ({with_interval(its)})."
    )


def _kept(comparison: ModelComparison) -> str:
    kept, robust = (comparison.number("student", name) for name in ("kept", "kept_robust"))
    shares = []
    if math.isfinite(kept.value):
        shares.append(f"{_share(kept)} of the teacher's accuracy")
    if math.isfinite(robust.value):
        whole = "that" if shares else "the teacher's accuracy"
        shares.append(f"{_share(robust)} of {whole} under attack at {comparison.ball}")
    if not shares:
        return "Which share of the teacher's accuracy it keeps, these images and seeds cannot tell."
    return f"It keeps {' and '.join(shares)}."


def _controls(comparison: ModelComparison) -> Iterator[str]:
    clauses = [
        words.format(percent(comparison.number(name, "acc").value))
        for name, words in _CONTROLS.items()
        if name in comparison.names
    ]
    if clauses:
        yield f"For comparison: {', '.join(clauses)}."


def _gain(comparison: ModelComparison) -> Iterator[str]:
    gain = difference(comparison.named("label only"), comparison.named("student"))
    if gain is None:
        return
    points, p = gain
    ends = f"{100 * points.low:+.2f} to {100 * points.high:+.2f}"
    sure = points.low > 0 or points.high < 0
    said = "which is beyond chance" if sure else "which is inside the noise"
    test = f", McNemar p = {p:.2g}" if math.isfinite(p) else ""
    yield (
        f"Against the labels alone the teacher brings {100 * points.value:+.2f} points of accuracy "
        f"(95 % interval {ends}{test}), {said}."
    )


def _likeness(comparison: ModelComparison) -> str:
    agreement, flips = (comparison.number("student", name) for name in ("agreement", "flips"))
    return (
        f"It gives its teacher's answer to {percent(agreement.value)} % of the images and errs on "
        f"{percent(flips.value, 2)} % that the teacher gets right."
    )


def _nothing_to_keep(comparison: ModelComparison) -> Iterator[str]:
    teacher, kept = (
        comparison.number("teacher", "robust"),
        comparison.number("student", "kept_robust"),
    )
    if teacher.value < _LITTLE and not math.isfinite(kept.value):
        yield (
            f"The teacher itself gets only {percent(teacher.value)} % right under attack at the "
            f"smallest radius measured ({comparison.ball}), so there is no robustness to keep."
        )


def _share(share: Interval) -> str:
    """`98.1 % (97.8 to 98.4)`."""
    return f"{percent(share.value)} % ({percent(share.low)}{DASH}{percent(share.high)})"
