"""What attacks amount to: robust accuracy and worst-case loss, by threat model and over all."""

import math
import zlib
from collections.abc import Iterator, Sequence

import pandas as pd

from callbacks.adversarial.attack_set import AttackSet, attack_sets
from callbacks.adversarial.breakdown import breakdown_sentences
from callbacks.adversarial.budget_certificate import Certificate
from callbacks.adversarial.certified.band import certified_bounds
from callbacks.adversarial.masking import Beside, is_masking, passes
from callbacks.adversarial.minimum_norm.summary import medians, whole_curves
from callbacks.adversarial.pictures.summary import saved_as_png
from callbacks.adversarial.universal.summary import against_control
from callbacks.adversarial.without_start import without_start
from callbacks.family import Curve, Number, Summary
from callbacks.reductions import accuracy, column_mean, worst_case
from callbacks.results import ProbeResult
from callbacks.statistics import NOTHING, Interval, half_severity, median
from callbacks.words import DASH, percent, radius, with_interval, with_mark
from callbacks.worst_case import found_points

_BALLS = {
    "linf": "every pixel may change by up to {} of its range",
    "l2": "the whole image may move by up to {} (Euclidean distance, pixels in 0 to 1)",
    "l1": "the changes of all pixels together may be up to {} (pixels in 0 to 1)",
    "l0": "up to {} numbers (a pixel of a colour image has three) may be set at will",
    "rotation_shift": "the image may be turned by up to {} degrees and shifted in proportion",
    "patch": "one patch on at most {} of the image, the same for all images, may lie anywhere",
}


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Robust accuracy at the usual radius: an image counts only if no attack changed its answer.

    Args:
        results: of adversarial probes.
        clean: the undisturbed images.

    Returns:
        Numbers `adversarial_<norm>_acc`, `_loss` and `_epsilon` of every threat model, and
        `adversarial_acc` and `worst_case_loss` over all of them; of AutoAttack what it spent and
        its early verdict; `masking_<norm>_overstated` and `_signs`, see `Beside`;
        `adversarial_<norm>_median` of minimum-norm attacks; see `against_control` too.
    """
    certified = [result for result in results if "certified" in result.rows]
    others = [r for r in results if "certified" not in r.rows and not is_masking(r)]
    attacks = attack_sets(others, clean)
    verdicts = [Beside.of(attack_set, results) for attack_set in attacks]
    numbers: dict[str, Number] = {}
    sentences: list[str] = []
    for attack_set, verdict in zip(attacks, verdicts, strict=True):
        numbers |= _numbers(attack_set, verdict)
        sentences += [*_sentences(attack_set, clean), *breakdown_sentences(attack_set)]
        sentences += verdict.sentences(passes(others))
    if attacks:
        rows = worst_case([attack_set.at_headline for attack_set in attacks])
        numbers |= _over_all(rows, attacks, verdicts)
        if len(attacks) == 1:  # the same number under two names
            numbers["adversarial_acc"] = numbers["adversarial_acc"]._replace(card=False)
    for result in results:
        if certificate := Certificate.of(result):
            asked = f"{result.algorithm} {result.certificate}"
            numbers |= certificate.numbers(result.name, asked)
            sentences += certificate.sentences()
    sentences += without_start(results)
    for more, told in (
        medians(results),
        against_control(results),
        certified_bounds(certified, attacks),
        saved_as_png(results),
    ):
        numbers |= more
        sentences += told
    several = [attack_set for attack_set in attacks if len(attack_set.results) > 1]
    return Summary(
        numbers,
        sentences,
        [*(_curve(attack_set, clean) for attack_set in several), *whole_curves(results)],
        {f"Worst case ({attack_set.sign})": attack_set.table for attack_set in several},
        answers={_attacked_at(attack_set): attack_set.at_headline for attack_set in attacks},
        front=[f"adversarial_{attack_set.norm}_acc" for attack_set in attacks],
    )


def _attacked_at(attacks: AttackSet) -> str:
    """`Attacked, L∞ 0.3`."""
    return f"Attacked, {attacks.sign} {radius(attacks.radius, attacks.results[0].unit)}"


def half_life(attacks: AttackSet, clean: ProbeResult | None) -> Interval | None:
    """The radius at which the worst case falls to half of the clean accuracy.

    Where an attack looked for the least change it is known at every radius: half is gone at the
    median distance of the nearest point that any attack found, over images that are right
    undisturbed. Else see `half_severity`; None where it does so at no radius between two that were
    measured.

    Args:
        attacks: of one threat model.
        clean: the undisturbed images; without them there is nothing to halve.
    """
    if clean is None:
        return None
    if any("minimum_distance" in result.rows for result in attacks.results):
        half = median(_nearest(attacks))
        return half if math.isfinite(half.value) else None
    lines = attacks.table[["acc", "acc_low", "acc_high"]].itertuples(index=False)
    shares = [Interval(*line) for line in lines]
    return half_severity(list(attacks.table["value"]), shares, _clean_accuracy(clean, attacks))


def _nearest(attacks: AttackSet) -> pd.Series:
    """How far the nearest adversarial point is, of images that are right undisturbed."""
    rows = attacks.at_headline
    right = rows.loc[rows["clean_correct"] == 1, "index"]
    points = pd.concat([found_points(result.rows) for result in attacks.results])
    nearest = pd.Series(points.groupby("index")["distance"].min())
    return nearest.reindex(right).fillna(math.inf)


def _numbers(attacks: AttackSet, verdict: Beside) -> dict[str, Number]:
    rows, unit = attacks.at_headline, attacks.results[0].unit
    names = " and ".join(result.title.split(" (")[0] for result in attacks.measured(attacks.step))
    at = f"{attacks.sign} {radius(attacks.radius, unit)}"
    left = f", {attacks.left_out:,} left out that not every attack has" if attacks.left_out else ""
    note = f"under {names} on {len(rows):,} images{left}"
    asked, loss = _conditions(attacks, rows), column_mean(rows, "worst_loss")
    stem = f"adversarial_{attacks.norm}"
    return {
        f"{stem}_acc": Number(
            f"Robust accuracy at {at}", accuracy(rows), "%", f"{note}; {verdict.note}", asked
        ),
        f"{stem}_loss": Number(
            f"Worst loss at {at}", loss, "", with_mark(note, loss), asked, False
        ),
        f"{stem}_epsilon": Number(
            f"Radius ({attacks.sign})", NOTHING._replace(value=attacks.radius), "", "", asked, False
        ),
        **verdict.numbers(asked),
    }


def _over_all(
    rows: pd.DataFrame, attacks: Sequence[AttackSet], verdicts: Sequence[Beside]
) -> dict[str, Number]:
    at = " and ".join(
        f"{group.sign} {radius(group.radius, group.results[0].unit)}" for group in attacks
    )
    note = f"under every attack at {at} on {len(rows):,} images"
    asked = "; ".join(_conditions(group, rows) for group in attacks)
    told = "; ".join(dict.fromkeys(verdict.note for verdict in verdicts))
    loss = column_mean(rows, "worst_loss")
    return {
        "adversarial_acc": Number("Robust accuracy", accuracy(rows), "%", f"{note}; {told}", asked),
        "worst_case_loss": Number("Worst loss", loss, "", with_mark(note, loss), asked, False),
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


def _clean_accuracy(clean: ProbeResult, attacks: AttackSet) -> float:
    return _start(clean, attacks.at_headline)["correct"]


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
    return [*sentences, *_half_gone(attacks, clean)]


def _half_gone(attacks: AttackSet, clean: ProbeResult | None) -> Iterator[str]:
    """Where half of the accuracy is gone, if two of the radii measured lie on either side."""
    half, first = half_life(attacks, clean), attacks.table.iloc[0]
    if half is not None:
        known = math.isfinite(half.low) and math.isfinite(half.high)
        ends = f" (95 % interval {half.low:.2g}{DASH}{half.high:.2g})" if known else ""
        yield f"Half of its accuracy is gone near {attacks.sign} radius {half.value:.2g}{ends}."
    elif clean is not None and first["acc"] <= _clean_accuracy(clean, attacks) / 2:
        least = radius(float(first["value"]), attacks.results[0].unit)
        yield f"Half of its accuracy is gone at {attacks.sign} {least} or less, the least measured."
