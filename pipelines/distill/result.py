"""What a student keeps of its teacher, against what is had without distillation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.words import NBSP
from pipelines.distill.comparison import ModelComparison
from pipelines.distill.footprint import Footprint
from pipelines.distill.headline import headline_of, metrics_of
from pipelines.distill.model import MeasuredModel
from pipelines.distill.sections import sections_of, trial_sections
from pipelines.distill.sentences import sentences_of
from pipelines.distill.side_by_side import compared, in_both
from pipelines.evaluate.answers import answer_sections
from pipelines.evaluate.comparison import same_images
from pipelines.evaluate.result import Evaluation
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section
from pipelines.study import slug


@dataclass(frozen=True)
class DistillationResult:
    """A teacher, its students and the controls on the same test images.

    Args:
        about: models (the first student, then the teachers), data and circumstances.
        models: all that were measured; the teacher first.
        settings: recipe, seeds, controls: the run's parameters.
        failed: what went wrong with models that could not be trained, by their title.
        trials: of an automatic distillation: a line for each recipe that was tried.
    """

    room: ClassVar[str] = "distill"
    about: About
    models: Sequence[MeasuredModel]
    settings: Mapping[str, Any]
    failed: Mapping[str, str] = field(default_factory=dict)
    trials: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def title(self) -> str:
        """`lenet from lenet_wide by kd on MNIST`."""
        own, its = (str(m["architecture"]).rpartition(":")[2] for m in self.about.models[:2])
        data, loss = self.about.dataset, self.settings["distillation.loss"]
        return f"{own} from {its} by {loss} on {data.get('title', data['name'])}"

    @cached_property
    def comparison(self) -> ModelComparison:
        """The models and their numbers."""
        return ModelComparison(self.models)

    def headline(self) -> dict[str, Number]:
        """The student's numbers and the teacher's accuracy."""
        return headline_of(self.comparison)

    def sentences(self) -> list[str]:
        """What the numbers mean."""
        return [text.replace(" %", f"{NBSP}%") for text in sentences_of(self.comparison)]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`models`, a line for each name, `paired`, student against teacher, and `trials`."""
        paired = {"paired": self.comparison.paired} if len(self.comparison.paired) else {}
        trials = {"trials": self.trials} if len(self.trials) else {}
        return {"models": self.comparison.table, **paired, **trials}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Accuracy against size, also under attack."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """Numbers of all models, accuracy by seed, and the student's curves."""
        return metrics_of(self.comparison)

    def parameters(self) -> dict[str, Any]:
        """Recipe, seeds and controls."""
        return dict(self.settings)

    def beside(
        self, other: "DistillationResult"
    ) -> tuple["DistillationResult", "DistillationResult", list[Section]]:
        """Both with the models that both have, and their paired differences."""
        models, others, notes = in_both(self.models, other.models)
        one, two = replace(self, models=models), replace(other, models=others)
        title = f"{other.title} against {self.title}"
        if same_images(self.about.dataset, other.about.dataset):
            return one, two, [compared(title, one.comparison, two.comparison, notes)]
        notes = ["They were measured on other images, so no test can pair them.", *notes]
        return one, two, [Section(title, notes=notes)]

    def parts(self) -> Parts:
        """Facts and rows of every model, and those of its evaluation."""
        facts: list[dict[str, Any]] = []
        rows = {"trials": self.trials} if len(self.trials) else {}
        for model in self.models:
            own = asdict(replace(model, rows=pd.DataFrame(), evaluation=None))
            facts.append({k: v for k, v in own.items() if k not in ("rows", "evaluation")})
            rows[slug(model.title)] = model.rows
            if model.evaluation is not None:  # every number is a reduction of rows
                parts = model.evaluation.parts()
                about = replace(model.evaluation.about, examples={}).as_dict()
                facts[-1]["evaluation"] = {"about": about, **parts.facts}
                rows |= {f"{slug(model.title)}.{k}": v for k, v in parts.rows.items()}
        return Parts({"models": facts, "settings": self.settings, "failed": self.failed}, rows)

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "DistillationResult":
        """The inverse of `parts`."""
        models = [_model(facts, parts.rows) for facts in parts.facts["models"]]
        trials = parts.rows.get("trials", pd.DataFrame())
        return cls(about, models, parts.facts["settings"], parts.facts["failed"], trials)

    def to_frame(self) -> pd.DataFrame:
        """A line for each name, with intervals."""
        return self.comparison.table

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        own = sections_of(self.comparison, self.failed, self.title)
        tried = trial_sections(self.trials) if len(self.trials) else []
        return [*own, *tried, *self._answers, *image_sections(self.about)]

    @property
    def _answers(self) -> list[Section]:
        """Confusion and reliability of the first student."""
        evaluation = self.comparison.named("student")[0].evaluation
        clean = evaluation.result("clean") if evaluation else None
        if evaluation is None or clean is None:
            return []
        sections = answer_sections(clean, [clean], evaluation.classes, {})
        return [replace(section, title="The student by class") for section in sections]


RESULT = DistillationResult


def _model(facts: Mapping[str, Any], rows: Mapping[str, pd.DataFrame]) -> MeasuredModel:
    """A model as `parts` took it apart."""
    given = dict(facts)
    measured, evaluation = given.pop("evaluation", None), None
    taken = {k: v for k, v in given.pop("footprint").items() if v is not None}  # a time not taken
    model = MeasuredModel(**given, rows=pd.DataFrame(), footprint=Footprint(**taken))
    name = slug(model.title)
    if measured is not None:
        probes = [result["name"] for result in measured["results"]]
        parts = Parts(measured, {probe: rows[f"{name}.{probe}"] for probe in probes})
        evaluation = Evaluation.from_parts(About(**measured["about"]), parts)
    return replace(model, rows=rows[name], evaluation=evaluation)
