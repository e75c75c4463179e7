"""What an assessment is: the results of its questions, each as its own command made it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.words import duration
from pipelines.assess.part import AssessedPart
from pipelines.assess.questions import QUESTIONS
from pipelines.assess.untested import untested_section
from pipelines.assess.verdict import (
    headline,
    profile_figure,
    profile_sheet,
    profile_table,
    sentences,
)
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, Result, figures_of, kind_of, with_nan
from pipelines.report.sections import Section, Sheet


@dataclass(frozen=True)
class Assessment:
    """One model under all five questions, or those that were answered so far.

    Args:
        about: model, data and circumstances.
        answers: results by question.
        asked: how far each question has come.
        preset: its name.
        settings: what the preset asks of each question, in words.
    """

    room: ClassVar[str] = "assess"
    about: About
    answers: Mapping[str, Result]
    asked: Sequence[AssessedPart]
    preset: str
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def title(self) -> str:
        """`lenet on Digits, assessed`."""
        data = self.about.dataset
        return f"{self.about.model['name']} on {data.get('title', data['name'])}, assessed"

    @property
    def failed(self) -> list[AssessedPart]:
        """Questions that went wrong."""
        return [part for part in self.asked if part.status == "failed"]

    @property
    def by_question(self) -> dict[str, Result]:
        """The results by their room, as `assay compare` pairs them."""
        return {answer.room: answer for answer in self.answers.values()}

    def headline(self) -> dict[str, Number]:
        """The numbers of all questions."""
        return headline(self.answers)

    def sentences(self) -> list[str]:
        """The verdict: one for each question."""
        return [*sentences(self.answers, self.asked)]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`profile`, every number with its interval, and `plan`, predicted and actual seconds."""
        plan = pd.DataFrame([asdict(part) for part in self.asked])
        return {"profile": profile_table(self.answers), "plan": plan}

    def sections(self) -> Sequence[Section]:
        """Of the page: the profile, the questions one after the other, what was not tested."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Of all questions; their names begin with the question's."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """None besides those of the headline: the curves are the children's."""
        return []

    def parameters(self) -> dict[str, Any]:
        """The preset and what it asks."""
        asked = {f"{part.question}.asked": part.settings for part in self.asked}
        return {"preset": self.preset, **asked}

    def beside(self, other: "Assessment") -> tuple["Assessment", "Assessment", list[Section]]:
        """Both with the questions that both answered, each compared as its own command does."""
        both = [question for question in self.answers if question in other.answers]
        mine, its, sections = {}, {}, []
        for question in both:
            one, two, compared = self.answers[question].beside(other.answers[question])
            mine[question], its[question] = one, two
            sections += _named(question, compared)
        return replace(self, answers=mine), replace(other, answers=its), sections

    def parts(self) -> Parts:
        """Those of every answer under the name of its question."""
        parts = Parts({
            "asked": [asdict(part) for part in self.asked], "preset": self.preset,
            "settings": self.settings,
            "answers": {},
        })  # fmt: skip
        for question, answer in self.answers.items():
            own = answer.parts()
            about = replace(answer.about, examples={}).as_dict()  # the children's pages show them
            parts.facts["answers"][question] = {
                "room": answer.room, "about": about, "facts": own.facts, "rows": [*own.rows],
            }  # fmt: skip
            parts.rows |= {f"{question}.{name}": rows for name, rows in own.rows.items()}
            parts.arrays |= {f"{question}/{name}": array for name, array in own.arrays.items()}
        return parts

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Assessment":
        """The inverse of `parts`."""
        facts = parts.facts
        answers = {name: _answer(name, facts["answers"][name], parts) for name in facts["answers"]}
        asked = [
            AssessedPart(**{**part, **with_nan({k: part[k] for k in ("predicted", "seconds")})})
            for part in facts["asked"]
        ]
        return cls(about, answers, asked, facts["preset"], facts["settings"])

    def to_frame(self) -> pd.DataFrame:
        """Every number of every question."""
        return profile_table(self.answers)

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        figure = profile_figure(self.answers)
        profile = Section(
            "Profile",
            "Its data and five abilities, each by the numbers that its own report shows first.",
            figures={"profile": figure} if figure else {}, sheets=[profile_sheet(self.answers)],
        )  # fmt: skip
        told = {name: {**settings} for name, settings in self.settings.items()}
        return [
            profile,
            *(part for name, one in self.answers.items() for part in _told(name, one)),
            untested_section(self.answers, self.asked, told),
            Section("What it took", sheets=[self._took()]),
            *image_sections(self.about),
        ]

    def _took(self) -> Sheet:
        lines = [
            [QUESTIONS[part.question].title, part.settings, part.told, _time(part.predicted),
             _time(part.seconds)]
            for part in self.asked
        ]  # fmt: skip
        return Sheet(("Question", "Asked", "Status", "Predicted", "Took"), lines)


RESULT = Assessment


def _time(seconds: float) -> str:
    return duration(seconds) if seconds == seconds else ""


def _told(question: str, answer: Result) -> list[Section]:
    """A question's verdict and the sections of its own page, but for its pictures of the data."""
    about = QUESTIONS[question]
    notes = [*answer.about.notes]
    first = Section(about.title, " ".join([about.text, *answer.sentences()]), notes=notes)
    shown = {section.title for section in image_sections(answer.about)}
    own = [one for one in answer.sections() if one.title and one.title not in shown]
    return [first, *_named(question, own)]


def _named(question: str, sections: Sequence[Section]) -> list[Section]:
    """Sections under their question's name; only the profile is for the terminal."""
    return [
        replace(
            section,
            title=f"{QUESTIONS[question].title}: {section.title}",
            figures={f"{question}_{k}": v for k, v in section.figures.items()},
            pictures={f"{question}_{k}": v for k, v in section.pictures.items()},
            sheets=[replace(sheet, in_terminal=False) for sheet in section.sheets],
        )
        for section in sections
    ]


def _answer(question: str, kept: Mapping[str, Any], parts: Parts) -> Result:
    """One answer, made again by the room that it came from."""
    rows = {name: parts.rows[f"{question}.{name}"] for name in kept["rows"]}
    arrays = {
        name.partition("/")[2]: array
        for name, array in parts.arrays.items()
        if name.startswith(f"{question}/")
    }
    own = Parts(kept["facts"], rows, arrays)
    return kind_of(kept["room"]).from_parts(About(**kept["about"]), own)
