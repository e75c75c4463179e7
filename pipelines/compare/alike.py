"""Whether several results were asked the same of the same images, and what is alike in them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from callbacks.results import ProbeResult
from datamodules.errors import UserError
from pipelines.compare.pairing import SETTING
from pipelines.report.about import About
from pipelines.report.result import Result

_MOST = 30
"""Lines of a refusal."""
_PIECES = re.compile(r"\w+=[^,()\s]+|[^,()\s]+")
_KEYS = [*SETTING, "index"]


def check_subjects(results: Mapping[str, Result]) -> None:
    """Refuses what no test can pair: another question, other images or classes, one run twice.

    Args:
        results: of one question each, by the name they are told by.

    Raises:
        UserError: a line a difference.
    """
    (first, one), *others = results.items()
    lines = [line for name, other in others for line in _apart(first, one, name, other)]
    names = list(results)
    for i, name in enumerate(names):
        own = results[name].about
        same = [earlier for earlier in names[:i] if _same_run(results[earlier].about, own)]
        lines += [f"{earlier} and {name} are one run." for earlier in same]
    if lines:
        raise UserError(_listed("These runs cannot be compared image by image:", lines))


def check_alike(results: Mapping[str, Sequence[ProbeResult]]) -> None:
    """Refuses probes whose settings, budgets or images differ, and says which and how.

    Args:
        results: of the probes, by run.

    Raises:
        UserError: a line a difference, and the option that restricts to what is alike.
    """
    if lines := unlike(results):
        ending = "Give `--common` to compare what is alike and leave out the rest."
        raise UserError(_listed("These runs were not asked alike:", lines, ending))


def unlike(results: Mapping[str, Sequence[ProbeResult]]) -> list[str]:
    """How probes differ from those of the first run, a line a difference.

    Args:
        results: of the probes, by run; checks that are no accuracies are not looked at.
    """
    (first, own), *others = ((name, _by_name(found)) for name, found in results.items())
    lines: list[str] = []
    for name, found in others:
        for probe in dict.fromkeys([*own, *found]):
            one, other = own.get(probe), found.get(probe)
            if one is None or other is None:
                there, title = (first, own) if other is None else (name, found)
                lacks = name if other is None else first
                lines.append(f"{title[probe].title} is in {there}, not in {lacks}.")
            else:
                lines += _difference(first, one, name, other)
    return list(dict.fromkeys(lines))


def alike(results: Mapping[str, Sequence[ProbeResult]]) -> dict[str, list[ProbeResult]]:
    """Restricts to probes, settings and images that all runs have, asked in the same way.

    Args:
        results: of the probes, by run.

    Raises:
        UserError: nothing is alike.
    """
    runs = [_by_name(found) for found in results.values()]
    kept: list[list[ProbeResult]] = []
    for probe in runs[0]:
        group = [run[probe] for run in runs if probe in run]
        if len(group) == len(runs) and len({(one.algorithm, one.certificate) for one in group}) < 2:
            shared = _shared(group)
            kept += [shared] if len(shared[0].rows) else []
    if not kept:
        raise UserError("Expected a probe that all runs were asked alike, but there is none.")
    return {name: [group[i] for group in kept] for i, name in enumerate(results)}


def circumstances(results: Mapping[str, Result]) -> Iterator[str]:
    """What differs and does not keep from comparing, but must be said."""
    for name, result in results.items():
        if result.about.interrupted:
            yield f"{name} was interrupted: only the rows so far are compared."
    for what, told in (
        ("seed", lambda about: about.seed),
        ("precision", lambda about: about.environment.get("precision")),
        ("device", lambda about: about.environment.get("device")),
        ("version of torch", lambda about: about.environment.get("torch")),
        ("input", lambda about: about.model.get("input_told")),
    ):
        values = {name: told(result.about) for name, result in results.items()}
        if len(set(map(str, values.values()))) > 1:
            yield f"Other {what}: {_told(values)}."
    weights: dict[str, list[str]] = {}
    for name, result in results.items():
        weights.setdefault(str(result.about.model["digest"]), []).append(name)
    for names in weights.values():
        if len(names) > 1:
            yield f"{' and '.join(names)} have the same weights."


def _apart(first: str, one: Result, name: str, other: Result) -> Iterator[str]:
    if one.room != other.room:
        yield f"{first} is of {one.room}, {name} of {other.room}."
        return
    tests = [about.dataset.get("splits", {}).get("test", {}) for about in (one.about, other.about)]
    if tests[0].get("digest") != tests[1].get("digest"):
        told = [
            f"{about.dataset.get('title', about.dataset['name'])}, {test.get('samples', 0):,} "
            f"images, digest of files, names and labels {str(test.get('digest'))[:12]}"
            for about, test in zip((one.about, other.about), tests, strict=True)
        ]
        yield f"Other test images: {told[0]} in {first}; {told[1]} in {name}."
    mine, its = ([str(c) for c in about.model["classes"]] for about in (one.about, other.about))
    if mine != its:
        how = "in another order" if sorted(mine) == sorted(its) else "of other names"
        yield f"Classes {how}: {_few(mine)} in {first}, {_few(its)} in {name}."


def _difference(first: str, one: ProbeResult, name: str, other: ProbeResult) -> Iterator[str]:
    """How one probe differs in two runs."""
    if one.algorithm != other.algorithm or one.certificate != other.certificate:
        told = [f"{result.algorithm} {result.certificate}".strip() for result in (one, other)]
        mine, its = map(_PIECES.findall, told)
        only = [", ".join(x for x in a if x not in b) for a, b in ((mine, its), (its, mine))]
        mine, its = told if not any(only) else [text or "nothing of it" for text in only]
        yield f"{one.title}: {mine} in {first}, {its} in {name}."
    if not _equal(one.rows, other.rows, ["value", "index"]):
        yield from _other_images(first, one, name, other)
    draws = [r.rows["draw"].nunique() if "draw" in r.rows else 1 for r in (one, other)]
    if draws[0] != draws[1]:
        yield f"{one.title}: {draws[0]} random draws in {first}, {draws[1]} in {name}."


def _other_images(first: str, one: ProbeResult, name: str, other: ProbeResult) -> Iterator[str]:
    """Which settings or images only one of two runs has."""
    images = [
        {float(str(k)): set(p["index"]) for k, p in r.rows.groupby("value")} for r in (one, other)
    ]
    for value in sorted({*images[0], *images[1]}):
        said = f"{one.title} {one.said(value)}".strip()
        there = [side.get(value) for side in images]
        if there[0] is None or there[1] is None:
            yield f"{said} is only in {first if there[1] is None else name}."
        elif there[0] != there[1]:
            both = len(there[0] & there[1])
            yield (
                f"{said}: {len(there[0]):,} images in {first}, {len(there[1]):,} in {name}, "
                f"{both:,} in both."
            )


def _shared(group: Sequence[ProbeResult]) -> list[ProbeResult]:
    """The rows whose setting and image every run has."""
    if all(_equal(one.rows, group[0].rows, _KEYS) for one in group):
        return [*group]
    keys = [pd.MultiIndex.from_frame(one.rows.loc[:, _KEYS]) for one in group]
    common = keys[0].unique()
    for key in keys[1:]:
        common = common.intersection(key.unique())
    pairs = zip(group, keys, strict=True)
    return [replace(one, rows=one.rows[key.isin(common)]) for one, key in pairs]


def _equal(one: pd.DataFrame, other: pd.DataFrame, keys: Sequence[str]) -> bool:
    """Whether columns are alike, row by row: that of most runs, and told at once."""
    return all(one[key].array.equals(other[key].array) for key in keys)


def _by_name(results: Sequence[ProbeResult]) -> dict[str, ProbeResult]:
    return {one.name: one for one in results if not one.is_list and len(one.rows)}


def _same_run(one: About, other: About) -> bool:
    if one.run_id and other.run_id:
        return one.run_id == other.run_id
    return one.as_dict() == other.as_dict()


def _told(values: Mapping[str, Any]) -> str:
    """`32-true in A and B, bf16-mixed in C`."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(str(value), []).append(name)
    return "; ".join(f"{value} in {' and '.join(names)}" for value, names in groups.items())


def _few(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - 4:,} more" if len(classes) > 4 else ""
    return f"{', '.join(classes[:4])}{more}"


def _listed(title: str, lines: Sequence[str], ending: str = "") -> str:
    left = [f"... and {len(lines) - _MOST:,} more."] if len(lines) > _MOST else []
    return "\n  ".join([title, *lines[:_MOST], *left]) + (f"\n{ending}" if ending else "")
