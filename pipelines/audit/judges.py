"""Who judges the labels of a split: the model, or a probe that has not learnt from its images."""

from collections.abc import Mapping

import torch
from torch import Tensor

from datamodules.splits import stratified_order
from lightning_modules.features import Features
from pipelines.audit.fingerprints import Fingerprints
from pipelines.audit.label_errors import Ask, Suspects, cross_validated, find_suspects, fitted

MOST_JUDGED = 20_000
"""Training images whose labels are judged by cross-validation, which costs five fits."""
_PIXELS = "a kernel machine on 32x32 grey pixels"


def judged(
    split: str,
    prints: Mapping[str, Fingerprints],
    features: Mapping[str, Features],
    classes: int,
    seed: int,
) -> Suspects:
    """By the model, which has not learnt from test images; else by a probe of others' labels."""
    own = prints[split]
    if split in features and split == "test":
        probability = features[split].logits.double().softmax(1)
        return find_suspects(lambda _: probability, own.label, own.index, split, "the model", seed)
    ask, rows, by = _probe(split, prints, features, classes, seed)
    return find_suspects(ask, own.label[rows], own.index[rows], split, by, seed)


def inputs(
    split: str, prints: Mapping[str, Fingerprints], features: Mapping[str, Features]
) -> Tensor:
    """`(N, D)` features of the model, without one pixels of thumbnails."""
    return features[split].feature if features else prints[split].thumbnail.flatten(1)


def _probe(
    split: str,
    prints: Mapping[str, Fingerprints],
    features: Mapping[str, Features],
    classes: int,
    seed: int,
) -> tuple[Ask, Tensor, str]:
    """A probe's probabilities, for which rows, and what it is."""
    given = {name: inputs(name, prints, features) for name in prints}
    pixels = not features
    what = _PIXELS if pixels else "a linear probe on the model's features"
    source = prints.get("train", prints[split])
    rows = stratified_order(source.label, seed)[:MOST_JUDGED].sort().values
    if split == "train" or "train" not in prints:
        ask = cross_validated(given[split][rows], classes, pixels, seed)
        return ask, rows, f"{what}, cross-validated"
    probe = fitted(given["train"][rows], source.label[rows], classes, pixels, seed)
    probability = probe(given[split])
    return lambda _: probability, torch.arange(len(prints[split])), f"{what} of training images"
