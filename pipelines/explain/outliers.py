"""Anomalous input: fits on the training images, scores test images against everything else."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from callbacks.monitoring import SCORES, OutlierFit, separation_table
from callbacks.monitoring.noise_images import NOISE
from callbacks.rows import is_answer
from datamodules import Batch, ImageDataModule
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


def measure_outliers(
    inputs: Inputs, outliers: Mapping[str, ImageDataModule], folder: Path
) -> Stage:
    """Fits on the train split, then scores the test split, noise, and other images if given.

    Args:
        inputs: model and data.
        outliers: other images as the model is shown them, by name; their test splits are used.
        folder: for `FILE`.

    Returns:
        A stage with the tables `outliers`, see `separation_table`, and `outlier_rows`: one line an
        image, `outliers index` and every score; those of the data's own test images have no kind.
    """
    classifier, data, plan = inputs.classifier, inputs.data, inputs.plan
    size = classifier.chunk
    features = partial(extract, classifier, device=inputs.device, chunk=size)
    train = features(batches(data, "train", plan.train_limit, size))
    headless = torch.equal(train.feature, train.logits)
    # Without a head the features are the logits, of which some may always be minus infinity.
    always = train.feature.isfinite().all(0) if headless else slice(None)
    train = replace(train, feature=train.feature[:, always])
    _check_finite(train)
    fit = OutlierFit.fit(train.feature, train.logits, train.label, head=head_of(classifier, train))
    fit.save(folder / FILE)
    rows, notes = [], ["Outlier scores are of the logits: the model has no last layer."] * headless
    notes += [_NO_RESIDUAL] * (fit.virtual.alpha == 0)
    for kind, shown in _kinds(inputs, outliers):
        seen = features(shown)
        seen, unanswered = _answered(replace(seen, feature=seen.feature[:, always]))
        rows.append(_rows(kind, seen, fit))
        if unanswered:
            notes.append(
                f"To {unanswered:,} image(s) of {kind or data.title} the model gives no finite "
                "answer: they have no outlier scores."
            )
    scores = {str(part["outliers"].iloc[0]): part[[*SCORES]] for part in rows if len(part)}
    if "" not in scores:
        raise UserError(f"Expected finite answers to test images of {data.title}, but none is.")
    fitted = f"fitted on {len(train):,} training images; kNN k = {fit.neighbour}"
    return Stage(
        {
            "outliers": separation_table(scores.pop(""), scores),
            "outlier_rows": pd.concat(rows, ignore_index=True),
        },
        {"trained_on": len(train)},
        method={"outlier scores": fitted},
        notes=notes,
    )


def _kinds(
    inputs: Inputs, outliers: Mapping[str, ImageDataModule]
) -> Iterator[tuple[str, Iterable[Batch]]]:
    """The data's own test images, which have no name, then noise, then the other images."""
    some = partial(batches, split="test", count=inputs.plan.limit, size=inputs.classifier.chunk)
    yield "", some(inputs.data)
    for name, make in NOISE.items():
        generator = torch.Generator().manual_seed(inputs.seed)
        yield (
            name,
            (
                Batch(make(image, generator), label, index)
                for image, label, index in some(inputs.data)
            ),
        )
    for name, data in outliers.items():
        yield name, some(data)


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
    if len(weight) != of.logits.shape[1]:
        return None
    always = of.logits.isfinite().all(0)
    answer, given = (of.feature @ weight.T + bias)[:, always], of.logits[:, always]
    near = 1e-3 * float(given.abs().amax())  # float32 sums of thousands of terms, by far
    return (weight, bias) if torch.allclose(answer, given, 0, near) else None


def _check_finite(train: Features) -> None:
    wrong = ~(is_answer(train.logits) & train.feature.isfinite().all(1))
    if wrong.any():
        raise UserError(
            f"Expected finite answers of the model, but to {int(wrong.sum()):,} of {len(wrong):,} "
            "training images they are not: look for weights that are not finite or exploding "
            "activations."
        )


def _answered(seen: Features) -> tuple[Features, int]:
    """What was answered and can be scored, and how many images were not."""
    answered = is_answer(seen.logits) & seen.feature.isfinite().all(1)
    columns = (seen.feature, seen.logits, seen.label, seen.index)
    return Features(*(column[answered] for column in columns)), int((~answered).sum())


def _rows(kind: str, seen: Features, fit: OutlierFit) -> pd.DataFrame:
    """The scores of every image."""
    scores = {name: score.numpy() for name, score in fit.scores(seen.feature, seen.logits).items()}
    return pd.DataFrame({"outliers": kind, "index": seen.index.numpy(), **scores})
