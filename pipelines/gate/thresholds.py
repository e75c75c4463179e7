"""Thresholds and required conditions, held against a run."""

import re
from collections.abc import Iterator

from callbacks.results import ProbeResult
from callbacks.words import ends, number
from datamodules.errors import suggestion
from pipelines.gate.check import Check, not_measured
from pipelines.gate.numbers import NotThereError, held_by, number_of, probes_of
from pipelines.gate.policy import Required, Threshold
from pipelines.report.result import Result

_ATTACKED = re.compile(r"adversarial_(\w+)_acc")


def threshold_check(threshold: Threshold, result: Result) -> Check:
    """Holds one number against its threshold."""
    name, end = threshold.name, threshold.end
    try:
        found = number_of(result, threshold.number, threshold.of_class)
    except NotThereError as error:
        return not_measured("thresholds", name, str(error))
    value = {"lower": found.low, "upper": found.high, "point": found.value}[end]
    if value != value:
        why = f"{threshold.number} has no {end} end" if end != "point" else "there is no number"
        return not_measured("thresholds", name, f"{why}: too few images, or none (`by: point`).")
    low, high = threshold.at_least, threshold.at_most
    passed = value >= low if low is not None else value <= (high if high is not None else value)
    told = "the value" if end == "point" else f"the {end} end of the 95 % interval"
    asked = f"{'at least' if low is not None else 'at most'} {low if low is not None else high:g}"
    between = ends(found.low, found.high)
    said = (
        f"{threshold.number} is {number(found.value)}{f' [{between}]' if between else ''}: "
        f"{told} is {value:.6g}, {'which is' if passed else 'not'} {asked}."
    )
    return Check("thresholds", name, passed, said, found, f"{asked} by {end}")


def required_checks(required: Required, result: Result) -> Iterator[Check]:
    """Holds the run itself against what is required of it."""
    if required.finished:
        cut = any(one.about.interrupted for one in held_by(result).values())
        said = "The run was interrupted: these are only the rows so far." if cut else "It finished."
        yield Check("required", "finished", not cut, said)
    if required.data_digest is not None:
        yield _same_data(required.data_digest, result)
    if required.min_images is not None:
        yield _enough_images(required.min_images, probes_of(result))
    for probe, least in required.budget.items():
        for parameter, value in least.items():
            yield _enough_spent(probe, parameter, value, probes_of(result))
    if required.masking is not None:
        yield from _masking(required, result)


def _same_data(wanted: str, result: Result) -> Check:
    test = result.about.dataset.get("splits", {}).get("test", {})
    digest = str(test.get("digest", ""))
    if not digest:
        return not_measured("required", "data_digest", "The run tells no digest of test images.")
    said = f"The digest of the test images is {digest[: max(12, len(wanted))]}."
    return Check("required", "data_digest", digest.startswith(wanted), said, asked=wanted)


def _enough_images(least: int, probes: list[ProbeResult]) -> Check:
    counts = {one.title: int(one.rows["index"].nunique()) for one in probes}
    few = {title: n for title, n in counts.items() if n < least}
    if not counts:
        return not_measured("required", "min_images", "The run measured no test images.")
    told = few or {title: n for title, n in counts.items() if n == min(counts.values())}
    said = f"{'; '.join(f'{title}: {n:,} images' for title, n in told.items())}."
    return Check("required", "min_images", not few, said, asked=f"at least {least:,}")


def _enough_spent(probe: str, parameter: str, least: float, probes: list[ProbeResult]) -> Check:
    """What a probe did says its own description, with every parameter."""
    name, known = f"budget of {probe}: {parameter} >= {least:g}", {one.name: one for one in probes}
    if probe not in known:
        why = f"The run has no probe {probe!r}.{suggestion(probe, known)}"
        return not_measured("required", name, why)
    done = f"{known[probe].algorithm} {known[probe].certificate}".strip()
    spent = re.findall(rf"\b{re.escape(parameter)}=([-+0-9.e]+)", done)
    if not spent:
        return not_measured("required", name, f"There is no {parameter!r} in what it did: {done}.")
    value = min(map(float, spent))
    said = f"{known[probe].title} had {parameter} {value:g}."
    return Check("required", name, value >= least, said, asked=f"at least {least:g}")


def _masking(required: Required, result: Result) -> Iterator[Check]:
    """Whether gradient masking was looked for and not seen, in every norm that was attacked."""
    headlines = [one.headline() for one in held_by(result).values()]
    numbers = {key: one for headline in reversed(headlines) for key, one in headline.items()}
    attacked = [match[1] for key in numbers if (match := _ATTACKED.fullmatch(key))]
    norms = attacked if isinstance(required.masking, str) else list(required.masking or ())
    if not norms:
        yield not_measured("required", "masking", "The run has no attack that could be masked.")
    for norm in norms:
        name, signs = f"masking {norm}", numbers.get(f"masking_{norm}_signs")
        if signs is None:
            why = f"Gradient masking was not looked for under {norm} attacks."
            yield not_measured("required", name, why)
        else:
            said = f"{signs.note[:1].upper()}{signs.note[1:]}."
            yield Check("required", name, signs.interval.value == 0, said, asked="no sign")
