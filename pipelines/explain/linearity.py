"""How linear a model is round an image, against the radius of what is called round."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from callbacks.interpretability import Lime, LocalLinearity
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.statistics import mean
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.cell import Stage
from pipelines.explain.images import one_batch

_SHARE = 0.1
"""Of the budget of the score, which this view may spend once more."""
_FEWEST, _MOST = 4, 64
_RADII = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def measure_linearity(
    classifier: Classifier, data: ImageDataModule, budget: float, seed: int, _: Path
) -> Stage:
    """Fits a linear function at every radius round the same test images, and LIME's.

    Args:
        classifier: on its device, in evaluation mode.
        data: whose test images are used.
        budget: forwards of the score, of which a tenth is spent here once more.
        seed: of the disturbances.

    Returns:
        A stage with the table `linearity`, on rows that were not fitted: `radius n`, `r2` of the
        fit and `first_order` of the gradient, with their intervals.
    """
    linear, lime = LocalLinearity(), Lime()
    cost = len(_RADII) * (linear.forwards + 3) + lime.forwards
    count = min(_MOST, max(_FEWEST, int(_SHARE * budget / cost)))
    batch, device, lines = one_batch(data, "test", count), classifier.device, []
    image, draw = batch.image.to(device), Draw(seed, batch.index.to(device))
    with leave_no_trace(classifier):
        model = Queries(classifier, classifier.chunk)
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
