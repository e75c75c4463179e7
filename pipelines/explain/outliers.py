"""Anomalous input: fits on the training images, scores test images against everything else."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from callbacks.monitoring import OutlierFit, separation_table
from callbacks.monitoring.noise_images import NOISE
from datamodules import Batch, ImageDataModule, Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.features import Features, extract
from lightning_modules.heads import head_name
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs, batches

_NO_RESIDUAL = (
    "ViM equals energy here: the features of the training images leave no direction unused, so "
    "that nothing of an image can lie outside of them."
)
FILE = "outliers.safetensors"
"""The fit, to be kept for the deployed model."""


def measure_outliers(inputs: Inputs, outliers: ImageDataModule | None, folder: Path) -> Stage:
    """Fits on the train split, then scores the test split, noise, and other images if given.

    Args:
        inputs: model and data.
        outliers: other images as the model is shown them, whose test split is used.
        folder: for `FILE`.

    Returns:
        A stage with the tables `outliers`, see `separation_table`, and `outlier_rows`: one line an
        image, `outliers index` and every score; those of the data's own test images have no kind.
    """
    classifier, data, plan = inputs.classifier, inputs.data, inputs.plan
    size = classifier.chunk
    features = partial(extract, classifier, device=inputs.device, chunk=size)
    train = features(batches(data, "train", plan.train_limit, size))
    _check_finite(train)
    fit = OutlierFit.fit(train.feature, train.logits, train.label, head=head_of(classifier, train))
    fit.save(folder / FILE)
    own = features(batches(data, "test", plan.limit, size))
    inside, outside = _scores(fit, own), {}
    rows = [_rows("", own, inside)]
    for name, make in NOISE.items():
        generator = torch.Generator().manual_seed(inputs.seed)
        noise = (
            Batch(make(image, generator), label, index)
            for image, label, index in batches(data, "test", plan.limit, size)
        )
        seen = features(noise)
        outside[name] = _scores(fit, seen)
        rows.append(_rows(name, seen, outside[name]))
    if outliers is not None:
        shown = batches(outliers, "test", plan.limit, size)
        seen = features(shown)
        outside[outliers.title] = _scores(fit, seen)
        rows.append(_rows(outliers.title, seen, outside[outliers.title]))
    headless = torch.equal(train.feature, train.logits)
    fitted = f"fitted on {len(train):,} training images; kNN k = {fit.neighbour}"
    return Stage(
        {
            "outliers": separation_table(inside, outside),
            "outlier_rows": pd.concat(rows, ignore_index=True),
        },
        {"trained_on": len(train)},
        method={"outlier scores": fitted},
        notes=[
            *["Outlier scores are of the logits: the model has no last layer."] * headless,
            *[_NO_RESIDUAL] * (fit.virtual.alpha == 0),
        ],
    )


def as_shown(classifier: Classifier, data: ImageDataModule) -> Preprocessing:
    """What the model wants; where it names no size, that of the data it is tested on."""
    wanted = classifier.preprocessing
    if wanted.resize or wanted.crop:
        return wanted
    height, width = data.taken("test", 1).image.shape[-2:]
    return replace(wanted, resize=(height, width))


def head_of(classifier: Classifier, of: Features) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of the last layer, where it is linear and the logits are its answers.

    Args:
        classifier: any.
        of: features and logits, which may be scaled behind the layer, or not be its at all.
    """
    try:
        head = classifier.model.get_submodule(head_name(classifier.model))
    except UserError:
        return None
    if not isinstance(head, nn.Linear) or head.in_features != of.feature.shape[1]:
        return None
    weight = head.weight.detach().cpu().float()
    bias = torch.zeros(len(weight)) if head.bias is None else head.bias.detach().cpu().float()
    answer = of.feature @ weight.T + bias
    near = 1e-3 * float(of.logits.abs().max())  # float32 sums of thousands of terms, by far
    same = answer.shape == of.logits.shape and torch.allclose(answer, of.logits, 0, near)
    return (weight, bias) if same else None


def _check_finite(train: Features) -> None:
    wrong = ~(train.logits.isfinite().all(1) & train.feature.isfinite().all(1))
    if wrong.any():
        raise UserError(
            f"Expected finite answers of the model, but to {int(wrong.sum()):,} of {len(wrong):,} "
            "training images they are not: look for weights that are not finite or exploding "
            "activations."
        )


def _rows(kind: str, of: Features, scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The scores of every image."""
    return pd.DataFrame({"outliers": kind, "index": of.index.numpy(), **scores})


def _scores(fit: OutlierFit, of: Features) -> dict:
    return {name: score.numpy() for name, score in fit.scores(of.feature, of.logits).items()}
