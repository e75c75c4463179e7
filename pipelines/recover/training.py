"""One training on the way back, with the accuracy measured as it goes."""

import copy
import time
from typing import Any

import lightning as L
import torch

from datamodules import Batch, ImageDataModule
from lightning_modules import Classifier, in_chunks
from lightning_modules.recovery import Recovery, Trainable
from pipelines.recover.patient import Patient
from pipelines.trainer import made_trainer, uninterrupted

_TRAINER: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "max_epochs": -1,
}


class Curve(L.Callback):
    """Measures the accuracy after steps that grow geometrically; its own time does not count.

    Args:
        batch: images and labels that are not trained on.
        steps: of the whole training.
        points: how many measurements.
    """

    def __init__(self, batch: Batch, steps: int, points: int) -> None:
        self.batch, self.wanted = batch, set(grid(steps, points))
        self.points: list[dict[str, float]] = []
        self.steps = 0
        self._apart = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures where it begins."""
        self._begin = time.perf_counter()
        self._measure(trainer, pl_module, 0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Measures where it has come to."""
        self.steps = trainer.global_step
        if trainer.global_step in self.wanted:
            self._measure(trainer, pl_module, trainer.global_step)

    @property
    def seconds(self) -> float:
        """Of the training alone."""
        return self.points[-1]["seconds"] if self.points else 0.0

    def _measure(self, trainer: L.Trainer, module: L.LightningModule, step: int) -> None:
        start = time.perf_counter()
        assert isinstance(module, Recovery)
        acc = accuracy(module.classifier, self.batch)
        module.train()
        seconds = start - self._begin - self._apart
        self.points.append({"step": float(step), "seconds": seconds, "acc": acc})
        self._apart += time.perf_counter() - start


def train(
    patient: Patient,
    trainable: Trainable | None = None,
    teacher: Classifier | None = None,
    data: ImageDataModule | None = None,
) -> None:
    """Trains the patient's classifier for the steps of its effort.

    Args:
        patient: must be allowed labels, or images where a teacher answers for them.
        trainable: what may change; None for everything.
        teacher: learn from its answers instead of labels.
        data: other training data than the patient's.
    """
    needed = "images" if teacher is not None else "labels"
    assert needed in patient.allowed, f"the strategy has not declared that it knows {needed!r}"
    effort, used = patient.effort, shuffled(data or patient.data, patient.seed)
    module = Recovery(patient.classifier, effort.tuning, trainable, teacher, patient.held)
    curve = Curve(patient.measured, effort.steps, effort.points)
    try:
        run(module, used, effort.steps, patient.trainer, curve)
    finally:
        patient.curve = curve.points
        samples = curve.steps * min(used.batch_size, len(used.images("train")))
        patient.spent.steps += curve.steps
        patient.spent.samples += samples
        distinct = min(samples, len(used.images("train")))
        patient.spent.labels += 0 if teacher is not None else distinct
        patient.spent.images += distinct
        patient.spent.forwards += samples if teacher is not None else 0
        patient.classifier.eval().requires_grad_(True)


def run(
    module: Recovery, data: ImageDataModule, steps: int, flags: dict[str, Any], *own: L.Callback
) -> None:
    """Fits a module for some steps, quietly.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    trainer = made_trainer({**_TRAINER, **flags, "max_steps": steps}, list(own))
    if not uninterrupted(trainer, lambda: trainer.fit(module, data)):
        raise KeyboardInterrupt


def shuffled(data: ImageDataModule, seed: int) -> ImageDataModule:
    """The same splits in another training order; nothing is loaded again."""
    data.images("train")
    other = copy.copy(data)
    other.seed, other._generator = seed, None
    return other


@torch.no_grad()
def accuracy(classifier: Classifier, batch: Batch) -> float:
    """Share of correct answers; one that is not finite is wrong."""
    logits = answers(classifier, batch)
    right = (logits.argmax(1) == batch.label.to(logits.device)) & logits.isfinite().all(1)
    return float(right.float().mean())


@torch.no_grad()
def answers(classifier: Classifier, batch: Batch) -> torch.Tensor:
    """Logits `(N, K)` in evaluation mode and chunks of one shape."""
    training = classifier.training
    logits = in_chunks(classifier.eval(), batch.image.to(classifier.device), classifier.chunk)
    classifier.train(training)
    return logits


def grid(steps: int, points: int) -> list[int]:
    """Steps at which to measure: growing geometrically, the last one included."""
    ratio = steps ** (1 / max(points - 1, 1))
    return sorted({max(1, round(ratio**i)) for i in range(points)} | {steps})
