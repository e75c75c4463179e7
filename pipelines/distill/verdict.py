"""What an audit amounts to, in sentences."""

import math
from collections.abc import Iterator

from callbacks.statistics import Interval
from callbacks.words import percent
from pipelines.distill.result import FLOOR, Audit

CONTROLS = {
    "label only": "label-only training keeps",
    "random teacher": "a random teacher leaves",
    "pruned teacher": "the teacher pruned to the same work keeps",
    "int8 teacher": "the teacher in int8 keeps",
}


def verdict(audit: Audit) -> list[str]:
    """One line that says it all, then what supports it."""
    return [_headline(audit), *_support(audit)]


def _headline(audit: Audit) -> str:
    kept = f"The student keeps {share(audit.number('student', 'kept'))} of accuracy"
    robust = audit.number("student", "kept_robust")
    if math.isfinite(robust.value) and audit.number("teacher", "robust").value >= FLOOR:
        kept += f" and {share(robust)} of robust accuracy ({audit.ball})"
    clauses = [
        f"{words} {percent(audit.number(name, 'kept').value)}"
        for name, words in CONTROLS.items()
        if name in audit.names
    ]
    return "; ".join([f"{kept} at {_size(audit)} of the size", *clauses]) + "."


def _support(audit: Audit) -> Iterator[str]:
    gain = audit.gain("label only")
    if gain:
        difference, p = gain
        ends = f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
        sure = difference.low > 0 or difference.high < 0
        said = "which is beyond chance" if sure else "which is inside the noise"
        test = f", McNemar p = {p:.2g}" if math.isfinite(p) else ""
        yield (
            f"Against the labels alone the teacher brings {100 * difference.value:+.2f} points of "
            f"accuracy (95 % interval {ends}{test}), {said}."
        )
    agreement, flips = (audit.number("student", name) for name in ("agreement", "flips"))
    divergence = audit.number("student", "kl").value
    yield (
        f"It predicts what its teacher does on {percent(agreement.value)} % of the images (mean KL "
        f"{divergence:.3g} nats) and errs on {percent(flips.value, 2)} % that the teacher gets "
        "right."
    )
    teacher = audit.number("teacher", "robust")
    if math.isfinite(teacher.value) and teacher.value < FLOOR:
        yield (
            f"The teacher itself has only {percent(teacher.value)} % robust accuracy at the "
            f"smallest radius measured ({audit.ball}), so there is no robustness to keep."
        )


def share(found: Interval) -> str:
    """`98.1 ± 0.3 %`, half of the 95 % interval."""
    return f"{percent(found.value)} ± {100 * (found.high - found.low) / 2:.1f} %"


def _size(audit: Audit) -> str:
    own, its = (audit.named(name)[0].footprint.bytes for name in ("student", "teacher"))
    ratio = its / own
    return f"1/{ratio:.0f}" if ratio >= 1.5 else f"{100 * own / its:.0f} %"
