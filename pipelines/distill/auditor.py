"""Trains and measures the members of an audit, all in the same way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from datamodules.preprocessing import Preprocessing
from lightning_modules import Classifier, save_classifier
from lightning_modules.distillation import largest, shown
from pipelines.distill.controls import CONTROLS, TITLES, Control, network
from pipelines.distill.footprint import Footprint, footprint, timed
from pipelines.distill.lesson_plan import LessonPlan, device_of
from pipelines.distill.member import Answered, Member, answer_test, clean_rows
from pipelines.evaluate.command import evaluate
from pipelines.evaluate.presets import PRESETS
from pipelines.evaluate.result import Evaluation
from pipelines.tracking import Tracking
from pipelines.trainer import device_flags

_DAMAGE = ("zero", "bit_flip")
"""Probes of the audit besides the preset's: what of the teacher's sturdiness survives."""


class Auditor:
    """Makes members of an audit.

    Args:
        plan: what is taught.
        preset: probes of the members that are measured in full, or "none".
        chunk: images in every model call.
        tracking: where runs are logged.
        config: the parsed command line.
    """

    def __init__(
        self, plan: LessonPlan, preset: str, chunk: int, tracking: Tracking, config: str
    ) -> None:
        self.plan, self.preset, self.chunk = plan, preset, chunk
        self.tracking, self.config = tracking, config
        self.device = device_of(plan.flags)
        self._teacher: Answered | None = None
        self._networks: list[tuple[nn.Module, Tensor]] = []

    def members(self, seeds: Sequence[int], controls: Sequence[str]) -> list[Member]:
        """The teacher, a student a seed, and the controls; the first of a name in full."""
        made = [self.teacher(), self.student(seeds[0], whole=True)]
        made += [self.student(seed, whole=False) for seed in seeds[1:]]
        made += [
            self.control(name, seed, made[1], whole=seed == seeds[0])
            for name in controls
            for seed in (seeds if name == "label_only" else seeds[:1])
        ]
        return self._timed(made)

    def teacher(self) -> Member:
        """Measures the teacher; of several, their mean, and no attacks."""
        classifiers = self.plan.teachers.classifiers
        wanted = largest(*(one.preprocessing for one in classifiers))
        weights = self.plan.teachers.weights
        self._teacher = self._answered(classifiers, wanted, weights)
        rows = clean_rows(self._teacher, self._teacher)
        taken = self._footprint(classifiers, wanted)
        single = classifiers[0] if len(classifiers) == 1 else None
        measured = self._measured(single, "teacher") if single else None
        note = "" if single else "Attacks and robust accuracy are of single teachers only."
        return Member("teacher", "teacher", 0, rows, taken, measured, note)

    def student(self, seed: int, whole: bool) -> Member:
        """Trains, saves and measures the student of a seed."""
        rank_zero_only(print)(f"student  seed {seed}", flush=True)
        classifier, folder, run = self.plan.taught("student", seed)
        classifier.source = f"checkpoint:{save_classifier(classifier, folder)}"
        run.log_model(classifier)
        rank_zero_only(print)(f"weights  {folder}", flush=True)
        return self._member(Control(classifier), "student", "student", seed, whole)

    def control(self, name: str, seed: int, student: Member, whole: bool) -> Member:
        """Makes and measures a control."""
        rank_zero_only(print)(f"control  {TITLES[name]}, seed {seed}", flush=True)
        made = CONTROLS[name](self.plan, seed, student.footprint.macs)
        return self._member(made, TITLES[name], "control", seed, whole)

    def _member(
        self,
        made: Control,
        name: str,
        kind: Literal["student", "control"],
        seed: int,
        whole: bool,
    ) -> Member:
        assert self._teacher is not None
        classifier, wanted = made.classifier, made.classifier.preprocessing
        rows = clean_rows(self._answered([classifier], wanted, (1.0,)), self._teacher)
        taken = self._footprint((classifier,), wanted)
        if made.smaller is not None:
            counted = made.smaller
            taken = replace(
                taken, parameters=counted.parameters, macs=counted.macs, bytes=counted.bytes
            )
        measured = self._measured(classifier, name) if whole else None
        return Member(name, kind, seed, rows, taken, measured, made.note)

    def _answered(
        self, classifiers: Sequence[Classifier], wanted: Preprocessing, weights: Sequence[float]
    ) -> Answered:
        served = self.plan.data.preprocessing
        try:
            return answer_test(classifiers, self.plan.data, wanted, weights, self.device)
        finally:
            self.plan.data.adopt(served)

    def _footprint(self, classifiers: tuple[Classifier, ...], wanted: Preprocessing) -> Footprint:
        """Counts, and keeps the network to be timed beside the others."""
        seen = self.plan.data.taken("train", self.chunk).image
        image = shown(seen, wanted, self.plan.teachers.native).to(self.device)
        model = network(classifiers).eval().to(self.device)
        found = footprint(model, image)
        self._networks.append((model.cpu(), image.cpu()))
        return found

    def _timed(self, members: list[Member]) -> list[Member]:
        """Adds times to members, the networks taking turns."""
        models = [(model.to(self.device), image.to(self.device)) for model, image in self._networks]
        times = timed(models)
        for model, _ in models:
            model.cpu()
        return [
            replace(one, footprint=replace(one.footprint, latency=latency, throughput=rate))
            for one, (latency, rate) in zip(members, times, strict=True)
        ]

    def _measured(self, classifier: Classifier, title: str) -> Evaluation | None:
        """Evaluates with the preset, then gives the loader back what training wants."""
        if self.preset == "none":
            return None
        plan, served = self.plan, self.plan.data.preprocessing
        rank_zero_only(print)(f"measure  {title}", flush=True)
        try:
            return evaluate(
                classifier,
                plan.data,
                probes=[*dict.fromkeys((*PRESETS[self.preset].probes, *_DAMAGE))],
                preset=self.preset,  # type: ignore[arg-type]
                chunk=self.chunk,
                tracking=self.tracking,
                root=plan.root,
                trainer=device_flags(plan.flags),
                config=self.config,
                parent=plan.parent,
                stage=title,
            )
        finally:
            plan.data.adopt(served)
            classifier.requires_grad_(True)
