"""What an evaluation amounts to, in sentences that need no background."""

from collections.abc import Iterator

from callbacks.statistics import Interval
from pipelines.evaluate.probe_results import AttackSet
from pipelines.evaluate.result import Evaluation
from pipelines.report.words import DASH, NBSP, percent, radius

_BALLS = {
    "linf": "every pixel may change by up to {} of its range",
    "l2": "the whole image may move by up to {} (Euclidean distance, pixels in 0 to 1)",
}


def verdict(evaluation: Evaluation) -> list[str]:
    """Says what the numbers mean for this model, one sentence a finding.

    Args:
        evaluation: with the clean probe, attacks, both or neither.
    """
    sentences = [*_clean(evaluation), *_attacked(evaluation)]
    return [sentence.replace(" %", f"{NBSP}%") for sentence in sentences]


def _clean(evaluation: Evaluation) -> Iterator[str]:
    accuracy = evaluation.headline.get("clean_acc")
    if accuracy:
        yield (
            f"It gets {percent(accuracy.value)} % of the undisturbed images right "
            f"({_range(accuracy)})."
        )


def _attacked(evaluation: Evaluation) -> Iterator[str]:
    for attacks in evaluation.attacks:
        accuracy = evaluation.headline[f"adversarial_{attacks.norm}_acc"]
        ball = _BALLS.get(attacks.norm, f"{attacks.sign} may change by up to {{}}")
        unit = attacks.results[0].unit
        count = len(attacks.measured(attacks.step))
        by = "an attack" if count == 1 else f"the worst of {count} attacks, image by image,"
        yield (
            f"When {ball.format(radius(attacks.radius, unit))}, {by} leaves "
            f"{percent(accuracy.value)} % right ({_range(accuracy)})."
        )
        half = half_life(evaluation, attacks)
        if half is not None:
            yield f"Half of its accuracy is gone near {attacks.sign} radius {half:.2g}."


def half_life(evaluation: Evaluation, attacks: AttackSet) -> float | None:
    """The radius at which the worst case falls to half of the clean accuracy.

    By straight lines between the measured points; None where it never falls so far.

    Args:
        evaluation: with the clean probe, else None.
        attacks: of one threat model.
    """
    clean = evaluation.result("clean")
    if clean is None:
        return None
    same = clean.rows["index"].isin(attacks.at_headline["index"])
    before = start = float(clean.rows.loc[same, "correct"].mean())
    at = 0.0
    for value, accuracy in attacks.table[["value", "acc"]].itertuples(index=False):
        if accuracy <= start / 2 < before:
            return at + (value - at) * (before - start / 2) / (before - accuracy)
        at, before = value, accuracy
    return None


def _range(rate: Interval) -> str:
    return f"95 % interval {percent(rate.low)}{DASH}{percent(rate.high)}"
