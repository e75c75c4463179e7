"""Anomalous input: fits on the training images, scores test images against everything else."""

from dataclasses import dataclass, replace

import pandas as pd
import torch

from callbacks.monitoring import OutlierFit, separation_table
from callbacks.monitoring.noise_images import NOISE
from datamodules import ImageDataModule, Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.explain.features import Features, batches, features_of, head_of


@dataclass(frozen=True)
class OutlierStage:
    """What was fitted and how well it tells outliers.

    Args:
        fit: to be kept for the deployed model.
        table: one line a score and outlier set, see `separation_table`.
        trained_on: images of the fit.
        notes: what a reader must know.
    """

    fit: OutlierFit
    table: pd.DataFrame
    trained_on: int
    notes: list[str]


def run_outliers(
    classifier: Classifier,
    data: ImageDataModule,
    outliers: ImageDataModule | None,
    train_images: int,
    images: int,
    device: torch.device,
    seed: int,
) -> OutlierStage:
    """Fits on the train split, then scores the test split, noise, and `outliers` if given.

    Args:
        classifier: on `device`.
        data: what it was trained on.
        outliers: other images, whose test split is used.
        train_images: how many to fit on.
        images: how many of each kind to score.
        device: of the model.
        seed: of the noise.
    """
    size = classifier.chunk
    train = _of(classifier, data, "train", train_images, device)
    _check_finite(train)
    fit = OutlierFit.fit(train.features, train.logits, train.label, head=head_of(classifier, train))
    inside = _scores(fit, _of(classifier, data, "test", images, device))
    outside = {}
    for name, make in NOISE.items():
        generator = torch.Generator().manual_seed(seed)
        made = (
            (make(one.image, generator), one.label) for one in batches(data, "test", images, size)
        )
        outside[name] = _scores(fit, features_of(classifier, made, device))
    if outliers is not None:
        outliers.adopt(_shown(classifier, data))
        outside[outliers.name] = _scores(fit, _of(classifier, outliers, "test", images, device))
    notes = [] if train.head else ["Outlier scores are of the logits: the model has no last layer."]
    return OutlierStage(fit, separation_table(inside, outside), len(train.label), notes)


def _shown(classifier: Classifier, data: ImageDataModule) -> Preprocessing:
    """What the model wants; where it names no size, that of the data it is tested on."""
    wanted = classifier.preprocessing
    if wanted.resize or wanted.crop:
        return wanted
    height, width = data.taken("test", 1).image.shape[-2:]
    return replace(wanted, resize=(height, width))


def _check_finite(train: Features) -> None:
    wrong = ~(train.logits.isfinite().all(1) & train.features.isfinite().all(1))
    if wrong.any():
        raise UserError(
            f"Expected finite answers of the model, but to {int(wrong.sum()):,} of {len(wrong):,} "
            "training images they are not: look for weights that are not finite or exploding "
            "activations."
        )


def _of(
    classifier: Classifier, data: ImageDataModule, split: str, count: int, device: torch.device
) -> Features:
    parts = batches(data, split, count, classifier.chunk)
    return features_of(classifier, ((one.image, one.label) for one in parts), device)


def _scores(fit: OutlierFit, of: Features) -> dict:
    return {name: score.numpy() for name, score in fit.scores(of.features, of.logits).items()}
