"""A gallery of images and methods, and the decision tree that imitates the model."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.interpretability import (
    EdgeFilter,
    GradCAM,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    RandomMap,
    Rise,
    SmoothGrad,
    SymmetricRelevanceGain,
)
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.tree import Surrogate, patch_means, tree_surrogates
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.explanation.features import batches
from pipelines.explanation.figures import gallery_figure

_METHODS: dict[str, Explainer] = {
    "gradient": Gradient(),
    "input x gradient": InputXGradient(),
    "integrated gr.": IntegratedGradients(),
    "SmoothGrad": SmoothGrad(),
    "Grad-CAM": GradCAM(),
    "RISE": Rise(),
    "edges (control)": EdgeFilter(),
    "random (control)": RandomMap(),
}
_IMAGES = 6


def gallery(
    classifier: Classifier, data: ImageDataModule, device: torch.device, seed: int
) -> tuple[Figure, list[str]]:
    """Six test images with the map of every method and its symmetric relevance gain.

    Returns:
        The figure, and a note for each method that the network does not allow.
    """
    batch = next(batches(data, "test", _IMAGES, _IMAGES))
    image, draw = batch.image.to(device), Draw(seed, batch.index.to(device))
    gain, maps, captions, notes = SymmetricRelevanceGain(), {}, {}, []
    with leave_no_trace(classifier):
        model = Queries(classifier, min(classifier.chunk, 32))
        probability = model(image).softmax(1)
        target = probability.argmax(1)
        for name, method in _METHODS.items():
            try:
                found = method(model, image, target, draw)
            except UserError as error:
                notes.append(f"{name}: {error}")
                continue
            maps[name] = found[:, 0].cpu().numpy()
            captions[name] = [
                f"{one:+.2f}" for one in gain(model, image, target, found, draw).tolist()
            ]
    classes = classifier.classes
    titles = [
        f"{classes[k]} {100 * p:.0f} %" + ("" if k == y else f", not {classes[y]}")
        for k, p, y in zip(target.tolist(), probability.amax(1).tolist(), batch.label.tolist(),
                           strict=True)
    ]  # fmt: skip
    return gallery_figure(image.movedim(1, -1).cpu().numpy(), maps, captions, titles), notes


@torch.no_grad()
def tree(
    classifier: Classifier, data: ImageDataModule, count: int, device: torch.device, seed: int
) -> tuple[pd.DataFrame, Surrogate, list[str]]:
    """Trees of depth 1 to 8 on patch means of training images, imitating the model's answers.

    Returns:
        Fidelity by depth, the deepest tree of at most three levels, and the patches' names.
    """
    features: list[np.ndarray] = []
    answers: list[Tensor] = []
    names: list[str] = []
    for one in batches(data, "train", count, classifier.chunk):
        part, names = patch_means(one.image, min(7, *one.image.shape[-2:]))
        features.append(part)
        answers.append(classifier(one.image.to(device)).argmax(1).cpu())
    found = tree_surrogates(np.concatenate(features), torch.cat(answers).numpy(), seed=seed)
    table = pd.DataFrame([one.fidelity._asdict() for one in found])
    return table, found[2], names


class Views(NamedTuple):
    """Pictures and the tree.

    Args:
        figures: by name.
        tree: fidelity by depth.
        notes: what a reader must know.
    """

    figures: dict[str, Figure]
    tree: pd.DataFrame
    notes: list[str]


def views_of(
    classifier: Classifier, data: ImageDataModule, count: int, device: torch.device, seed: int
) -> Views:
    """Draws the gallery, and the tree of `count` training images."""
    pictures, notes = gallery(classifier, data, device, seed)
    fidelity, surrogate, names = tree(classifier, data, count, device, seed)
    drawing = surrogate.figure(names, classifier.classes)
    return Views({"gallery": pictures, "tree": drawing}, fidelity, notes)
