"""Pictures of what explains the model, and the decision tree that imitates it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.interpretability.surrogates.tree import Surrogate, patch_means, tree_surrogates
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.changes import changes
from pipelines.explain.features import batches
from pipelines.explain.layer_views import layer_maps
from pipelines.explain.methods import methods
from pipelines.explain.surrogates import surrogates


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
    """Pictures and the tables behind them.

    Args:
        figures: by name.
        tables: fidelity of the `tree` by depth, the `methods`, the `changes`, and the `linearity`.
        notes: what a reader must know.
        facts: how it was measured.
    """

    figures: dict[str, Figure]
    tables: dict[str, pd.DataFrame]
    notes: list[str]
    facts: dict[str, str]


def views_of(
    classifier: Classifier,
    compare: Mapping[str, Classifier],
    data: ImageDataModule,
    budget: float,
    count: int,
    device: torch.device,
    seed: int,
) -> Views:
    """Draws every method, the same images before and after, what layers see, and the tree.

    Args:
        classifier: on `device`, in evaluation mode.
        compare: other models by name.
        data: any.
        budget: forwards of the score; methods take a quarter of it once more, changes and linear
            surrogates a tenth each.
        count: training images of the tree.
        device: of the models.
        seed: of every random number.
    """
    each = methods(classifier, data, budget, device, seed)
    change = changes(classifier, compare, data, each.best(), budget, device, seed)
    linear = surrogates(classifier, data, budget, device, seed)
    maps = layer_maps(classifier, data, device)
    fidelity, surrogate, names = tree(classifier, data, count, device, seed)
    drawing = surrogate.figure(names, classifier.classes)
    return Views(
        {
            **each.figures,
            **({} if maps is None else {"features": maps}),
            "changes": change.figure,
            "linearity": linear.figure,
            "tree": drawing,
        },
        {
            "methods": each.table,
            "changes": change.table,
            "linearity": linear.table,
            "tree": fidelity,
        },
        [*each.notes, *change.notes],
        {"methods": each.fact, "before and after": change.note, "linear surrogates": linear.fact},
    )
