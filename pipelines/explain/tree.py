"""The decision tree that imitates the model."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.interpretability.surrogates.tree import patch_means, tree_surrogates
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.cell import Stage
from pipelines.explain.images import batches
from pipelines.explain.picture_figures import pixels
from pipelines.explain.plan import Plan

_DRAWN = 3
"""Levels of the tree that is drawn; more cannot be read."""


@torch.no_grad()
def measure_tree(
    classifier: Classifier, data: ImageDataModule, plan: Plan, seed: int, _: Path
) -> Stage:
    """Trees of depth 1 to 8 on patch means of training images, imitating the model's answers.

    Args:
        classifier: on its device, in evaluation mode.
        data: whose training images are used.
        plan: how many.
        seed: of the fit.

    Returns:
        A stage with the table `tree` (fidelity by depth) and the picture of a tree of three levels.
    """
    features: list[np.ndarray] = []
    answers: list[Tensor] = []
    names: list[str] = []
    for image, _label, _index in batches(data, "train", plan.train_limit, classifier.chunk):
        part, names = patch_means(image, min(7, *image.shape[-2:]))
        features.append(part)
        answers.append(classifier(image.to(classifier.device)).argmax(1).cpu())
    trees = tree_surrogates(np.concatenate(features), torch.cat(answers).numpy(), seed=seed)
    table = pd.DataFrame([one.fidelity._asdict() for one in trees])
    drawing = trees[_DRAWN - 1].figure(names, classifier.classes, _DRAWN)
    return Stage({"tree": table}, arrays={"drawing": pixels(drawing)})
