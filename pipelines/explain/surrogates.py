"""Models that are simple enough to be read, in the model's place: linear functions and a tree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.interpretability import Lime, LocalLinearity
from callbacks.interpretability.surrogates.tree import patch_means, tree_surrogates
from callbacks.leave_no_trace import leave_no_trace
from callbacks.statistics import mean
from pipelines.explain.cell import Stage
from pipelines.explain.inputs import Inputs, batches

_SHARE = 0.1
"""Of the budget of the score, which linear surrogates may spend once more."""
_FEWEST, _MOST = 4, 64
_RADII = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_DRAWN = 3
"""Levels of the tree that is drawn; more cannot be read."""


def measure_linearity(inputs: Inputs, _: Path) -> Stage:
    """Fits a linear function at every radius round the same test images, and LIME's.

    Returns:
        A stage with the table `linearity`, on rows that were not fitted: `radius n`, `r2` of the
        fit and `first_order` of the gradient, with their intervals.
    """
    linear, lime = LocalLinearity(), Lime()
    cost = len(_RADII) * (linear.forwards + 3) + lime.forwards
    count = min(_MOST, max(_FEWEST, int(_SHARE * inputs.budget / cost)))
    (image, _label, draw), lines = inputs.images("test", count), []
    with leave_no_trace(inputs.classifier):
        model = inputs.queries()
        target = model(image).argmax(1)
        for radius in _RADII:
            fit = replace(linear, radius=radius).fitted(model, image, target, draw)
            lines.append({"radius": radius, "n": len(image)})
            for name in ("r2", "first_order"):
                lines[-1] |= mean(getattr(fit, name).double().cpu().numpy()).columns(name)
        patches = mean(lime.fitted(model, image, target, draw).r2.double().cpu().numpy())
    method = (
        f"{len(image)} test images, {linear!r}; LIME ({lime!r}) reaches a held-out R² of {patches}"
    )
    return Stage({"linearity": pd.DataFrame(lines)}, method={"linear surrogates": method})


@torch.no_grad()
def measure_tree(inputs: Inputs, _: Path) -> Stage:
    """Trees of depth 1 to 8 on patch means of training images, imitating the model's answers.

    Returns:
        A stage with the table `tree` (fidelity by depth) and `tree_nodes`, a tree of three levels.
    """
    features: list[np.ndarray] = []
    answers: list[Tensor] = []
    names: list[str] = []
    model, count = inputs.classifier, inputs.plan.train_limit
    for image, _label, _index in batches(inputs.data, "train", count, model.chunk):
        part, names = patch_means(image, min(7, *image.shape[-2:]))
        features.append(part)
        answers.append(model(image.to(inputs.device)).argmax(1).cpu())
    trees = tree_surrogates(np.concatenate(features), torch.cat(answers).numpy(), seed=inputs.seed)
    table = pd.DataFrame([tree.fidelity._asdict() for tree in trees])
    nodes = pd.DataFrame(trees[_DRAWN - 1].nodes(names, model.classes, _DRAWN))
    return Stage({"tree": table, "tree_nodes": nodes})
