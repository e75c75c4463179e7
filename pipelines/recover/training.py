"""One training on the way back, with the accuracy measured as it goes."""

import time
from collections.abc import Callable
from typing import Any

import lightning as L

from datamodules import Batch, ImageDataModule
from lightning_modules import Classifier
from lightning_modules.recovery import Recovery, Trainable
from pipelines.recover.cost import training_flops
from pipelines.recover.repair import Repair
from pipelines.study.training import shuffled, train_steps

_COUNTED = 8
"""Images on which the FLOPs of a step are counted."""


class AccuracyCurve(L.Callback):
    """Measures accuracy and loss after steps that grow geometrically; its own time does not count.

    Args:
        judged: accuracy and loss of a classifier.
        steps: of the whole training.
        points: how many measurements.
    """

    def __init__(
        self, judged: Callable[[Classifier], dict[str, float]], steps: int, points: int
    ) -> None:
        self.judged, self.wanted = judged, set(grid(steps, points))
        self.points: list[dict[str, float]] = []
        self.steps = self.samples = 0
        self.measuring = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures where it begins."""
        self._begin = time.perf_counter()
        self._measure(pl_module, 0)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Counts what was shown, of which the last batch of a pass is a part, and measures."""
        self.steps = trainer.global_step
        self.samples += len(batch.image) * trainer.world_size
        if trainer.global_step in self.wanted:
            self._measure(pl_module, trainer.global_step)

    def _measure(self, module: L.LightningModule, step: int) -> None:
        start = time.perf_counter()
        assert isinstance(module, Recovery)
        numbers = self.judged(module.classifier)
        module.train()
        seconds = start - self._begin - self.measuring
        self.points.append({"step": float(step), "seconds": seconds, **numbers})
        self.measuring += time.perf_counter() - start


def train(
    repair: Repair,
    trainable: Trainable | None = None,
    teacher: Classifier | None = None,
    data: ImageDataModule | None = None,
) -> None:
    """Trains the repair's classifier for the steps of its effort.

    Args:
        repair: must be allowed labels, or images where a teacher answers for them.
        trainable: what may change; None for everything.
        teacher: learn from its answers instead of labels.
        data: other training data than the repair's.

    Raises:
        DivergedError: the loss is no number.
    """
    repair.check("labels" if teacher is None else "images")
    effort, served = repair.effort, shuffled(data or repair.data, repair.seed)
    steps = effort.steps_on(served)
    module = Recovery(repair.classifier, effort.tuning, trainable, teacher, repair.held)
    start = time.perf_counter()
    few = served.taken("train", _COUNTED)
    flops = training_flops(repair.classifier, few.image, few.label)
    repair.measuring += time.perf_counter() - start
    curve = AccuracyCurve(repair.judged, steps, effort.points)
    try:
        train_steps(module, served, steps, repair.flags, [curve])
    finally:
        repair.curve = curve.points
        repair.measuring += curve.measuring
        available = len(served.images("train"))
        samples = curve.samples
        distinct = min(samples, available)
        repair.reads(distinct, distinct if teacher is None else 0)
        repair.spent.steps += curve.steps
        repair.spent.samples += samples
        repair.spent.flops += samples * flops
        repair.spent.forwards += 0 if teacher is None else samples
        repair.classifier.eval().requires_grad_(True)


def grid(steps: int, points: int) -> list[int]:
    """Steps at which to measure: growing geometrically, the last one included."""
    ratio = steps ** (1 / max(points - 1, 1))
    return sorted({max(1, round(ratio**i)) for i in range(points)} | {steps})
