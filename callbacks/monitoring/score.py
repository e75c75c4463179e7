"""Monitorability score: how far a model can be explained and watched, 0 to 1, from six parts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from callbacks.monitoring.evidence import Evidence, FailureEvidence, Sample, normal_interval
from callbacks.statistics import Interval, without_ends
from datamodules.errors import UserError

PARTS: dict[str, str] = {
    "faithfulness": "symmetric relevance gain; 0: a random map, 1: one patch decides everything",
    "stability": "max-sensitivity; 0: the map's values in an order redrawn for every image, 1: it "
    "never changes",
    "randomisation": "1 - rank correlation of the maps before and after all parameters are "
    "randomised, less what changes when it is asked for again; 0: a map that ignores the model, 1: "
    "nothing is left of it",
    "surrogate": "held-out R² of the local linear surrogate, negative ones as 0; 0: no better than "
    "the mean, 1: exact",
    "units": "share of units whose maximised image beats the 99.9th percentile of natural "
    "activations; 0: noise images do as well, 1: all units",
    "failure": "2·AUROC - 1 of low confidence telling errors; 0: chance, 1: every error",
}
"""What each part is and what its scale means."""


@dataclass(frozen=True)
class ScoredPart:
    """One part of the score.

    Args:
        name: key of `PARTS`.
        value: in [0, 1] with its 95 % interval; not a number where it is undefined.
        measured: mean, on its own scale.
        control: mean of the random control, on the same scale.
        ideal: on the same scale.
        n: images or units.
        below: measured worse than its control, which counts as 0 and has no ends.
    """

    name: str
    value: Interval
    measured: float
    control: float
    ideal: float
    n: int
    below: bool = False


@dataclass(frozen=True)
class MonitorabilityScore:
    """The plain mean of the parts, which are never shown apart from it.

    Args:
        value: in [0, 1], with its 95 % bootstrap interval over images and units; not a number where
            a part is undefined.
        parts: all six.
    """

    value: Interval
    parts: tuple[ScoredPart, ...]

    def table(self) -> pd.DataFrame:
        """One line a part, then the score: `part value low high measured control ideal n scale`."""
        lines = [
            {
                "part": one.name, **one.value._asdict(), "measured": one.measured,
                "control": one.control, "ideal": one.ideal, "n": one.n, "scale": PARTS[one.name],
            }
            for one in self.parts
        ]  # fmt: skip
        total = {"part": "monitorability", **self.value._asdict(), "scale": "mean of the parts"}
        return pd.DataFrame([*lines, total])

    def __str__(self) -> str:
        parts = ", ".join(f"{one.name} {one.value.value:.2f}" for one in self.parts)
        return f"monitorability {self.value} (parts: {parts}; the control of each part is 0)"


def monitorability(
    evidence: Mapping[str, Evidence | FailureEvidence],
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
) -> MonitorabilityScore:
    """Scales the parts, takes their mean and bootstraps both.

    Images are resampled once for all parts, as the parts were measured on the same ones; units are
    resampled on their own. What is not finite is left out; where nothing is left of a part, for
    instance because the model makes no error that could be detected, that part and the score are
    not a number: a mean of the other parts would not be comparable. A part of fewer than
    `LEAST_ROWS` images has no ends, and then neither has the score.

    Args:
        evidence: for every key of `PARTS`.
        level: of the intervals.
        seed: of the resampling.
        resamples: how many.

    Raises:
        UserError: a part is missing.
    """
    _check(evidence)
    made = {name: Sample(evidence[name]) for name in PARTS}
    images = np.unique(
        np.concatenate([one.index for one in made.values() if one.index is not None])
    )
    generator = np.random.default_rng(seed)
    drawn = {name: np.empty(resamples) for name in PARTS}
    for i in range(resamples):
        weight = np.bincount(generator.integers(0, len(images), len(images)), minlength=len(images))
        for name, one in made.items():
            drawn[name][i] = one.resampled(images, weight, generator)
    drawn = {name: one.spread_as_known(drawn[name], level) for name, one in made.items()}
    parts = tuple(
        ScoredPart(
            name,
            one.interval(drawn[name], level),
            *one.means(),
            n=len(one.measured),
            below=one.value() < 0,
        )
        for name, one in made.items()
    )
    total = float(np.mean([part.value.value for part in parts]))
    if not np.isfinite(total) or not all(one.enough for one in made.values()):
        return MonitorabilityScore(without_ends(total), parts)
    # A resample in which one part is undefined says nothing about the score.
    means = np.mean([np.clip(values, 0, 1) for values in drawn.values()], axis=0)
    return MonitorabilityScore(normal_interval(total, means, level), parts)


def _check(evidence: Mapping[str, Evidence | FailureEvidence]) -> None:
    if missing := [name for name in PARTS if name not in evidence]:
        raise UserError(
            f"Expected evidence for every part of the score, but {', '.join(missing)} is missing: "
            "a mean of other parts would not be comparable."
        )
