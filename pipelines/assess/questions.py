"""The data and the five questions, each with the command that answers it and what that needs."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

from lightning_modules import Classifier
from lightning_modules.black_box import black_box_in
from pipelines.assess.subject import Subject
from pipelines.audit.command import audit
from pipelines.distill.command import distill
from pipelines.evaluate.command import evaluate
from pipelines.explain.command import explain
from pipelines.recover.command import recover
from pipelines.report.result import Result
from pipelines.transfer.command import transfer

QuestionName = Literal[
    "data", "robustness", "recoverability", "variability", "distillation", "monitorability"
]
_WITHOUT_GRADIENTS = ("clean", "square")
"""Probes for files that only answer."""
_EXPLAINED = {"limit": 1000, "forwards": 500}
"""What `assay explain` takes where a preset says nothing."""
Ask = Callable[[Subject, Mapping[str, Any]], Any]
"""Runs the question's command on a subject with some settings."""


class Question(NamedTuple):
    """The look at the data, or one of the five.

    Args:
        title: over its part of the page.
        text: what is done to the model.
        ask: its command.
        trains: whether the Trainer's flags of trainings are its matter.
        needs_layers: whether it cannot be asked of a model that only answers.
        needs_training: whether it cannot be asked without training images.
        has_cells: that workers can measure.
    """

    title: str
    text: str
    ask: Ask
    trains: bool = False
    needs_layers: bool = False
    needs_training: bool = True
    has_cells: bool = False

    def unfit(self, classifier: Classifier, trainable: int) -> str:
        """Why this cannot be asked; empty if it can.

        Args:
            classifier: the model.
            trainable: training images that there are.
        """
        if classifier.tasks and self.ask is not _robustness:
            return "it knows models with one head, and this one has several."
        if self.needs_layers and (box := black_box_in(classifier)) is not None:
            return f"it needs the network's layers and weights, and {box}, which only answers."
        if self.ask is _monitorability and not has_gradients(classifier):
            return "it needs gradients, and this file only answers."
        if self.needs_training and not trainable:
            return "it needs training images, and there are test images alone."
        return ""


def _data(subject: Subject, settings: Mapping[str, Any]) -> Any:
    judge = settings.get("model", subject.model())  # a model that only answers judges no images
    return audit(subject.data(), judge, **{k: v for k, v in settings.items() if k != "model"})


def _robustness(subject: Subject, settings: Mapping[str, Any]) -> Any:
    return evaluate(subject.model(), subject.data(), **settings)


def _recoverability(subject: Subject, settings: Mapping[str, Any]) -> Any:
    return recover(subject.model(), subject.data(), **settings)


def _variability(subject: Subject, settings: Mapping[str, Any]) -> Any:
    source = cast("str", subject.data())  # `open_data` takes a data module, too
    return transfer(subject.model(), [*subject.transfer_to], sources=[source], **settings)


def _distillation(subject: Subject, settings: Mapping[str, Any]) -> Any:
    return distill(subject.model(), subject.student, subject.data(), **settings)


def _monitorability(subject: Subject, settings: Mapping[str, Any]) -> Any:
    return explain(subject.model(), subject.data(), **settings)


QUESTIONS: dict[str, Question] = {
    "data": Question(
        "Data", "What its images and labels are like, before any number is believed.",
        _data, needs_training=False,
    ),
    "robustness": Question(
        "Robustness", "How it answers images that were attacked or corrupted.",
        _robustness, needs_training=False,
    ),
    "recoverability": Question(
        "Recoverability", "What comes back when its weights are damaged and then repaired.",
        _recoverability, needs_layers=True, has_cells=True,
    ),
    "variability": Question(
        "Variability", "What it gains and forgets when it is moved to other data.",
        _variability, trains=True, needs_layers=True, has_cells=True,
    ),
    "distillation": Question(
        "Distillation", "What a smaller model keeps that learns from its answers.",
        _distillation, trains=True, has_cells=True,
    ),
    "monitorability": Question(
        "Monitorability", "How far its explanations and alarms can be believed.", _monitorability
    ),
}  # fmt: skip


def has_gradients(classifier: Classifier) -> bool:
    """Whether a model is no black box, or one that can be differentiated."""
    box = black_box_in(classifier)
    return box is None or box.differentiable


def settings_for(
    classifier: Classifier, settings: Mapping[str, Mapping[str, Any]], images: int
) -> dict[str, dict[str, Any]]:
    """What a preset asks, of a model without gradients what can be asked of it.

    Args:
        classifier: the model.
        settings: of the preset, by question.
        images: test images that there are.
    """
    asked = {question: dict(one) for question, one in settings.items()}
    watched = asked["monitorability"]
    limit, forwards = (watched.get(name, usual) for name, usual in _EXPLAINED.items())
    if images < limit:  # the same budget over fewer images, which are too few for a smaller one
        watched["forwards"] = math.ceil(forwards * limit / max(images, 1))
    if not has_gradients(classifier):
        asked["data"]["model"] = None
        asked["robustness"]["probes"] = [*_WITHOUT_GRADIENTS]
        asked["distillation"] |= {"evaluation": "none", "controls": []}
    return asked


def answer(
    name: str, subject: Subject, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Result:
    """Asks one question.

    Args:
        name: of the question.
        subject: the model, its data, and what it is moved and taught to.
        settings: of the preset.
        options: those that all commands share.
    """
    return cast("Result", QUESTIONS[name].ask(subject, {**settings, **options}))
