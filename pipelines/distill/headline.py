"""The numbers that come first, and those that go to MLflow."""

import math
import zlib

from callbacks.family import Number
from callbacks.statistics import Interval
from pipelines.distill.comparison import ModelComparison
from pipelines.report.result import Metric

_LOGGED = ("acc", "robust", "kept", "kept_robust", "agreement", "kl", "flips")


def headline_of(comparison: ModelComparison) -> dict[str, Number]:
    """The student's numbers and the teacher's accuracy; what could not be measured is left out."""
    students, teacher = comparison.named("student"), comparison.teacher
    images = f"on {len(teacher.rows):,} images"
    seeds = f"{images}, {len(students)} seeds" if len(students) > 1 else images
    under = f"under every attack at {comparison.ball}, image by image"
    share, alike = "share of the teacher's; 100 % keeps all", "same answer as the teacher"
    # What was asked, by which numbers of two distillations may stand side by side.
    index = zlib.crc32(teacher.rows["index"].to_numpy("int64").tobytes())
    asked = f"images {index:08x}, seeds {[student.seed for student in students]}"
    relative = f"{asked}, teacher {teacher.digest}"
    attacks = [
        result.algorithm for attack in comparison.attacks(teacher) for result in attack.results
    ]
    attacked = f"{asked}, {sorted(attacks)} at {comparison.ball}"
    table = (
        ("student_acc", "Student's accuracy", seeds, asked, True),
        ("teacher_acc", "Teacher's accuracy", images, asked, True),
        ("student_kept", "Accuracy kept", share, relative, True),
        ("student_robust", "Student's robust accuracy", under, attacked, True),
        ("teacher_robust", "Teacher's robust accuracy", under, attacked, False),
        ("student_kept_robust", "Robust accuracy kept", share, f"{relative}, {attacked}", True),
        ("student_agreement", "Agreement", alike, relative, True),
        ("student_kl", "KL to the teacher", "nats; 0 is the same", relative, False),
        ("student_flips", "Negative flips", "right by the teacher alone", relative, False),
    )
    numbers = {
        key: Number(title, interval, "" if column == "kl" else "%", note, conditions, card)
        for key, title, note, conditions, card in table
        for name, _, column in [key.partition("_")]
        if math.isfinite((interval := comparison.number(name, column)).value)
    }
    own, its = (model.footprint.bytes / 1e6 for model in (students[0], teacher))
    note = f"{own:.3g} MB of weights, the teacher's {its:.3g}"
    size = Number("Size", Interval(own / its, math.nan, math.nan), "%", note, relative)
    return {**numbers, "student_size": size}


def metrics_of(comparison: ModelComparison) -> list[Metric]:
    """The numbers of every model, accuracy by seed, and the student's curves over severity."""
    first = headline_of(comparison)
    metrics = [
        (f"summary/{key}{end}", value, 0)
        for name in comparison.names
        for column in _LOGGED
        if (key := f"{_slug(name)}_{column}") not in first
        for end, value in zip(("", "_low", "_high"), comparison.number(name, column), strict=True)
    ]
    for model in comparison.models:
        key, accuracy = f"distillation/{_slug(model.name)}_acc", model.rows["correct"].mean()
        metrics.append((key, float(accuracy), model.seed))
    for name in comparison.names:
        size = float(comparison.named(name)[0].footprint.bytes)
        metrics.append((f"summary/{_slug(name)}_bytes", size, 0))
    student = comparison.named("student")[0].evaluation
    metrics += student.metrics() if student else []
    return [metric for metric in metrics if math.isfinite(metric[1])]


def _slug(name: str) -> str:
    return name.replace(" ", "_")
