"""What is said of gradient masking beside a robust accuracy: a note, a number and sentences."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from callbacks.adversarial.attack_set import AttackSet
from callbacks.adversarial.masking.verdict import Reason, broken_at_headline, masking_verdict
from callbacks.family import Number
from callbacks.results import ProbeResult
from callbacks.statistics import NOTHING, rate
from callbacks.words import percent, radius

NOT_LOOKED_FOR = "gradient masking was not looked for"
_NO_GRADIENT = "no attack followed a gradient, so none could be masked"
_LEAST = 3
"""Images broken here that PGD from another start may have found as well: fewer are not called."""


@dataclass(frozen=True)
class Beside:
    """The verdict beside the attacks of one norm.

    Args:
        attacks: whose robust accuracy it stands beside.
        result: of the `MaskingProbe` of that norm; None where it was turned off.
    """

    attacks: AttackSet
    result: ProbeResult | None

    @classmethod
    def of(cls, attacks: AttackSet, results: Sequence[ProbeResult]) -> "Beside":
        """Finds the result that looked for masking in the norm of the attacks."""
        name = f"masking_{attacks.norm}"
        found = [one for one in results if is_masking(one) and one.name == name and len(one.rows)]
        return cls(attacks, found[0] if found else None)

    @property
    def rows(self) -> pd.DataFrame:
        """Of the checks; empty where there are none."""
        return pd.DataFrame() if self.result is None else self.result.rows

    @cached_property
    def reasons(self) -> list[Reason]:
        """See `masking_verdict`; signs in gradients mean nothing to attacks that follow none."""
        found = masking_verdict(self.rows)
        if self.follows_gradients:
            return found
        return [reason for reason in found if reason.name == "random_answers"]

    @cached_property
    def follows_gradients(self) -> bool:
        """Whether any of the attacks asked the model for a gradient, be it while it learnt."""
        tables = [one.rows for one in self.attacks.results]
        return any("learning_gradients" in rows or (rows["backwards"] > 0).any() for rows in tables)

    @property
    def images(self) -> int:
        """That the model gets right undisturbed."""
        return int(self.rows.loc[self.rows["clean_correct"] == 1, "index"].nunique())

    @cached_property
    def left(self) -> pd.Series:
        """Whether a check broke each image that the attacks leave right at the same radius."""
        value = float(self.rows["headline"].iloc[0])
        at = self.attacks.at_headline
        if not math.isclose(value, self.attacks.radius):
            return pd.Series(dtype=bool)
        left = at.loc[at["correct"] == 1, "index"]
        broken = broken_at_headline(self.rows)
        return broken.loc[broken.index.isin(left)]

    @property
    def missed(self) -> int:
        """Images that the attacks leave right and a check breaks."""
        return int(self.left.sum())

    @property
    def note(self) -> str:
        """Beside the robust accuracy, in a few words."""
        if self.result is None:
            return NOT_LOOKED_FOR if self.follows_gradients else _NO_GRADIENT
        if not self.images:
            return "gradient masking unknown: no image of its check is right undisturbed"
        high = f"too high: {self._missed()}" if self.missed >= _LEAST else ""
        if self.reasons:
            return f"gradient masking ({self._names()}){f', {high}' if high else ''}"
        none = f"no sign of gradient masking on {self.images:,} images"
        if not self.follows_gradients:
            none = _NO_GRADIENT
        return f"{none}{f', yet {high}' if high else ''}"

    def _names(self) -> str:
        return ", ".join(reason.name for reason in self.reasons)

    def _missed(self) -> str:
        return f"{self.missed:,} of {len(self.left):,} images left right fall to other attacks"

    def numbers(self, conditions: str) -> dict[str, Number]:
        """By how much the attacks say too much at least, and how many signs there are.

        Args:
            conditions: of the robust accuracy that they stand beside.
        """
        if self.result is None or not self.images:
            return {}
        at = f"{self.attacks.sign} {radius(self.attacks.radius, self.attacks.results[0].unit)}"
        stem, n = f"masking_{self.attacks.norm}", self.rows["index"].nunique()
        signs = NOTHING._replace(value=float(len(self.reasons)))
        asked = f"{self.result.algorithm}; {conditions}"
        return {
            f"{stem}_overstated": Number(
                f"Overstated at {at} by", rate(self.missed, n), "%",
                f"at least, on {n:,} images; {self.note}", asked,
            ),
            f"{stem}_signs": Number(
                f"Signs of gradient masking at {at}", signs, "", self.note, asked, False
            ),
        }  # fmt: skip

    def sentences(self, spent: float) -> Iterator[str]:
        """The verdict with its reasons, what the attacks missed, and what it cost.

        Args:
            spent: passes of all attacks of the run.
        """
        unit = self.attacks.results[0].unit
        at = f"{self.attacks.sign} {radius(self.attacks.radius, unit)}"
        if self.result is None and not self.follows_gradients:
            yield f"No attack at {at} followed a gradient, so none could be masked."
            return
        if self.result is None:
            yield (
                f"Gradient masking was not looked for at {at}: whether these attacks saw where to "
                "go is unknown."
            )
            return
        if not self.images:
            yield f"Gradient masking could not be looked for at {at}: no image there is right."
            return
        own = passes([self.result])
        share = percent(own / spent if spent else math.nan, 0)
        cost = f"{own:,.0f} passes, {share} % of those of the attacks"
        if not self.reasons and not self.follows_gradients:
            yield f"No attack at {at} followed a gradient, so none could be masked ({cost})."
        elif not self.reasons:
            yield (
                f"No sign of gradient masking at {at} on {self.images:,} images, by PGD at three "
                f"radii, a scale-free loss, more steps, Square and the whole box ({cost})."
            )
        else:
            yield f"Gradient masking at {at}: {self._names()} ({cost})."
            yield from (reason.sentence for reason in self.reasons)
        yield from self._consequence()

    def _consequence(self) -> Iterator[str]:
        """What it means for the robust accuracy of the attacks."""
        if self.missed >= _LEAST:
            but = "So" if self.reasons else "Yet"
            yield f"{but} the robust accuracy is too high: {self._missed()} at the same radius."
        elif self.missed:
            yield f"{self._missed()} at the same radius."
        elif self.reasons and len(self.left):
            yield (
                f"None of the {len(self.left):,} images that the attacks leave right was broken "
                "here, but what follows the gradient proves nothing about them."
            )
        elif self.reasons:
            yield "The attacks break all of these images all the same, so their number stands."


def is_masking(result: ProbeResult) -> bool:
    """Whether a result is one of `MaskingProbe`, which is no attack of its own."""
    return "zero_margin" in result.rows


def passes(results: Sequence[ProbeResult]) -> float:
    """Forwards, and backwards counted as two."""
    return sum(one.budget["forwards"] + 2 * one.budget["backwards"] for one in results)
