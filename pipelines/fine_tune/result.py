"""What a sweep is: the front of clean and robust accuracy, and the value that is taken."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.statistics import Interval, paired_difference
from callbacks.words import NBSP, rate_with_ends
from pipelines.evaluate.comparison import same_images
from pipelines.fine_tune.figures import front_figure
from pipelines.fine_tune.front import Choice, Point, chosen, in_front
from pipelines.report.about import About
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section, Sheet, change_cell, rate_cell

_COLUMNS = ("clean", "robust")


@dataclass(frozen=True)
class SweepResult:
    """Trainings with several values of one weight, on the same validation images.

    Args:
        about: the model that was taken, the validation images and circumstances.
        option: the weight, e.g. `robust.beta`.
        ball: what robust accuracy is about, e.g. `PGD-20, L∞ 0.3`.
        points: in the order of their values.
        settings: the run's parameters.
        failed: why values are left out, by title.
        test: accuracies on test images of the value that was taken: name and interval.
    """

    room: ClassVar[str] = "fine_tune"
    about: About
    option: str
    ball: str
    points: Sequence[Point]
    settings: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    test: Sequence[tuple[str, Sequence[float]]] = ()

    @property
    def title(self) -> str:
        """`robust.beta of lenet on MNIST`."""
        data = self.about.dataset
        return f"{self.option} of {self.about.model['name']} on {data.get('title', data['name'])}"

    @cached_property
    def choice(self) -> Choice:
        """The value that is taken."""
        return chosen(self.points)

    @property
    def taken(self) -> Point:
        """What the value that is taken reaches."""
        return next(point for point in self.points if point.value == self.choice.value)

    def headline(self) -> dict[str, Number]:
        """Both accuracies of the value that is taken, on the images that chose it."""
        index = zlib.crc32(self.taken.rows["index"].to_numpy("int64").tobytes())
        note = f"{self.option} {self.choice.value:g}, {len(self.taken.rows):,} validation images"
        asked = f"images {index:08x}, {self.ball}"
        numbers = {
            f"chosen_{name}_acc": Number(
                f"{name.capitalize()} accuracy", self.taken.of(name), "%", note, asked
            )
            for name in _COLUMNS
        }
        value = Interval(self.choice.value, math.nan, math.nan)
        return {**numbers, "chosen_lambda": Number(self.option, value, note="chosen", card=False)}

    def sentences(self) -> list[str]:
        """Which value is taken, why, and what that costs."""
        clean, robust = (rate_with_ends(self.taken.of(name)) for name in _COLUMNS)
        said = [
            f"Chosen: {self.option} {self.choice.value:g}, {clean} % right undisturbed and "
            f"{robust} % under {self.ball} ({len(self.taken.rows):,} validation images). "
            f"{self._reason}"
        ]
        if self.test:
            told = "; ".join(f"{name} {rate_with_ends(Interval(*i))} %" for name, i in self.test)
            said.append(f"On test images, which chose nothing: {told}.")
        said += [f"{title} is left out: {problem}" for title, problem in self.failed.items()]
        return [sentence.replace(" %", f"{NBSP}%") for sentence in said]

    @property
    def _reason(self) -> str:
        """Why the value is taken."""
        if len(self.points) == 1:
            return "There was no other."
        alike = [value for value in self.choice.as_robust if value != self.choice.most_robust]
        if not alike:
            return "It is the most robust, and no other is as robust within the noise."
        others = ", ".join(f"{value:g}" for value in alike)
        return (
            f"It is the most accurate of those that are as robust as the best within the noise: "
            f"{self.choice.most_robust:g}, the most robust, and {others} (paired 95 % interval)."
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """`front`: a line for each value."""
        lines = [
            {
                "lambda": f"{point.value:g}",
                "value": point.value,
                **{k: v for name in _COLUMNS for k, v in point.of(name).columns(name).items()},
                "in_front": front,
                "chosen": point.value == self.choice.value,
                "n": len(point.rows),
            }
            for point, front in zip(self.points, in_front(self.points), strict=True)
        ]
        return {"front": pd.DataFrame(lines)}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """The front."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """Both accuracies of every value, by its place in the sweep; `front` names the values."""
        return [
            (f"sweep/{name}_acc{end}", number, place)
            for place, point in enumerate(self.points)
            for name in _COLUMNS
            for end, number in zip(("", "_low", "_high"), point.of(name), strict=True)
            if math.isfinite(number)
        ]

    def parameters(self) -> dict[str, Any]:
        """What was swept and taken, and the recipe."""
        values = [point.value for point in self.points]
        return {
            "sweep.of": self.option,
            "sweep.lambdas": values,
            "sweep.chosen": self.choice.value,
            **self.settings,
        }

    def beside(self, other: "SweepResult") -> tuple["SweepResult", "SweepResult", list[Section]]:
        """Both with the values that both have, and their paired differences."""
        shared = {point.value for point in self.points} & {point.value for point in other.points}
        one, two = (
            replace(side, points=[p for p in side.points if p.value in shared])
            for side in (self, other)
        )
        title = f"{other.title} against {self.title}"
        if not shared or not same_images(self.about.dataset, other.about.dataset):
            note = "They have no value, or not the same images, in common: no test can pair them."
            return self, other, [Section(title, notes=[note])]
        lines = [
            [f"{a.value:g}", *(change_cell(_gain(a, b, name)) for name in _COLUMNS)]
            for a, b in zip(one.points, two.points, strict=True)
        ]
        sheet = Sheet(("value", *(f"{name}, points" for name in _COLUMNS)), lines)
        return one, two, [Section(title, "Points that the second has more.", sheets=[sheet])]

    def parts(self) -> Parts:
        """Facts, and the rows of all values in one table."""
        names = ("option", "ball", "settings", "failed", "test")
        rows = [point.rows.assign(value=point.value) for point in self.points]
        facts = {name: getattr(self, name) for name in names}
        return Parts(
            {**facts, "values": [point.value for point in self.points]},
            {"validation": pd.concat(rows, ignore_index=True)},
        )

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "SweepResult":
        """The inverse of `parts`."""
        facts, every = dict(parts.facts), parts.rows["validation"]
        points = [
            Point(
                value,
                every.loc[every["value"] == value].drop(columns="value").reset_index(drop=True),
            )
            for value in facts.pop("values")
        ]
        facts["test"] = [(name, interval) for name, interval in facts["test"]]
        return cls(about, points=points, **facts)

    def to_frame(self) -> pd.DataFrame:
        """A line for each value, with intervals."""
        return self.tables()["front"]

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        lines = [
            [
                f"{point.value:g}{' (chosen)' if point.value == self.choice.value else ''}",
                *(rate_cell(*point.of(name)) for name in _COLUMNS),
                "yes" if front else "no",
            ]
            for point, front in zip(self.points, in_front(self.points), strict=True)
        ]
        columns = (self.option, "clean %", f"robust %, {self.ball}", "in front")
        caption = "in brackets: 95 % interval over validation images"
        sheet = Sheet(columns, lines, caption=caption, in_terminal=True)
        figure = front_figure(self.points, self.option, self.ball, self.choice.value)
        text = "What the weight buys in robust accuracy, and what that costs in clean accuracy."
        return [Section("Clean and robust accuracy", text, {"front": figure}, sheets=[sheet])]


RESULT = SweepResult


def _gain(one: Point, other: Point, column: str) -> Interval:
    """What the second has more, over the images that both were measured on."""
    both = one.rows.merge(other.rows, on="index", suffixes=("", "_other"))
    return paired_difference(both[column], both[f"{column}_other"])
