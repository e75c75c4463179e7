"""What a family of probes is: its probes by name, and how its results are read.

A new family is a folder whose `__init__` makes a `Family`, and a line in `FAMILIES`
(`callbacks/__init__.py`). The pipelines loop over families and know none of them by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from callbacks.budget import Budget
from callbacks.probe import Probe
from callbacks.results import ProbeResult
from callbacks.statistics import Interval
from datamodules.image_datamodule import ImageDataModule


class Entry:
    """A line in a family's table of probes: the class, and the options that make it this probe.

    Args:
        probe: the class, made by its `within`.
        **options: of `within`, e.g. `attack=PGD, norm="l2"`.
    """

    def __init__(self, probe: type[Probe], **options: Any) -> None:
        self.probe, self.options = probe, options

    def __call__(self, budget: Budget) -> Probe:
        """Makes the probe with a preset's budget."""
        return self.probe.within(budget, **self.options)

    @property
    def description(self) -> str:
        """One line: the first of the docstring of what it does, and the options that differ."""
        classes = [made_of(value) for value in self.options.values() if made_of(value)]
        told = {name: v for name, v in self.options.items() if not made_of(v)}
        for value in self.options.values():
            told |= getattr(value, "keywords", {})
        options = ", ".join(f"{name} {value}" for name, value in told.items())
        doc = ([*classes, self.probe][0].__doc__ or "").strip().partition("\n")[0]
        return f"{doc} ({options})" if options else doc


def made_of(value: Any) -> type | None:
    """The class that an option is or, as a `partial`, makes; None where it is neither."""
    value = getattr(value, "func", value)
    return value if isinstance(value, type) else None


Entries = dict[str, Entry]
"""A family's probes by name."""


def each(table: Mapping[str, Any], probe: type[Probe], option: str, prefix: str = "") -> Entries:
    """Makes an entry of every algorithm of a table, such as a probe for every damage.

    Args:
        table: algorithms by name.
        probe: the class of all entries.
        option: of `probe.within`, which takes the algorithm.
        prefix: before the names.
    """
    return {f"{prefix}{name}": Entry(probe, **{option: kind}) for name, kind in table.items()}


class Number(NamedTuple):
    """A number that stands for many rows: a card of the page, a `summary/` metric.

    Args:
        title: over it.
        interval: the value with its ends.
        unit: "%" shows a share in per cent.
        note: what it is of, in a few words.
        conditions: what was asked; two models' numbers stand side by side where this is equal.
        card: shown at the top of the page, not only logged.
    """

    title: str
    interval: Interval
    unit: str = ""
    note: str = ""
    conditions: str = ""
    card: bool = True


@dataclass(frozen=True)
class Curve:
    """A line of a figure over severity.

    Args:
        label: in the legend.
        unit: of the severity.
        table: columns `value acc acc_low acc_high worst_loss ...`, one line a severity.
        start: mean `correct` and `loss` at severity 0 on the same samples, where it is known.
        aggregate: drawn behind the others, because it is made of them.
        draws: tables `value acc ...` of the single random draws that the curve is the mean of.
        places: names of severities that are places, see `ProbeResult`.
        stairs: the number is known everywhere and changes at the severities of the table alone.
    """

    label: str
    unit: str
    table: pd.DataFrame = field(repr=False)
    start: Mapping[str, float] = field(default_factory=dict)
    aggregate: bool = False
    draws: Sequence[pd.DataFrame] = field(default=(), repr=False)
    places: Mapping[str, str] = field(default_factory=dict)
    stairs: bool = False


@dataclass(frozen=True)
class Summary:
    """What the results of a family amount to.

    Args:
        numbers: by the name of their `summary/` metric.
        sentences: that need no background.
        curves: besides one for each probe; one with a probe's title as its label replaces that.
        tables: lines for the table of all numbers, by title, as `by_setting` makes them.
        figures: besides the curves, by name.
        answers: rows whose answers are shown class by class, by title, as those of clean images.
        front: names of the numbers that stand for the family against another, point by point.
    """

    numbers: Mapping[str, Number] = field(default_factory=dict)
    sentences: Sequence[str] = ()
    curves: Sequence[Curve] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    answers: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    front: Sequence[str] = ()


Summarise = Callable[[Sequence[ProbeResult], ProbeResult | None], Summary]
"""From the results of a family, and the clean images if they were measured."""


def _nothing_more(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    return Summary()


Companions = Callable[[Sequence[Probe], Budget], list[Probe]]
"""From the probes of a run and its budget, what must stand beside them to be believed."""


def _no_companions(probes: Sequence[Probe], budget: Budget) -> list[Probe]:
    return []


Brought = Callable[[ImageDataModule, Budget], list[Probe]]
"""From the data set of a run and its budget, what measures the disturbed images it brings."""


def _nothing_brought(data: ImageDataModule, budget: Budget) -> list[Probe]:
    return []


@dataclass(frozen=True)
class Family:
    """A family of probes.

    Args:
        name: of its folder, and prefix of its metric keys.
        title: over its section of the page.
        text: under the title: what its curves and numbers are.
        probes: by name.
        summarise: makes headline numbers, sentences and further curves of results.
        terms: what a reader may not know, by the heading of a column.
        headings: of columns of its own, where the column's name says too little.
        presets: names of its probes that belong to `quick`, `regular` and `full`.
        companions: probes that are measured beside others without being named.
        brought: probes of the disturbed images that a data set brings with it.
    """

    name: str
    title: str
    text: str
    probes: Entries
    summarise: Summarise = _nothing_more
    terms: Mapping[str, str] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)
    presets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    companions: Companions = _no_companions
    brought: Brought = _nothing_brought

    def heading(self, column: str) -> str:
        """What stands over a column: of `srg_random` the heading of `srg`, then `random`."""
        for name, said in self.headings.items():
            if column == name or column.startswith(f"{name}_"):
                return f"{said} {column[len(name) + 1 :]}".strip().replace("_", " ")
        return column.replace("_", " ")
