"""What `assay explain` is asked for, and what it refuses before it has asked the model anything."""

import math
from dataclasses import dataclass
from typing import Any

from callbacks.monitoring.drift_test import CLEAN_WINDOWS, Order, stream_length
from callbacks.monitoring.thresholds import check_rate
from datamodules import ImageDataModule
from datamodules.errors import UserError
from pipelines.study import Study

LEAST_IMAGES = 16
"""A monitor cannot learn from fewer: four windows of four."""
_FEW = ("clean", "explain_gradient")
PROBES: dict[str, tuple[str, ...]] = {
    "quick": _FEW,
    "regular": (*_FEW, "explain_integrated_gradients"),
    "full": (
        *(*_FEW, "explain_integrated_gradients", "explain_smoothgrad"),
        *("explain_grad_cam", "explain_occlusion", "explain_deeplift"),
    ),
}
"""Of the pass over the test data, by preset."""
_LEAST_TEST = 4
"""Fewer test images than one window of the smallest kind show nothing."""
_STAGES = {
    "outliers": ("limit", "train_limit", "outliers"),
    "monitor": ("train_limit", "window", "false_alarms", "order"),
    "score": ("limit", "forwards"),
    "methods": ("limit", "forwards"),
    "changes": ("limit", "forwards"),
    "linearity": ("limit", "forwards"),
    "depth": ("limit", "train_limit"),
    "features": (),
    "tree": ("train_limit",),
}
"""The options that decide each stage, in their order."""


@dataclass(frozen=True)
class Plan:
    """The options of an explanation as `explain` takes them, and the names of the outliers."""

    forwards: float = 500
    limit: int = 1000
    train_limit: int = 5000
    window: int = 64
    false_alarms: float = 0.01
    outliers: str = ""
    order: Order = "shuffled"

    def asked(self, stage: str) -> dict[str, Any]:
        """The options that decide a stage."""
        return {name: getattr(self, name) for name in _STAGES[stage]}

    def check(self, data: ImageDataModule) -> None:
        """Refuses what some later stage could not work with.

        Args:
            data: whose splits are counted.

        Raises:
            UserError: which option, what is expected and what to do.
        """
        for name, least in (("limit", 1), ("window", 1), ("train_limit", LEAST_IMAGES)):
            if (number := getattr(self, name)) < least:
                raise UserError(f"Expected `{name}` to be at least {least}, but got {number}.")
        if not (math.isfinite(self.forwards) and self.forwards > 0):
            raise UserError(f"Expected `forwards` to be a number above 0, but got {self.forwards}.")
        check_rate(self.false_alarms)
        if self.false_alarms < (rate := 1 / (CLEAN_WINDOWS + 1)):
            raise UserError(
                f"Expected `false_alarms` to be at least {rate:.2g}, as the threshold is read from "
                f"{CLEAN_WINDOWS:,} clean windows, but got {self.false_alarms:g}."
            )
        for split, least in (("test", _LEAST_TEST), ("val", 1), ("train", LEAST_IMAGES)):
            if (n := len(data.images(split))) < least:
                raise UserError(
                    f"Expected at least {least} {split} images in {data.title} to explain a model "
                    f"with, but got {n}: give more, or a larger `data.limit`."
                )
        self._check_stream(data)

    def learning_split(self, data: ImageDataModule) -> tuple[str, int, int]:
        """The split a monitor learns from, how many images of it, and the window they allow.

        Validation images, or training images where those are too few, or where a stream is to be
        learnt: validation images that are drawn from training images are no neighbours.
        """
        enough = len(data.images("val")) >= 8 * self.window
        split = "val" if enough and (data.has_val or self.order == "shuffled") else "train"
        available = min(self.train_limit, len(data.images(split)))
        return split, available, max(4, min(self.window, available // 8))

    def _check_stream(self, data: ImageDataModule) -> None:
        split, available, window = self.learning_split(data)
        least = stream_length(window, self.false_alarms)
        if self.order == "stream" and available < least:
            raise UserError(
                f"Expected at least {least:,} {split} images to state a false-alarm rate of "
                f"{self.false_alarms:g} for a stream in windows of {window}, but got "
                f"{available:,}: raise --train_limit or --false_alarms, or lower --window."
            )


def check_devices(study: Study) -> None:
    """Refuses what fits, maps and the monitor cannot be computed with.

    Raises:
        UserError: several devices, or another precision than float32.
    """
    study.on_one_device(
        "fits and the monitor live on one device. Explanation probes run on many in "
        "`assay evaluate --probes explain_gradient ...`."
    )
    if study.precision != "32-true":
        raise UserError(
            f"Expected `trainer.precision` 32-true, but got {study.precision}: fits and maps would "
            "be of another model than the pass. `assay evaluate` has explanation probes, too."
        )
