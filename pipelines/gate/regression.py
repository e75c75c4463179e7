"""Is a run worse than its baseline, beyond chance, under any of several probes?

`losses` is pure, of answers alone; the rest finds what both runs were asked alike.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from callbacks.results import ProbeResult
from callbacks.statistics import Interval, holm, paired_difference, smallest_drop, worse_by
from datamodules.errors import UserError, suggestion
from pipelines.compare.alike import check_subjects, unlike
from pipelines.compare.pairing import answers, joined
from pipelines.gate.check import Check, not_measured
from pipelines.gate.numbers import NotThereError, probes_of, step_of
from pipelines.gate.policy import Baseline
from pipelines.report.result import Result

_ALL, _RUN, _BASE = "all", "this run", "the baseline"


class Pair(NamedTuple):
    """Two models under one probe and severity.

    Args:
        name: `pgd_linf@0.3`.
        title: for sentences.
        one: `(N,)` how far each image is right, of the baseline, in [0, 1].
        other: the same images, of the run.
    """

    name: str
    title: str
    one: np.ndarray
    other: np.ndarray


@dataclass(frozen=True)
class Loss:
    """What one comparison found.

    Args:
        pair: what was compared.
        difference: of the accuracies, run minus baseline, with its 95 % interval.
        p: one-sided, corrected for all comparisons (Holm).
        drop: the least drop that so many images show with a chance of 80 %.
    """

    pair: Pair
    difference: Interval
    p: float
    drop: float


def losses(pairs: Sequence[Pair], margin: float = 0.0, alpha: float = 0.05) -> list[Loss]:
    """Tests every pair for a loss of more than a margin; p holds for all of them at once.

    Of a baseline and a model that is worse by the margin at most under every probe, the chance
    that any p is `alpha` or less is `alpha` at most: exact tests in one direction (`worse_by`),
    and Holm's correction (1979), which holds however the probes depend on each other. Where
    answers are drawn at random, an image counts by the majority of its draws.

    Args:
        pairs: all that the gate compares.
        margin: share of the images.
        alpha: of all comparisons together; only the power is told by it.
    """
    right = [(pair.one > 0.5, pair.other > 0.5) for pair in pairs]
    p_values = holm([worse_by(one, other, margin) for one, other in right])
    level = alpha / max(1, len(pairs))
    return [
        Loss(
            pair, paired_difference(pair.one, pair.other), float(p),
            smallest_drop(len(one), int((one != other).sum()), level, margin),
        )
        for pair, p, (one, other) in zip(pairs, p_values, right, strict=True)
    ]  # fmt: skip


def baseline_checks(rule: Baseline, base: Result, result: Result) -> list[Check]:
    """Compares a run with its baseline under every probe that the rule names.

    A probe that the two were not asked alike fails: the run may be worse there.
    """
    try:
        check_subjects({_BASE: base, _RUN: result})
    except UserError as error:
        told = " ".join(str(error).split())
        return [not_measured("baseline", "comparable with the baseline", told)]
    pairs: list[Pair] = []
    checks: list[Check] = []
    named: set[str] = set()
    for found in _pairs(rule.probes, probes_of(base), probes_of(result)):
        if isinstance(found, Pair) and found.name in named:  # `clean` and `clean@all`
            continue
        named |= {found.name} if isinstance(found, Pair) else set()
        (checks if isinstance(found, Check) else pairs).append(found)  # type: ignore[arg-type]
    if not pairs and not checks:
        told = "The baseline measured no test images, so there is nothing to compare with."
        checks.append(not_measured("baseline", "compared with the baseline", told))
    found = losses(pairs, rule.margin / 100, rule.alpha)
    return [*checks, *(_check(rule, loss, len(pairs)) for loss in found)]


def _pairs(
    asked: Sequence[str] | None, base: Sequence[ProbeResult], own: Sequence[ProbeResult]
) -> Iterator[Pair | Check]:
    """What can be compared, and of what cannot the check that fails."""
    theirs, mine = ({one.name: one for one in probes} for probes in (base, own))
    for word in dict.fromkeys(asked if asked is not None else theirs):
        name, _, severity = word.partition("@")
        if name not in theirs or name not in mine:
            where = _BASE if name not in theirs else _RUN
            known = theirs if name not in theirs else mine
            why = f"{name!r} was not measured in {where}.{suggestion(name, known)}"
            yield not_measured("baseline", _rule(word), why)
        elif lines := unlike({_BASE: [theirs[name]], _RUN: [mine[name]]}):
            yield not_measured("baseline", _rule(word), f"Not asked alike: {' '.join(lines)}")
        else:
            yield from _at(word, severity, theirs[name], mine[name])


def _at(word: str, severity: str, base: ProbeResult, own: ProbeResult) -> Iterator[Pair | Check]:
    """One probe at the severity that was asked for, or at all."""
    try:
        steps = [*base.values] if severity == _ALL else [step_of(base, severity)]
    except NotThereError as error:
        yield not_measured("baseline", _rule(word), str(error))
        return
    table = joined(answers(base), answers(own))
    for step in steps:
        rows, at = table[table["severity"] == step], base.said(base.values[step])
        name = f"{base.name}@{at}" if at else base.name
        yield Pair(
            name, f"{base.title} {at}".strip(),
            rows["correct_one"].to_numpy(float), rows["correct_other"].to_numpy(float),
        )  # fmt: skip


def _rule(word: str) -> str:
    return f"{word} not worse than the baseline"


def _check(rule: Baseline, loss: Loss, of: int) -> Check:
    """Told in points of accuracy, with what so many images could have shown."""
    points = Interval(*(100 * end for end in loss.difference))
    by = f" by more than {rule.margin:g} points" if rule.margin else ""
    worse = loss.p <= rule.alpha
    found = (
        f"{points.value:+.1f} points [{points.low:+.1f}, {points.high:+.1f}] under "
        f"{loss.pair.title} on the same {len(loss.pair.one):,} images"
    )
    p = f"p {loss.p:.2g} for a loss{by}, one-sided, Holm over {of:,}"
    power = (
        f"a drop of {100 * loss.drop:.1f} points would be found 4 times in 5"
        if math.isfinite(loss.drop)
        else "so few images would show no drop"
    )
    verdict = "Worse than the baseline" if worse else "Not shown to be worse than the baseline"
    said = f"{verdict}{by}: {found} ({p}; {power})."
    asked = f"no loss{by}, alpha {rule.alpha:g}"
    return Check("baseline", _rule(loss.pair.name), not worse, said, points, asked)
