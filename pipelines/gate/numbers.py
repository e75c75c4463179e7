"""Finds a number of any result by the name that a policy gives it."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from callbacks.results import ProbeResult, headline_step
from callbacks.statistics import Interval, mean, rate
from datamodules.errors import suggestion
from pipelines.compare.pairing import answers, with_worst_cases
from pipelines.compare.question import pass_of
from pipelines.report.result import Result

_CLOSE = 1e-6
"""Relative difference of a severity as typed and as measured, which is rounding."""
WORST = "worst"


_FULL_PASS = ("evaluate", "robustness")
"""Of several passes that of all test images, whatever the order of the questions."""


class NotThereError(LookupError):
    """The run has no such number; the message is a sentence."""


def held_by(result: Result) -> dict[str, Result]:
    """The result, and those that it holds where it answers several questions, by room."""
    inner: Any = getattr(result, "by_question", None) or getattr(result, "answers", None)
    held = dict(inner) if isinstance(inner, Mapping) else {}
    return {result.room: result, **held}


def probes_of(result: Result) -> list[ProbeResult]:
    """The probes of the pass over test images, and the worst case of attacks on one threat model.

    Empty where there was no pass; checks that are no accuracies are left out.
    """
    held = sorted(held_by(result).items(), key=lambda item: item[0] not in _FULL_PASS)
    passes = [found for _, one in held if (found := pass_of(one)) is not None]
    own = [one for one in (passes[0].results if passes else ()) if not one.is_list]
    return [one for one in with_worst_cases(own) if len(one.rows)]


def number_of(result: Result, name: str, of_class: str | None = None) -> Interval:
    """A number with its interval.

    Args:
        result: of any question.
        name: of a headline number, as `adversarial_acc` (MLflow's `summary/adversarial_acc`); or
            `family/setting` for an accuracy and `family/setting_number` for another column, as
            `corruption/fog_ece`, with `@severity` in the probe's own unit, as `@8/255`; without it
            at the severity that stands for the probe.
        of_class: name of a class, or `worst`: then an accuracy is of its images alone.

    Raises:
        NotThereError: it was not measured.
    """
    key = name.removeprefix("summary/")
    if "/" not in key.partition("@")[0]:
        return _headline(result, key)
    place, _, severity = key.partition("@")
    probe, column = _probe(result, place)
    step = step_of(probe, severity)
    if of_class is not None:
        if column != "acc":
            raise NotThereError(f"{name} is no accuracy, so it has no classes.")
        return _of_class(probe, step, of_class, _classes(result))
    line = probe.line_at(step)
    ends = (float(line.get(f"{column}_{end}", np.nan)) for end in ("low", "high"))
    return Interval(float(line[column]), *ends)


def step_of(probe: ProbeResult, severity: str) -> int:
    """The step of a severity as typed; without one that which stands for the probe.

    Raises:
        NotThereError: it was not measured at that severity.
    """
    values = probe.values
    if not severity:
        return headline_step(values, probe.headline)
    places = {said: float(number) for number, said in probe.places.items()}
    try:
        asked = places.get(severity)
        asked = float(Fraction(severity.replace(" ", ""))) if asked is None else asked
    except (ValueError, ZeroDivisionError, OverflowError):
        raise NotThereError(f"{severity!r} is no severity of {probe.title}.") from None
    same = [step for step, value in values.items() if np.isclose(value, asked, rtol=_CLOSE)]
    if not same:
        there = ", ".join(probe.said(value) or "0" for value in values.values())
        raise NotThereError(f"{probe.title} was not measured at {severity}, only at {there}.")
    return same[0]


def _headline(result: Result, name: str) -> Interval:
    numbers: dict[str, Interval] = {}
    for one in reversed([*held_by(result).values()]):  # the result's own names come first
        numbers |= {key: number.interval for key, number in one.headline().items()}
    if name not in numbers:
        raise NotThereError(f"The run has no number {name!r}.{suggestion(name, numbers)}")
    return numbers[name]


def _probe(result: Result, place: str) -> tuple[ProbeResult, str]:
    """The probe and the column of `family/setting_number`."""
    probes = probes_of(result)
    known = {f"{one.family}/{one.rows['setting'].iloc[0]}": one for one in probes}
    if place in known:
        return known[place], "acc"
    for key in sorted(known, key=len, reverse=True):
        column = place.removeprefix(f"{key}_")
        if column != place and column in known[key].table:
            return known[key], column
    raise NotThereError(f"The run has not measured {place!r}.{suggestion(place, known)}")


def _classes(result: Result) -> list[str]:
    return [str(name) for name in result.about.model["classes"]]


def _of_class(probe: ProbeResult, step: int, name: str, classes: Sequence[str]) -> Interval:
    """Accuracy on the images of a class; of the worst with ends that hold for all at once."""
    rows = answers(probe).at(step)
    shares = {classes[int(str(label))]: part["correct"] for label, part in rows.groupby("label")}
    if name == WORST:
        ends = [_share(part, 1 - 0.05 / len(shares)) for part in shares.values()]
        return Interval(*(min(one[i] for one in ends) for i in range(3)))
    if name not in shares:
        raise NotThereError(f"No image of class {name!r} was measured.{suggestion(name, shares)}")
    return _share(shares[name])


def _share(correct: pd.Series, level: float = 0.95) -> Interval:
    if correct.isin([0, 1]).all():
        return rate(int(correct.sum()), len(correct), level)
    return mean(correct.to_numpy(), level, bounds=(0.0, 1.0))
