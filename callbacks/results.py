"""What a probe found: its rows, and the numbers they reduce to."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from callbacks.reductions import by_setting
from callbacks.words import radius
from datamodules.errors import UserError

# A metric key is family/name_number, and MLflow's charts want no further slash.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ProbeResult:
    """The rows of one probe and what they were measured with.

    Args:
        name: of the probe.
        family: its folder, prefix of its metric keys.
        title: for tables and plots.
        unit: of the severity, "none" where there is none.
        algorithm: everything that was done, with all parameters.
        headline: severity whose number stands for the probe, where there is one.
        rows: one line per sample and setting.
        reported: columns of its own whose means are numbers too.
        places: names of severities that are no amounts but places, such as layers, by the text of
            their step.
        certificate: what was spent, where a name stands for a budget.
        pictures: one line an image that was saved, where some were; see `AdversarialPictures`.
        shown: of those some to be looked at, `(n, H, W, C)` uint8 by what they are.
    """

    name: str
    family: str
    title: str
    unit: str
    algorithm: str
    headline: float | None
    rows: pd.DataFrame = field(repr=False)
    reported: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    certificate: str = ""
    pictures: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    shown: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a setting."""
        return by_setting(self.rows, self.reported)

    @cached_property  # asked for a thousand times by one page
    def values(self) -> dict[int, float]:
        """The exact severity of every step that was measured, ascending."""
        pairs = self.rows[["severity", "value"]].drop_duplicates().to_numpy()
        return {int(severity): float(value) for severity, value in sorted(pairs.tolist())}

    @property
    def is_curve(self) -> bool:
        """Whether its numbers are points over a severity."""
        return self.unit != "none" and len(self.rows) > 0

    @property
    def is_list(self) -> bool:
        """Whether its severities are places of no curve: checks of other numbers, told apart."""
        return not self.is_curve and bool(self.places)

    def said(self, value: float) -> str:
        """A severity in words: the place it is, else the number in its unit; nothing at 0."""
        return self.places.get(f"{value:g}") or (radius(value, self.unit) if value else "")

    def at(self, severity: int) -> pd.DataFrame:
        """The rows of one step."""
        return self.rows.loc[self.rows["severity"] == severity]

    @property
    def at_headline(self) -> pd.DataFrame:
        """The rows of the step that stands for the probe; see `headline_step`."""
        return self.at(headline_step(self.values, self.headline)) if len(self.rows) else self.rows

    def line_at(self, severity: int) -> dict[str, Any]:
        """The line of `table` at one step."""
        return records(self.table.loc[self.table["severity"] == severity])[0]

    def cost(self, severity: int, of: str = "forwards") -> float:
        """Forwards or backwards an image took at one step, on average."""
        return float(self.at(severity)[of].to_numpy().mean())

    @property
    def budget(self) -> dict[str, float]:
        """What it cost, added up over the rows, so that resumed runs count in full."""
        return {name: float(self.rows[name].sum()) for name in ("forwards", "backwards", "seconds")}


def headline_step(values: dict[int, float], usual: float | None) -> int:
    """Returns the step whose number stands for a curve: the usual severity, else the largest.

    Never the nearest: a number at another radius must not pass for one at the usual radius.

    Args:
        values: the exact severity of every step.
        usual: the severity the field reports, where there is one.
    """
    same = [step for step, value in values.items() if usual and math.isclose(value, usual)]
    return same[0] if same else max(values)


def check_settings(probe: str, settings: Iterable[tuple[str, int, float]]) -> None:
    """Refuses what could not be logged, before anything is measured.

    Args:
        probe: its name.
        settings: name, step and exact severity of each.

    Raises:
        UserError: a name that is no metric key, or two severities that fall on one step.
    """
    seen: dict[tuple[str, int], float] = {}
    for name, severity, value in settings:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"Expected the name of a probe to be of letters, digits, and _ . - only, but got "
                f"{name!r}: it becomes a part of metric keys."
            )
        other = seen.setdefault((name, severity), value)
        if other != value:
            raise UserError(
                f"The severities {other:g} and {value:g} of {probe!r} both fall on step {severity} "
                "of its curve, which MLflow counts in integers: leave one out."
            )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table, by column name."""
    names = [str(name) for name in table.columns]
    return [dict(zip(names, line, strict=True)) for line in table.itertuples(index=False)]


def unit_sign(unit: str) -> str:
    """The sign of a unit: from `epsilon (L∞)` to `L∞`."""
    return unit.rpartition("(")[2].rstrip(")")


def unit_slug(unit: str) -> str:
    """What a unit is called in keys and file names: from `epsilon (L∞)` to `linf`."""
    return re.sub(r"[^a-z0-9]+", "_", unit_sign(unit).lower().replace("∞", "inf")).strip("_")
