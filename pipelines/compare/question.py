"""Several results of one question, compared: what is paired, ranked and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from callbacks.results import ProbeResult, headline_step
from pipelines.compare.alike import alike, check_alike, check_subjects, circumstances, unlike
from pipelines.compare.changed_sides import changed_sides
from pipelines.compare.curves import points
from pipelines.compare.leaderboard import leaderboard, resampled_means
from pipelines.compare.pairing import answers, corrected, differences, with_worst_cases
from pipelines.evaluate.result import Evaluation
from pipelines.report.result import Result

TABLES = ("differences", "changed", "board", "curves")


@dataclass(frozen=True)
class Question:
    """One question that all runs answered.

    Args:
        room: of the question.
        models: names of the runs; the baseline first.
        differences: see `pairing.differences`, with the `model` that stands against the baseline.
        changed: see `changed_sides`, with the `model`.
        board: see `leaderboard`, with `probe title said`; of three models or more.
        curves: see `points`.
        places: of probes whose severities are places, by probe.
        notes: what was left out, and what differs otherwise.
        results: of a question whose runs are no pass over test images: these are compared by what
            their own `beside` pairs.
    """

    room: str
    models: Sequence[str]
    differences: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    changed: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    board: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    results: Sequence[Result] = ()


def compared(results: Mapping[str, Result], common: bool = False, seed: int = 0) -> Question:
    """Compares results of one question with the first of them.

    Args:
        results: by the name of their run; the baseline first.
        common: restrict to what is alike, instead of refusing what is not.
        seed: of the bootstrap.

    Raises:
        UserError: other images or classes; other settings without `common`; nothing is alike.
    """
    check_subjects(results)
    notes = [*circumstances(results)]
    room, names = next(iter(results.values())).room, list(results)
    passes = {name: pass_of(result) for name, result in results.items()}
    probes = {name: one.results for name, one in passes.items() if one is not None}
    if len(probes) < len(results):
        return Question(room, names, notes=notes, results=list(results.values()))
    if common:
        notes += [f"Left out: {line}" for line in unlike(probes)]
    else:
        check_alike(probes)
    notes += _not_compared(probes)
    return _paired(room, alike(probes), notes, seed)


def pass_of(result: Result) -> Evaluation | None:
    """The pass over test images that a result is, or has; None of one that has none."""
    found = getattr(result, "evaluation", result)
    return found if isinstance(found, Evaluation) else None


def _paired(
    room: str, probes: Mapping[str, Sequence[ProbeResult]], notes: Sequence[str], seed: int
) -> Question:
    whole = {name: with_worst_cases(found) for name, found in probes.items()}
    told = {name: [*map(answers, found)] for name, found in whole.items()}
    (_, base), *others = told.items()
    tables = [differences(base, other).assign(model=name) for name, other in others]
    changed = [changed_sides(base, other).assign(model=name) for name, other in others]
    return Question(
        room,
        list(probes),
        corrected(tables),
        pd.concat(changed, ignore_index=True),
        boards(told, seed) if len(told) > 2 else pd.DataFrame(),
        pd.concat([points(name, found) for name, found in whole.items()], ignore_index=True),
        {one.name: dict(one.places) for one in base if one.places},
        notes,
    )


def boards(told: Mapping[str, Sequence[ProbeResult]], seed: int = 0) -> pd.DataFrame:
    """A leaderboard for every probe at the severity that stands for it.

    Probes on the same images share their resamples.

    Args:
        told: results from `answers`, by model.
        seed: of the bootstrap.
    """
    names, own = list(told), next(iter(told.values()))
    tables: dict[int, tuple[str, np.ndarray]] = {}
    groups: dict[bytes, list[int]] = {}
    for place, one in enumerate(own):
        step = headline_step(one.values, one.headline)
        aligned = pd.concat(
            [found[place].at(step).set_index("index")["correct"] for found in told.values()],
            axis=1, keys=names, join="inner",
        ).sort_index()  # fmt: skip
        tables[place] = one.said(one.values[step]), aligned.to_numpy(float)
        groups.setdefault(aligned.index.to_numpy("int64").tobytes(), []).append(place)
    lines: dict[int, pd.DataFrame] = {}
    for places in groups.values():
        resampled = resampled_means(np.hstack([tables[place][1] for place in places]), seed)
        for place, means in zip(places, np.hsplit(resampled, len(places)), strict=True):
            about = {"probe": own[place].name, "title": own[place].title, "said": tables[place][0]}
            lines[place] = leaderboard(tables[place][1], means, names).assign(**about)
    return pd.concat([lines[place] for place in sorted(lines)], ignore_index=True)


def _not_compared(probes: Mapping[str, Sequence[ProbeResult]]) -> list[str]:
    lists = dict.fromkeys(one.title for found in probes.values() for one in found if one.is_list)
    if not lists:
        return []
    return [f"{', '.join(lists)}: checks, not accuracies, so they are not compared."]
