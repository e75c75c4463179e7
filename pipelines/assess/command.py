"""`assay assess`: the data and all five questions about a model: children of one run, one page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from typing_extensions import Unpack  # Python 3.10 has none

from datamodules import ImageDataModule, open_data
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.assess.part import AssessedPart
from pipelines.assess.plan import (
    Sizes,
    Speed,
    measured_speed,
    plan_of,
    planned,
)
from pipelines.assess.presets import PRESETS
from pipelines.assess.questions import QUESTIONS, QuestionName, settings_for
from pipelines.assess.result import Assessment
from pipelines.assess.subject import Subject, make_subject, small_student
from pipelines.assess.work import TRAINER, Work
from pipelines.cli import COMMANDS
from pipelines.engine import Engine
from pipelines.report.terminal import print_sheet
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.trainer_flags import check_flags, check_where, deciding

_ONE_DEVICE = (
    "the questions share one device. `assay evaluate` and `assay distill` run on several by "
    "themselves."
)


def main(words: list[str]) -> int:
    """Runs the command line; 1 where a question failed."""
    assessment = assess(**parse(assess, words, TRAINER, COMMANDS["assess"].example))
    return int(assessment is not None and bool(assessment.failed))


def assess(
    model: ModelLike | None = None,
    data: DataLike | None = None,
    preset: Literal["quick", "regular", "full"] = "quick",
    questions: list[QuestionName] | None = None,
    transfer_to: list[str] | None = None,
    student: ModelLike | None = None,
    plan_only: bool = False,
    engine: Engine = Engine(),  # noqa: B008  (frozen)
    **options: Unpack[Options],
) -> Assessment | None:
    """Looks at the data, asks all five questions about a model, and tells what it is made of.

    Args:
        model: where it comes from, e.g. torchvision:resnet18, checkpoint:FILE; default: a LeNet
            that is trained in seconds on scikit-learn's digits. In Python also a network.
        data: what it was trained on and is tested on; default: those digits.
        preset: samples and budgets of all questions; the plan tells them before anything runs.
        questions: of data (what `assay audit` tells), robustness, recoverability, variability,
            distillation and monitorability; default: all.
        transfer_to: data sets that it is moved to, e.g. MNIST ImageFolder:FOLDER; default: the
            digits of scikit-learn, turned by 90 degrees.
        student: that it teaches, e.g. lenet, torchvision:resnet18, or self; default: a small
            built-in network that fits the images.
        plan_only: print the plan and stop.
        engine: workers for the cells of recoverability, variability and distillation: Ray or
            submitit; the other questions are asked in this process.
        **options: see `Options`.

    Returns:
        The five results and what they amount to; None where only the plan was asked for.

    Raises:
        UserError: something the user can mend.
        KeyboardInterrupt: what was answered before is on disk and logged.
    """
    study = Study("assess", "assessment", options, TRAINER)
    study.on_one_device(_ONE_DEVICE)
    chosen = list(dict.fromkeys(questions or QUESTIONS))
    _check_flags(study.flags, chosen)
    if model is None and data is None:
        study.say("model    none was named: training a LeNet on scikit-learn's digits ...")
    subject = make_subject(model, data, transfer_to, student, options)
    opened = study.open_data(subject.data())
    classifier = study.open_model(subject.model(), opened).eval()
    subject = _with_student(subject, classifier, opened)
    for line in subject.said:
        study.say(f"chosen   {line}")
    study.notes += subject.said
    settings = settings_for(classifier, PRESETS[preset].settings, len(opened.images("test")))
    parts, speed = _plan(study, classifier, opened, subject, preset, settings, chosen)
    if study.config or plan_only:
        print_sheet(plan_of(parts, speed))
    if plan_only:
        return None

    told = {
        "questions": chosen, "settings": repr(settings), "epochs": _epochs(study, preset),
        "flags": deciding(study.flags),
    }  # fmt: skip
    with study.running(study.name(), {**told, **subject.contents}):
        work = Work(study, classifier, subject, preset, settings, options, engine)
        return work.done(parts)


def _check_flags(flags: Mapping[str, Any], questions: Sequence[str]) -> None:
    """Refuses flags of the Trainer that no question would heed."""
    if not any(QUESTIONS[name].trains for name in questions):
        told = f"none of --questions {' '.join(questions)} trains by it"
        check_where(flags, told, ("precision",))
    check_flags(flags, evaluated=True)
    if "logger" in flags:
        raise UserError("Got `trainer.logger`, but questions log by --tracking: leave it out.")


def _plan(
    study: Study, classifier: Classifier, data: ImageDataModule, subject: Subject, preset: str,
    settings: Mapping[str, Mapping[str, Any]], chosen: Sequence[str],
) -> tuple[list[AssessedPart], Speed]:  # fmt: skip
    """What each question will do, or why it cannot be asked."""
    speed = measured_speed(classifier, data, study.device, study.chunk)
    sizes = Sizes(
        _training_images(data), len(data.images("test")), _epochs(study, preset),
        len(subject.transfer_to),
    )  # fmt: skip
    parts = []
    for name in chosen:
        if why := QUESTIONS[name].unfit(classifier, sizes.train):
            parts.append(AssessedPart(name, "not tested", why))
        else:
            parts.append(planned(study, name, settings[name], speed, sizes))
    return parts, speed


def _training_images(data: ImageDataModule) -> int:
    """How many there are; of a set of test images alone none."""
    try:
        return len(data.images("train"))
    except UserError:
        return 0


def _with_student(subject: Subject, classifier: Classifier, data: ImageDataModule) -> Subject:
    """With a student that fits what the classifier sees, and names that are checked."""
    for name in subject.transfer_to:
        open_data(name)
    if subject.student:
        return subject
    image = data.taken("test", 1).image
    student = small_student(image.shape[1], image.shape[-1])
    said = f"No `student` was named: it teaches {student!r}."
    return replace(subject, student=student, said=[*subject.said, said])


def _epochs(study: Study, preset: str) -> int:
    return int(study.flags.get("max_epochs") or PRESETS[preset].epochs)
