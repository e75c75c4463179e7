"""What an evaluation is: the rows of any probes on one model and one data set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks import FAMILIES
from callbacks.family import Curve, Family, Number, Summary
from callbacks.results import ProbeResult, check_settings, records
from callbacks.words import NBSP
from pipelines.evaluate.answers import answer_sections, by_class
from pipelines.evaluate.comparison import common, comparison, same_images
from pipelines.evaluate.front import front_points, front_sections
from pipelines.evaluate.sections import (
    curve_of,
    family_section,
    number_sheets,
)
from pipelines.evaluate.worst_classes import worst_classes
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section, Sheet


@dataclass(frozen=True)
class Evaluation:
    """One model on one data set under any probes.

    Args:
        about: model, data and circumstances.
        results: of the probes.
    """

    room: ClassVar[str] = "evaluate"
    about: About
    results: Sequence[ProbeResult]

    @property
    def title(self) -> str:
        """`lenet on MNIST`."""
        data = self.about.dataset
        return f"{self.about.model['name']} on {data.get('title', data['name'])}"

    @property
    def classes(self) -> list[str]:
        """Names of the model's classes."""
        return [str(name) for name in self.about.model["classes"]]

    def result(self, name: str) -> ProbeResult | None:
        """The probe of that name, if it was measured."""
        return next((result for result in self.results if result.name == name), None)

    @cached_property
    def families(self) -> dict[str, list[ProbeResult]]:
        """Results by family, in the order of the page."""
        order = dict.fromkeys([*FAMILIES, *(result.family for result in self.results)])
        groups = {name: [one for one in self.results if one.family == name] for name in order}
        return {name: results for name, results in groups.items() if results}

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """What the results of each family amount to."""
        clean = self.result("clean")
        return {
            name: family_of(name).summarise(results, clean)
            for name, results in self.families.items()
        }

    def headline(self) -> dict[str, Number]:
        """The headline numbers of all families."""
        return {k: number for one in self.summaries.values() for k, number in one.numbers.items()}

    def sentences(self) -> list[str]:
        """What the numbers mean, family by family."""
        said = [sentence for one in self.summaries.values() for sentence in one.sentences]
        return [sentence.replace(" %", f"{NBSP}%") for sentence in said]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`by_setting` and `by_class`; MLflow compares runs by the first column of a table."""
        tables = [result.table for result in self.results if len(result.rows)]
        tables += [table for one in self.summaries.values() for table in one.tables.values()]
        if not tables:
            return {}
        joined = pd.concat(tables, ignore_index=True)
        pairs = joined[["setting", "value"]].to_numpy()
        names = [f"{setting} {value:.4g}" if value else setting for setting, value in pairs]
        return {"by_setting": joined.assign(setting=names), "by_class": self.by_class("acc")}

    def by_class(self, number: str) -> pd.DataFrame:
        """One line a class, one column a probe at its headline severity; see `by_class`."""
        return by_class(self.results, self.classes, number)

    def metrics(self) -> list[Metric]:
        """The curves of all probes with their exact severities; what is not finite is left out.

        Raises:
            UserError: two settings of a probe fall on one step, or a name is no metric key.
        """
        metrics: list[Metric] = []
        for result in self.results:
            lines = result.table[["setting", "severity", "value"]].itertuples(index=False)
            check_settings(result.name, lines)
            loss = "worst_loss" if "worst_loss" in result.rows else "loss"
            metrics += _points(result.family, result.table, loss, result.reported)
            metrics += self._start(result)
        for name, summary in self.summaries.items():
            for table in summary.tables.values():
                metrics += _points(name, table, "worst_loss")
        return [metric for metric in metrics if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """What every probe did, and spent where its name stands for a budget."""
        done = {f"probe.{result.name}": result.algorithm for result in self.results}
        spent = {f"budget.{one.name}": one.certificate for one in self.results if one.certificate}
        return {**done, **spent}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Curves of every family, reliability, confusion, examples."""
        return figures_of(self._sections)

    def beside(self, other: "Evaluation") -> tuple["Evaluation", "Evaluation", list[Section]]:
        """Both with the probes and settings that both have, and their paired differences."""
        one, two, notes = common(self.results, other.results)
        mine, its = replace(self, results=one), replace(other, results=two)
        same = same_images(self.about.dataset, other.about.dataset)
        first, second = mine.title, its.title
        if first == second:  # numbered as the page numbers them
            first, second = f"{first} (1)", f"{second} (2)"
        sections = comparison(
            (first, mine.curves, one), (second, its.curves, two), same, notes, len(self.classes)
        )
        return mine, its, sections

    @classmethod
    def together(cls, results: Sequence["Evaluation"], names: Sequence[str]) -> list[Section]:
        """All of several in one figure.

        Args:
            results: restricted to what all were asked.
            names: of the models.
        """
        pairs = zip(results, names, strict=True)
        return front_sections([p for one, name in pairs for p in front_points(one.summaries, name)])

    def parts(self) -> Parts:
        """Facts of every probe, and their rows."""
        facts = [{name: getattr(result, name) for name in _RESULT_FACTS} for result in self.results]
        rows = {result.name: result.rows for result in self.results}
        saved = [result.pictures for result in self.results if len(result.pictures)]
        arrays = {
            f"{result.name}/{name}": array
            for result in self.results
            for name, array in result.shown.items()
        }
        if saved:
            rows[_PICTURES] = pd.concat(saved, ignore_index=True)
        return Parts({"results": facts}, rows, arrays)

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Evaluation":
        """The inverse of `parts`."""
        return cls(about, [_loaded(facts, parts) for facts in parts.facts["results"]])

    def to_frame(self) -> pd.DataFrame:
        """One line a setting of every probe, with intervals."""
        return self.tables().get("by_setting", pd.DataFrame())

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def curves(self) -> dict[str, list[Curve]]:
        """Curves over severity by family."""
        return {name: self._curves(name, results) for name, results in self.families.items()}

    def _curves(self, family: str, results: Sequence[ProbeResult]) -> list[Curve]:
        """One a probe, in the family's own form where it has one, and what is made of them."""
        own = {(curve.label, curve.unit): curve for curve in self.summaries[family].curves}
        clean = self.result("clean")
        of_probes = [
            own.pop((one.title, one.unit), None) or curve_of(one, clean)
            for one in results
            if one.is_curve
        ]
        return [*own.values(), *of_probes]

    @cached_property
    def _sections(self) -> list[Section]:
        k, clean = len(self.classes), self.result("clean")
        families = [
            family_section(family_of(name), results, self.curves[name], self.summaries[name], k)
            for name, results in self.families.items()
            if name != "test"  # one number; the answers' section says more
        ]
        brief, whole = number_sheets(self.results, self.summaries, self.title)
        shown = {k: rows for one in self.summaries.values() for k, rows in one.answers.items()}
        answers = answer_sections(clean, self.results, self.classes, shown, [self._worst_classes()])
        numbers = Section("Every number", sheets=[whole])
        return [
            Section("", sheets=[brief]),
            *families,
            *front_sections(front_points(self.summaries)),
            numbers,
            *answers,
            *image_sections(self.about),
        ]

    def _worst_classes(self) -> Sheet:
        titles = {name: family_of(name).title for name in self.families}
        return worst_classes(self.families, self.summaries, titles, self.classes)

    def _start(self, result: ProbeResult) -> list[Metric]:
        """A curve begins at step 0 with the undisturbed images that it has, at severity 0."""
        clean = self.result("clean")
        name = str(result.rows["setting"].iloc[0]) if len(result.rows) else ""
        if clean is None or not result.is_curve or 0 in result.values:
            return []
        rows = clean.rows[clean.rows["index"].isin(result.rows["index"])]
        numbers = {"acc": rows["correct"].mean(), "severity": 0.0}
        return [(f"{result.family}/{name}_{k}", float(v), 0) for k, v in numbers.items()]


RESULT = Evaluation
_PICTURES = "adversarials.saved"
"""Of the table of saved pictures, which no probe is called."""
_RESULT_FACTS = (
    "name",
    "family",
    "title",
    "unit",
    "algorithm",
    "headline",
    "reported",
    "places",
    "certificate",
)


def _loaded(facts: Mapping[str, Any], parts: Parts) -> ProbeResult:
    """One result of what was written, with the pictures of its own."""
    name = facts["name"]
    saved = parts.rows.get(_PICTURES, pd.DataFrame({"probe": []}))
    return ProbeResult(
        **{**facts, "reported": tuple(facts["reported"])},
        rows=parts.rows[name],
        pictures=saved.loc[saved["probe"] == name].reset_index(drop=True),
        shown={
            key.removeprefix(f"{name}/"): array
            for key, array in parts.arrays.items()
            if key.startswith(f"{name}/")
        },
    )


def family_of(name: str) -> Family:
    """The family of that name; of one that is not known here, an empty one under its name."""
    known = FAMILIES.get(name)
    return known or Family(name, name.capitalize(), "", {})


def _points(
    family: str, table: pd.DataFrame, loss: str, reported: Sequence[str] = ()
) -> list[Metric]:
    """The curves of one table; `loss` is the number that stands for the loss."""
    names = ("acc", "acc_low", "acc_high", loss, "ece", *reported)
    points = []
    for line in records(table):
        stem, step = f"{family}/{line['setting']}", int(line["severity"])
        points += [(f"{stem}_{name}", float(line[name]), step) for name in names if name in line]
        if line["value"]:
            points.append((f"{stem}_severity", float(line["value"]), step))
    return points
