"""What a recovery is: the rows of all repairs, and what they amount to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.damage.kind import steps
from callbacks.family import Number
from callbacks.results import records
from callbacks.words import NBSP
from pipelines.evaluate.comparison import same_images
from pipelines.recover.advice import recommended
from pipelines.recover.damages import title_of, unit_of
from pipelines.recover.headline import headline, sentences, silent_error_headline
from pipelines.recover.predicted import (
    predictor_headline,
    predictor_section,
    predictor_sentences,
)
from pipelines.recover.predictor import errors
from pipelines.recover.sections import (
    brief_sheets,
    comparison_section,
    control_section,
    damage_sections,
    recommended_section,
    silent_error_section,
)
from pipelines.recover.table import (
    damages_of,
    differences,
    shared_rows,
    summarised,
)
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section
from pipelines.study import slug

_CONDITIONS = ("effort", "stored_in", "layers", "limit", "spoil")
"""Settings that two models must share for their repairs to be comparable."""
_ADVICE = [
    "subject", "damage", "severity", "acc", "loss", "loss_low", "loss_high",
    "ratio", "ratio_low", "ratio_high", "strategy",
    "rival", "gain", "gain_low", "gain_high", "why",
]  # fmt: skip
_ON_DISK = {"rows": "repairs"}
"""What a table of rows is called there, if not by its argument."""


@dataclass(frozen=True)
class Recoverability:
    """What came back of damaged models, and at what cost.

    Args:
        about: models, data and circumstances, both in the order of `settings`.
        rows: one a draw, severity, strategy, recipe and training, controls included.
        settings: what was asked of each model, by its label.
        silent_errors: rates of silent errors, a line a damage and severity; mostly none.
        atlas: its name, if it is one.
        features: of the damaged models, before any repair; of an atlas.
        predicted: what these tell of the repairs of kinds of damage not learnt from.
        answers: of original, damaged and repaired model to every test image, by repair.
    """

    room: ClassVar[str] = "recover"
    about: About
    rows: pd.DataFrame
    settings: Mapping[str, Mapping[str, Any]]
    silent_errors: pd.DataFrame = field(default_factory=pd.DataFrame)
    atlas: str = ""
    features: pd.DataFrame = field(default_factory=pd.DataFrame)
    predicted: pd.DataFrame = field(default_factory=pd.DataFrame)
    answers: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def title(self) -> str:
        """`lenet on Digits after weights set to zero`."""
        damages = dict.fromkeys(damages_of(self.rows)["damage"])
        what = f"Atlas of recovery, {self.atlas}: " if self.atlas else ""
        after = (
            "" if self.atlas else f" after {', '.join(title_of(name).lower() for name in damages)}"
        )
        return f"{what}{', '.join(name.replace('/', ' on ', 1) for name in self.subjects)}{after}"

    @cached_property
    def subjects(self) -> list[str]:
        """Labels of the models that were measured."""
        return list(dict.fromkeys(self.rows["subject"]))

    @cached_property
    def lines(self) -> pd.DataFrame:
        """One line a model, damage, severity, strategy and recipe, with intervals over draws."""
        return summarised(self.rows)

    @cached_property
    def advice(self) -> list[dict[str, Any]]:
        """Of each model, damage and severity the line of the repair to take, and why."""
        return recommended(self.rows, self.lines)

    def of(self, subject: str) -> "Recoverability":
        """The part of one model."""
        place = list(self.settings).index(subject)
        models, data = self.about.models[place], self.about.data[place]
        tables: dict[str, Any] = {
            name: pd.DataFrame(table[table["subject"] == subject]) if len(table) else table
            for name, table in self._tables.items()
        }
        about = replace(self.about, models=[models], data=[data])
        settings = {subject: self.settings[subject]}
        return Recoverability(about, settings=settings, **tables)

    def headline(self) -> dict[str, Number]:
        """Accuracy before, damaged and repaired, what came back, and the time; of each model."""
        if len(self.settings) > 1:
            return {
                f"{slug(subject)}_{name}": number._replace(title=f"{number.title}: {subject}")
                for subject in self.subjects
                for name, number in self.of(subject).headline().items()
            }
        (settings,) = self.settings.values()
        conditions = " ".join(str(settings.get(name)) for name in _CONDITIONS)
        numbers = headline(self.rows, self.lines, self.advice, conditions)
        more = predictor_headline(self.predicted)
        return numbers | silent_error_headline(self.silent_errors) | more

    def sentences(self) -> list[str]:
        """What the numbers mean."""
        if len(self.settings) > 1:
            return [f"{s}: {told}" for s in self.subjects for told in self.of(s).sentences()]
        told = [
            *sentences(self.lines, self.advice),
            *predictor_sentences(self.predicted, self.features),
        ]
        return [sentence.replace(" %", f"{NBSP}%") for sentence in told]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`recovery` and `recommendations`, `silent_errors` and `prediction` where there are."""
        advice = pd.DataFrame(self.advice, columns=_ADVICE)
        more = {} if self.silent_errors.empty else {"silent_errors": self.silent_errors}
        more |= {} if self.predicted.empty else {"prediction": errors(self.predicted)}
        return {"recovery": self.lines, "recommendations": advice, **more}

    def metrics(self) -> list[Metric]:
        """Accuracies and ratios over severity, one curve a damage, strategy and recipe."""
        names = (
            "acc", "acc_low", "acc_high", "ratio", "loss", "negative_flips", "positive_flips",
        )  # fmt: skip
        rates = ("sdc", "sdc_low", "sdc_high", "injections")
        recipes = self.lines.groupby("strategy")["optimizer"].nunique()
        metrics: list[Metric] = []
        for line in records(self.lines):
            recipe = f"_{slug(line['optimizer'])}" if recipes[line["strategy"]] > 1 else ""
            metrics += self._points(line, f"_{line['strategy']}{recipe}", names)
        for line in records(self.silent_errors):
            metrics += self._points(line, "", rates)
        return [metric for metric in metrics if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """What was asked."""
        if len(self.settings) > 1:  # of an atlas its name says it all
            return {"atlas": self.atlas}
        (settings,) = self.settings.values()
        return {**settings, **({"atlas": self.atlas} if self.atlas else {})}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Maps, and curves over severity and training steps."""
        return figures_of(self._sections)

    def beside(
        self, other: "Recoverability"
    ) -> tuple["Recoverability", "Recoverability", list[Section]]:
        """Both with the repairs that both were asked for, and their differences draw by draw."""
        mine, its, notes = shared_rows(self.rows, other.rows)
        pairs = list(zip(self.settings.values(), other.settings.values(), strict=False))
        unlike = [x for x in _CONDITIONS if any(a.get(x) != b.get(x) for a, b in pairs)]
        data = zip(self.about.data, other.about.data, strict=False)
        unlike += [] if all(same_images(a, b) for a, b in data) else ["test images"]
        if unlike or damages_of(mine).empty:
            reason = f"Other {' and '.join(unlike)}" if unlike else "No draw of a damage in common"
            notes = [f"{reason}: nothing is compared repair by repair."]
            return self, other, [comparison_section(pd.DataFrame(), notes)]
        section = comparison_section(differences(mine, its), notes)
        return replace(self, rows=mine), replace(other, rows=its), [section]

    def parts(self) -> Parts:
        """The rows, and what was asked."""
        rows = {_ON_DISK.get(name, name): table for name, table in self._tables.items()}
        return Parts({"settings": self.settings, "atlas": self.atlas}, rows)

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Recoverability":
        """The inverse of `parts`."""
        names = {file: name for name, file in _ON_DISK.items()}
        tables: dict[str, Any] = {
            names.get(file, file): table for file, table in parts.rows.items()
        }
        return cls(about, **parts.facts, **tables)

    def to_frame(self) -> pd.DataFrame:
        """One line a damage, severity and repair, with intervals."""
        return self.lines

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @property
    def _tables(self) -> dict[str, Any]:
        """All tables of rows, by the name of their argument."""
        return {
            "rows": self.rows, "silent_errors": self.silent_errors, "features": self.features,
            "predicted": self.predicted, "answers": self.answers,
        }  # fmt: skip

    @cached_property
    def _sections(self) -> list[Section]:
        injected = [] if self.silent_errors.empty else [silent_error_section(self.silent_errors)]
        return [
            Section("", sheets=list(brief_sheets(self.lines))),
            recommended_section(self.lines, self.advice),
            *injected,
            *damage_sections(self.rows, self.lines, self.advice),
            *([] if self.predicted.empty else [predictor_section(self.predicted, self.features)]),
            control_section(self.lines),
            *image_sections(self.about),
        ]

    def _points(self, line: Mapping[str, Any], suffix: str, names: Sequence[str]) -> list[Metric]:
        """Numbers of a line at the step of its severity."""
        damage = line["damage"]
        grid = sorted(set(self.rows.loc[self.rows["damage"] == damage, "severity"]))
        step = dict(zip(grid, steps(grid, unit_of(damage)), strict=True))[line["severity"]]
        stem = f"recovery/{self._prefix(line['subject'])}{damage}{suffix}"
        return [(f"{stem}_{name}", float(line[name]), step) for name in names]

    def _prefix(self, subject: str) -> str:
        """Before names, where there are several models."""
        return f"{slug(subject)}_" if len(self.settings) > 1 else ""


RESULT = Recoverability
