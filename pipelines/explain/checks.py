"""What `assay explain` refuses before it has asked the model about the data."""

import math

from callbacks.monitoring.drift_test import CLEAN_WINDOWS
from callbacks.monitoring.thresholds import check_rate
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.explain.score_stage import check_budget
from pipelines.explain.watch_stage import LEAST_IMAGES

_LEAST_TEST = 4
"""Fewer test images than one window of the smallest kind show nothing."""


def check_request(
    classifier: Classifier,
    data: ImageDataModule,
    outliers: ImageDataModule | None = None,
    *,
    images: int,
    train_images: int,
    forwards: float,
    window: int,
    false_alarms: float,
    seed: int,
) -> None:
    """Refuses options that some later stage could not work with; see `explain` for what they are.

    Args:
        classifier: in evaluation mode, asked about one image.
        data: whose splits are counted.
        outliers: whose test split has to be there.
        images: how many test images are explained, at most.
        train_images: how many training images are fitted on, at most.
        forwards: budget of the score for an image.
        window: images that are tested for drift together.
        false_alarms: share of clean windows that may raise an alarm.
        seed: of every random number.

    Raises:
        UserError: which option, what is expected and what to do.
    """
    for name, number in (("images", images), ("window", window), ("train_images", train_images)):
        if number < 1:
            raise UserError(f"Expected `{name}` to be at least 1, but got {number}.")
    if not (math.isfinite(forwards) and forwards > 0):
        raise UserError(f"Expected `forwards` to be a number above 0, but got {forwards}.")
    check_rate(false_alarms)
    least_rate = 1 / (CLEAN_WINDOWS + 1)
    if false_alarms < least_rate:
        raise UserError(
            f"Expected `false_alarms` to be at least {least_rate:.2g}, as the threshold is read "
            f"from {CLEAN_WINDOWS:,} clean windows, but got {false_alarms:g}."
        )
    for split, least in (("test", _LEAST_TEST), ("val", 1), ("train", LEAST_IMAGES)):
        if (n := len(data.images(split))) < least:
            raise UserError(
                f"Expected at least {least} {split} images in {data.name} to explain a model with, "
                f"but got {n}: give more, or a larger `data.limit`."
            )
    if train_images < LEAST_IMAGES:
        raise UserError(
            f"Expected `train_images` to be at least {LEAST_IMAGES}, but got {train_images}: "
            "outlier scores and the monitor are learnt from them."
        )
    if outliers is not None:
        try:
            outliers.images("test")
        except UserError as error:
            raise UserError(f"The outliers: {error}") from error
    check_budget(classifier, data, images, forwards, seed)
