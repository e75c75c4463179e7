"""`assay distill`: teach a student what its teacher says, keep it, and audit what it kept."""

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from datamodules import ImageDataModule
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier, Perturb, Tuning, load_classifier
from lightning_modules.distillation import DistillationRecipe, largest, made_teachers
from lightning_modules.sources import match_classes
from pipelines.arguments import parse, typed_command
from pipelines.distill.auditor import Auditor
from pipelines.distill.controls import CONTROLS
from pipelines.distill.lesson_plan import LessonPlan, labelled_indices, usual_attack
from pipelines.distill.member import Member
from pipelines.distill.page import log_audit, print_audit, write_audit
from pipelines.distill.result import Audit
from pipelines.distill.training import TRAINER
from pipelines.evaluate.command import classifier_for, opened
from pipelines.tracking import Tracking, TrackingError, started

_LISTS = ("--teacher", "--seeds", "--controls", "--distillation.layers",
          "--distillation.init_from", "--distillation.teacher_weights")  # fmt: skip


def main(words: list[str]) -> int:
    """Runs the command line."""
    distill(**parse(distill, listed(words), TRAINER))
    return 0


def distill(
    teacher: str | list[str] | list[Classifier],
    student: str | Classifier,
    data: ImageDataModule,
    distillation: DistillationRecipe = DistillationRecipe(),  # noqa: B008  (frozen)
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    perturb: Perturb | None = None,
    seeds: list[int] = [0],  # noqa: B006  (never changed)
    controls: list[Literal["label_only", "random_teacher", "pruned", "int8"]] = [],  # noqa: B006
    labelled: int | None = None,
    evaluation: Literal["quick", "regular", "full", "none"] = "quick",
    arch: str | None = None,
    student_arch: str | None = None,
    chunk: int = 128,
    trust_pickle: bool = False,
    tracking: Tracking = Tracking(),  # noqa: B008  (frozen)
    root: Path = Path(),
    trainer: dict[str, Any] | None = None,
    config: str = "",
) -> Audit:
    """Teaches a student what its teacher says, keeps the best epoch, and audits what it kept.

    Args:
        teacher: one or several, e.g. checkpoint:FILE, torchvision:resnet18.
        student: where it starts, e.g. lenet, torchvision:resnet18, or self: the teacher's own
            architecture with fresh weights.
        data: what it is taught, validated and tested on.
        distillation: what is learnt from the teacher.
        tuning: optimizer and schedule.
        perturb: disturbs the student's images; default for ard and rslad: the published attack at
            the data set's usual radius.
        seeds: a student each; the first is audited in full.
        controls: what to compare with; label_only for every seed, others for the first.
        labelled: keep the labels of so many training images; of the rest only the teacher speaks.
        evaluation: preset that students, teacher and controls are measured with, or none.
        arch: architecture of the teacher's bare checkpoint.
        student_arch: architecture of the student's bare checkpoint.
        chunk: images in every model call of the evaluation.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.

    Returns:
        The audit of all models.

    Raises:
        UserError: something the user can mend, such as class spaces that differ.
    """
    _check(seeds, controls)
    L.seed_everything(seeds[0], verbose=False)
    taught = [teacher] if isinstance(teacher, str) else list(teacher)
    originals = [classifier_for(one, data, arch, trust_pickle).eval() for one in taught]
    fresh = _maker(student, originals[0], data, student_arch, trust_pickle)
    first = fresh(seeds[0])
    perturb = perturb or usual_attack(distillation, data)
    teachers = made_teachers(originals, distillation, first)
    served = largest(first.preprocessing, *(one.preprocessing for one in originals))
    teachers.native = _native_size(data)
    data.adopt(served)
    store, problem = opened(tracking, root)
    own, its = (one.architecture.rpartition(":")[2] for one in (first, originals[0]))
    name = f"{own}-from-{its}-{data.name}".replace("/", "-")
    tags = {"model": first.source or own, "data": data.name, "question": "distillation"}
    about, board = {**tags, "role": "pipeline"}, tracking.board(root)
    with started(store, f"distill-{name}", about, board=board) as parent:
        parent.log_batch(params=_params(distillation, tuning, perturb, seeds, labelled))
        plan = LessonPlan(
            teachers, fresh, data, distillation, tuning, perturb,
            labelled_indices(data, labelled), trainer or {}, root, store, parent, name,
        )  # fmt: skip
        auditor = Auditor(plan, evaluation, chunk, tracking, config)
        members = auditor.members(seeds, controls)
        notes = [*data.notes, *_notes(members, distillation, labelled)]
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        title = f"{own} from {its} by {distillation.loss}"
        audit = Audit(members, data.manifest(), title, typed_command(), created, notes)
        folder = root / "mlruns" / "distillations" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        if not getattr(rank_zero_only, "rank", 0):
            write_audit(audit, folder)
            (folder / "config.yaml").write_text(config)
            (folder / "splits.json").write_text(json.dumps(data.split_indices()))
            log_audit(parent, audit, folder)
            print_audit(audit)
            print(f"\nreport   {folder / 'report.html'}")
    if problem:
        raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
    if store:
        rank_zero_only(print)(f"MLflow   {store.link}")
    return audit


def listed(words: Sequence[str]) -> list[str]:
    """Turns `--seeds 0 1 2` into `--seeds=["0", ...]`, the form that the parser takes lists in."""
    made: list[str] = []
    rest = iter([*words, "--"])
    word = next(rest)
    while word != "--":
        if word not in _LISTS:
            made.append(word)
            word = next(rest)
            continue
        values, flag = [], word
        while not (word := next(rest)).startswith("--"):
            values.append(word)
        one = flag == "--teacher" and len(values) == 1
        made.append(f"{flag}={values[0] if one else _as_list(values)}")
    return made


def _as_list(values: list[str]) -> str:
    if len(values) == 1 and values[0].startswith("["):
        return values[0]
    plain = all(value.lstrip("-").replace(".", "", 1).isdigit() for value in values)
    return f"[{', '.join(values)}]" if plain else json.dumps(values)


def _maker(
    student: str | Classifier,
    teacher: Classifier,
    data: ImageDataModule,
    arch: str | None,
    trust_pickle: bool,
) -> Callable[[int], Classifier]:
    """What makes the student of a seed."""
    if isinstance(student, Classifier):
        match_classes(student, data.classes, new_head=True)
        return lambda seed: copy.deepcopy(student)
    source = teacher.architecture if student == "self" else student
    if source.partition(":")[0] == "checkpoint" and student == "self":
        raise UserError("Expected a teacher whose architecture is known for `student` self.")

    def make(seed: int) -> Classifier:
        L.seed_everything(seed, verbose=False)
        return load_classifier(
            source,
            arch=arch,
            data_classes=data.classes,
            # What the data are by themselves, not what the teacher wants to see of them.
            preprocessing=teacher.preprocessing if student == "self" else data.native,
            new_head=True,
            trust_pickle=trust_pickle,
        )

    return make


def _native_size(data: ImageDataModule) -> tuple[int, int]:
    """Height and width of the images by themselves: what models that state no size are shown."""
    data.adopt(data.native)
    height, width = data.taken("train", 1).image.shape[-2:]
    return height, width


def _check(seeds: list[int], controls: Sequence[str]) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"Expected different `seeds` of at least 0, but got {seeds}.")
    for name in controls:
        if name not in CONTROLS:
            raise UserError(f"There is no control {name!r}.{suggestion(name, CONTROLS)}")


def _params(
    recipe: DistillationRecipe,
    tuning: Tuning,
    perturb: Perturb | None,
    seeds: list[int],
    labelled: int | None,
) -> dict[str, Any]:
    found = {f"distillation.{name}": value for name, value in asdict(recipe.filled()).items()}
    found |= {f"tuning.{name}": value for name, value in asdict(tuning).items()}
    return {**found, "perturb": repr(perturb), "seeds": seeds, "labelled": labelled}


def _notes(
    members: list[Member], recipe: DistillationRecipe, labelled: int | None
) -> Iterator[str]:
    yield from dict.fromkeys(one.note for one in members if one.note)
    student, teacher = members[1].footprint.parameters, members[0].footprint.parameters
    if student > teacher:
        yield f"The student is larger than its teacher: {student:,} against {teacher:,} parameters."
    if labelled is not None:
        yield f"Labels of {labelled:,} training images were used; the teacher spoke of the rest."
    if recipe.is_robust:
        yield "The student was trained against one attack; stronger ones may leave it less."
