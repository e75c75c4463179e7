"""What an attack in stages spent, what each stage broke, and what was known after the first two."""

from dataclasses import dataclass

import pandas as pd

from callbacks.family import Number
from callbacks.reductions import accuracy, robustly_correct
from callbacks.results import ProbeResult
from callbacks.statistics import NOTHING
from callbacks.words import percent, with_interval

_EARLY = 2
"""Stages before the early verdict: in published logs they come within 0.02 points of the end."""


@dataclass(frozen=True)
class Certificate:
    """The rows of one attack in stages, at its headline radius.

    Args:
        title: of the attack, e.g. `AutoAttack standard (L∞)`.
        spent: at most on an image, with seed.
        rows: with `stage` (1 for the first; 0 where none broke the image, -1 where the model errs
            undisturbed) and `<stage>_forwards`, `_backwards`, `_seconds`.
    """

    title: str
    spent: str
    rows: pd.DataFrame

    @classmethod
    def of(cls, result: ProbeResult) -> "Certificate | None":
        """Of a result; None where it has no stages."""
        rows = result.at_headline
        return cls(result.title, result.certificate, rows) if "stage" in rows else None

    @property
    def stages(self) -> list[str]:
        """Names of the stages that were run, in their order."""
        ends = "_seconds"
        names = [str(name).removesuffix(ends) for name in self.rows if str(name).endswith(ends)]
        return [name for name in names if name]

    def numbers(self, name: str, conditions: str) -> dict[str, Number]:
        """Headline numbers by key: what it cost, and the early verdict.

        Args:
            name: of the probe.
            conditions: under which two models' numbers can be compared.
        """
        numbers = {
            f"{name}_{cost}": Number(
                f"{cost.capitalize()} of {self.title}",
                NOTHING._replace(value=self._total(cost, self.stages)),
                "",
                self.spent,
                conditions,
                card=False,
            )
            for cost in ("forwards", "backwards", "seconds")
        }
        if len(self.stages) > _EARLY:
            numbers[f"{name}_early_acc"] = Number(
                f"Early verdict of {self.title}",
                accuracy(self.early),
                "%",
                f"after {self._first}, in {percent(self.early_share, 0)} % of the time",
                conditions,
            )
        return numbers

    def sentences(self) -> list[str]:
        """The certificate, and what the first two stages said."""
        n = len(self.rows)
        counts = [
            f"{_spelt(name)} broke {int((self.rows['stage'] == number).sum()):,}"
            for number, name in enumerate(self.stages, 1)
        ]
        forwards, backwards = (self._total(cost, self.stages) for cost in ("forwards", "backwards"))
        said = [
            f"{self.title} spent {forwards:,.0f} forwards and {backwards:,.0f} backwards on "
            f"{n:,} images ({self.spent}): {', '.join(counts)}."
        ]
        if len(self.stages) > _EARLY:
            share = accuracy(self.early)
            said.append(
                f"Its early verdict, after {self._first} and {percent(self.early_share, 0)} % of "
                f"the time, was {percent(share.value)} % right ({with_interval(share)})."
            )
        return said

    @property
    def early(self) -> pd.DataFrame:
        """The rows as they stood after the first two stages."""
        later = self.rows["stage"] > _EARLY
        return self.rows.assign(correct=robustly_correct(self.rows).mask(later, 1))

    @property
    def early_share(self) -> float:
        """The first two stages' part of the time, in [0, 1]; NaN where nothing took any."""
        whole = self._total("seconds", self.stages)
        return self._total("seconds", self.stages[:_EARLY]) / whole if whole else float("nan")

    @property
    def _first(self) -> str:
        return " and ".join(map(_spelt, self.stages[:_EARLY]))

    def _total(self, cost: str, stages: list[str]) -> float:
        """Over all images; -1 stands for images that were not attacked."""
        return float(sum(self.rows[f"{name}_{cost}"].clip(lower=0).sum() for name in stages))


def _spelt(name: str) -> str:
    """`APGD-T` of `apgd_t`."""
    return "Square" if name == "square" else name.upper().replace("_", "-")
