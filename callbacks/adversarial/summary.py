"""What attacks amount to: robust accuracy and worst-case loss, by threat model and over all."""

import zlib
from collections.abc import Sequence

import pandas as pd

from callbacks.adversarial.attack_set import AttackSet, attack_sets
from callbacks.family import Curve, Number, Summary
from callbacks.reductions import accuracy, worst_case
from callbacks.results import ProbeResult
from callbacks.statistics import NOTHING, mean
from callbacks.words import percent, radius, with_interval

_BALLS = {
    "linf": "every pixel may change by up to {} of its range",
    "l2": "the whole image may move by up to {} (Euclidean distance, pixels in 0 to 1)",
}


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Robust accuracy at the usual radius: an image counts only if no attack changed its answer.

    Args:
        results: of adversarial probes.
        clean: the undisturbed images.

    Returns:
        Numbers `adversarial_<norm>_acc`, `_loss` and `_epsilon` of every threat model, and
        `adversarial_acc` and `worst_case_loss` over all of them.
    """
    attacks = attack_sets(results, clean)
    numbers: dict[str, Number] = {}
    sentences: list[str] = []
    for attack_set in attacks:
        numbers |= _numbers(attack_set)
        sentences += _sentences(attack_set, clean)
    if attacks:
        rows = worst_case([attack_set.at_headline for attack_set in attacks])
        numbers |= _over_all(rows, attacks)
        if len(attacks) == 1:  # the same number under two names
            numbers["adversarial_acc"] = numbers["adversarial_acc"]._replace(card=False)
    several = [attack_set for attack_set in attacks if len(attack_set.results) > 1]
    return Summary(
        numbers,
        sentences,
        [_curve(attack_set, clean) for attack_set in several],
        {f"Worst case ({attack_set.sign})": attack_set.table for attack_set in several},
    )


def half_life(attacks: AttackSet, clean: ProbeResult | None) -> float | None:
    """The radius at which the worst case falls to half of the clean accuracy.

    By straight lines between measured points; None where it never falls so far.

    Args:
        attacks: of one threat model.
        clean: the undisturbed images; without them there is nothing to halve.
    """
    if clean is None:
        return None
    before = start = _clean_accuracy(clean, attacks.at_headline)
    at = 0.0
    for value, share in attacks.table[["value", "acc"]].itertuples(index=False):
        if share <= start / 2 < before:
            return at + (value - at) * (before - start / 2) / (before - share)
        at, before = value, share
    return None


def _numbers(attacks: AttackSet) -> dict[str, Number]:
    rows, unit = attacks.at_headline, attacks.results[0].unit
    names = " and ".join(result.title.split(" (")[0] for result in attacks.measured(attacks.step))
    at = f"{attacks.sign} {radius(attacks.radius, unit)}"
    note = f"under {names} on {len(rows):,} images"
    asked = _conditions(attacks, rows)
    stem = f"adversarial_{attacks.norm}"
    return {
        f"{stem}_acc": Number(f"Robust accuracy at {at}", accuracy(rows), "%", note, asked),
        f"{stem}_loss": Number(
            f"Worst loss at {at}", mean(rows["worst_loss"]), "", note, asked, False
        ),
        f"{stem}_epsilon": Number(
            "Radius", NOTHING._replace(value=attacks.radius), "", attacks.sign, asked, False
        ),
    }


def _over_all(rows: pd.DataFrame, attacks: Sequence[AttackSet]) -> dict[str, Number]:
    at = " and ".join(f"{one.sign} {radius(one.radius, one.results[0].unit)}" for one in attacks)
    note = f"under every attack at {at} on {len(rows):,} images"
    asked = "; ".join(_conditions(one, rows) for one in attacks)
    return {
        "adversarial_acc": Number("Robust accuracy", accuracy(rows), "%", note, asked),
        "worst_case_loss": Number("Worst loss", mean(rows["worst_loss"]), "", note, asked, False),
    }


def _conditions(attacks: AttackSet, rows: pd.DataFrame) -> str:
    """What decides the numbers besides the model: attacks, radius and images."""
    algorithms = sorted(result.algorithm for result in attacks.results)
    images = zlib.crc32(rows["index"].to_numpy("int64").tobytes())
    return f"{', '.join(algorithms)} at {attacks.radius:g} on images {images:08x}"


def _curve(attacks: AttackSet, clean: ProbeResult | None) -> Curve:
    start = {} if clean is None else _start(clean, attacks.at_headline)
    unit = attacks.results[0].unit
    return Curve("worst, image by image", unit, attacks.table, start, aggregate=True)


def _start(clean: ProbeResult, rows: pd.DataFrame) -> dict[str, float]:
    same = clean.rows["index"].isin(rows["index"])
    return {name: float(clean.rows.loc[same, name].mean()) for name in ("correct", "loss")}


def _clean_accuracy(clean: ProbeResult, rows: pd.DataFrame) -> float:
    return _start(clean, rows)["correct"]


def _sentences(attacks: AttackSet, clean: ProbeResult | None) -> list[str]:
    ball = _BALLS.get(attacks.norm, f"{attacks.sign} may change by up to {{}}")
    at = radius(attacks.radius, attacks.results[0].unit)
    count = len(attacks.measured(attacks.step))
    by = "an attack" if count == 1 else f"the worst of {count} attacks, image by image,"
    share = accuracy(attacks.at_headline)
    sentences = [
        f"When {ball.format(at)}, {by} leaves {percent(share.value)} % right "
        f"({with_interval(share)})."
    ]
    half = half_life(attacks, clean)
    if half is not None:
        sentences.append(f"Half of its accuracy is gone near {attacks.sign} radius {half:.2g}.")
    return sentences
