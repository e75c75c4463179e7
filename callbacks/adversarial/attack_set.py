"""The attacks of one threat model together: the worst of them, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from callbacks.reductions import by_setting, worst_up_to
from callbacks.results import ProbeResult, headline_step, unit_sign, unit_slug
from callbacks.worst_case import WorstCase


@dataclass(frozen=True)
class AttackSet:
    """The attacks of one threat model.

    Args:
        norm: as in metric keys: `linf`, `l2`.
        sign: as in tables and plots: `L∞`, `L2`.
        results: at least one, of the adversarial family.
        clean: the undisturbed images, a point of every ball.
    """

    norm: str
    sign: str
    results: Sequence[ProbeResult]
    clean: ProbeResult | None = None

    @cached_property
    def values(self) -> dict[int, float]:
        """The radius of every step that an attack measured, ascending."""
        values: dict[int, float] = {}
        for result in self.results:
            values |= result.values
        return dict(sorted(values.items()))

    @property
    def radius(self) -> float:
        """The radius of the headline numbers."""
        return self.values[self.step]

    @property
    def step(self) -> int:
        """The step of the headline numbers; see `headline_step`."""
        usual = [result.headline for result in self.results if result.headline is not None]
        return headline_step(self.values, usual[0] if usual else None)

    def measured(self, severity: int) -> list[ProbeResult]:
        """The attacks that were run with this radius, or in no ball, so that they tell of any."""
        return [
            result
            for result in self.results
            if severity in result.values or "found_prediction" in result.rows
        ]

    def worst(self, severity: int) -> pd.DataFrame:
        """Point-wise worst rows over attacks with this radius or less, and the image as it is.

        A ball holds every smaller one and its centre, so what broke an image there breaks it here;
        and so does any adversarial point that is as near, see `worst_up_to`.
        """
        rows = self._worst.rows
        return rows.loc[rows["severity"] == severity]

    @property
    def at_headline(self) -> pd.DataFrame:
        """Point-wise worst rows at the headline radius."""
        return self.worst(self.step)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a radius, of the point-wise worst rows."""
        return by_setting(self._worst.rows)

    @property
    def left_out(self) -> int:
        """Images that not every attack has at every radius; they are in no row."""
        return self._worst.left_out

    @cached_property
    def _worst(self) -> WorstCase:
        clean = self.clean.rows if self.clean is not None and len(self.clean.rows) else None
        rows, left_out = worst_up_to([result.rows for result in self.results], clean)
        return WorstCase(rows.assign(setting=f"worst_{self.norm}"), left_out)


def attack_sets(
    results: Sequence[ProbeResult], clean: ProbeResult | None = None
) -> list[AttackSet]:
    """Groups the results of adversarial probes by threat model, in the order of first mention.

    Args:
        results: of the adversarial family.
        clean: the undisturbed images, if they were measured.
    """
    groups: dict[str, list[ProbeResult]] = {}
    for result in results:
        if result.is_curve:
            groups.setdefault(result.unit, []).append(result)
    return [
        AttackSet(unit_slug(unit), unit_sign(unit), members, clean)
        for unit, members in groups.items()
    ]
