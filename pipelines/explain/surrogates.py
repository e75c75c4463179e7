"""How linear a model is round an image, against the radius of what is called round."""

from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure

from callbacks.interpretability import Lime
from callbacks.interpretability.surrogates.local_linear import LocalLinearity
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.statistics import mean
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.features import batches
from pipelines.explain.figures import linearity_figure

_SHARE = 0.1
"""Of the budget of the score, which this view may spend once more."""
_FEWEST, _MOST = 4, 64
_RADII = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


class Surrogates(NamedTuple):
    """What linear surrogates are worth on rows that were not fitted.

    Args:
        table: one line a radius: `radius n`, `r2` of the fit and `first_order` of the gradient,
            with their intervals.
        figure: the same as curves.
        fact: how it was measured, with LIME's held-out R².
    """

    table: pd.DataFrame
    figure: Figure
    fact: str


def surrogates(
    classifier: Classifier, data: ImageDataModule, budget: float, device: torch.device, seed: int
) -> Surrogates:
    """Fits a linear function at every radius round the same test images, and LIME's.

    Args:
        classifier: on `device`, in evaluation mode.
        data: whose test images are used.
        budget: forwards of the score, of which a tenth is spent here once more.
        device: of the model.
        seed: of the disturbances.
    """
    linear, lime = LocalLinearity(), Lime()
    cost = len(_RADII) * (linear.forwards + 3) + lime.forwards
    count = min(_MOST, max(_FEWEST, int(_SHARE * budget / cost)))
    batch = next(batches(data, "test", count, _MOST))
    image, draw, lines = batch.image.to(device), Draw(seed, batch.index.to(device)), []
    with leave_no_trace(classifier):
        model = Queries(classifier, classifier.chunk)
        target = model(image).argmax(1)
        for radius in _RADII:
            fit = replace(linear, radius=radius).fitted(model, image, target, draw)
            lines.append({"radius": radius, "n": len(image)})
            for name in ("r2", "first_order"):
                lines[-1] |= mean(getattr(fit, name).double().cpu().numpy()).columns(name)
        patches = mean(lime.fitted(model, image, target, draw).r2.double().cpu().numpy())
    table = pd.DataFrame(lines)
    fact = (
        f"{len(image)} test images, {linear!r}; LIME ({lime!r}) reaches a held-out R² of {patches}"
    )
    return Surrogates(table, linearity_figure(table), fact)
