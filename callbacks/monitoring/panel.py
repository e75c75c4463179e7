"""What is measured of each image for the monitorability score, with what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.methods.controls import RandomMap, content
from callbacks.interpretability.methods.integrated_gradients import IntegratedGradients
from callbacks.interpretability.metrics.max_sensitivity import MaxSensitivity
from callbacks.interpretability.metrics.parameter_randomisation import ParameterRandomisation
from callbacks.interpretability.metrics.rank_correlation import spearman
from callbacks.interpretability.metrics.symmetric_relevance_gain import SymmetricRelevanceGain
from callbacks.interpretability.surrogates.local_linear import LocalLinearity
from callbacks.monitoring.budget import Item
from callbacks.monitoring.score import Evidence
from callbacks.queries import Queries
from callbacks.randomness import Draw

PER_IMAGE = ("faithfulness", "stability", "randomisation", "surrogate")
"""Parts of the score that are measured image by image."""
_SPREADS = {"faithfulness": 0.25, "stability": 0.1, "randomisation": 0.2, "surrogate": 0.2}
"""Typical standard deviations between images; they only decide how a budget is shared out."""


@dataclass(frozen=True)
class Shuffled:
    """The values of given maps in an order that any change of the image replaces by another.

    The control of stability: what a map of the same values would score that follows nothing. A
    constant map has no order; there normal numbers take the place of the values.

    Args:
        maps: `(N, 1, H, W)`.
    """

    maps: Tensor
    forwards: int = field(default=0, init=False, repr=False)
    backwards: int = field(default=0, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`; the images belong to the maps, in the same order."""
        step, flat = content(image), self.maps.flatten(1)
        varies = (flat != flat[:, :1]).any(1, keepdim=True)
        normal = draw.normal("redrawn map", step, (flat.shape[1],)).to(flat)
        mixed = flat.gather(1, normal.argsort(1))
        return torch.where(varies, mixed, normal).reshape(self.maps.shape)


@dataclass(frozen=True)
class Panel:
    """The measurements behind the score.

    Args:
        explainer: whose maps are judged.
        gain: faithfulness.
        radius: of stability, in pixel units.
        corners: draws of stability.
        surrogate: local linear surrogate, in the same neighbourhood.
    """

    explainer: Explainer = field(default_factory=lambda: IntegratedGradients(points=16))
    gain: SymmetricRelevanceGain = field(default_factory=SymmetricRelevanceGain)
    radius: float = 0.02
    corners: int = 4
    surrogate: LocalLinearity = field(default_factory=lambda: LocalLinearity(radius=0.02))

    def items(self, images: int) -> list[Item]:
        """The measurements with their cost for one image; a backward counts as two forwards."""
        explain = self.explainer.forwards + 2 * self.explainer.backwards
        again = self._sensitivity(self.explainer)
        costs = {
            "faithfulness": explain + 2 * self.gain.forwards,
            "stability": explain + again.forwards + 2 * again.backwards,
            "randomisation": 3 * explain,
            "surrogate": self.surrogate.forwards + 2 * self.surrogate.backwards,
        }
        return [Item(name, costs[name], images, _SPREADS[name]) for name in PER_IMAGE]

    def choosing(self, candidates: Sequence[Explainer], images: int) -> int:
        """Forwards that `best_of` costs, a backward as two."""
        each = [one.forwards + 2 * one.backwards + self.gain.forwards for one in candidates]
        return images * (1 + sum(each)) if len(candidates) > 1 else 0

    def best_of(
        self, candidates: Sequence[Explainer], model: Queries, image: Tensor, draw: Draw
    ) -> "Panel":
        """Takes the most faithful explainer, so that the score is of the model, not of a method.

        Choose on images that are not scored, else the choice flatters.

        Args:
            candidates: at least one.
            model: asked.
            image: `(N, C, H, W)`.
            draw: the images' random numbers.
        """
        if len(candidates) == 1:
            return replace(self, explainer=candidates[0])
        target, gains = model(image).argmax(1), []
        for one in candidates:
            found = one(model, image, target, draw)
            gain = self.gain(model, image, target, found, draw).nanmean()
            gains.append(float(gain.nan_to_num(nan=-torch.inf)))
        return replace(self, explainer=candidates[int(np.argmax(gains))])

    def measure(
        self, part: str, model: Queries, image: Tensor, target: Tensor, draw: Draw
    ) -> Evidence:
        """Measures one part on some images, with its control and its ideal.

        Args:
            part: one of `PER_IMAGE`.
            model: asked; its module's parameters are not changed.
            image: `(N, C, H, W)` in [0, 1].
            target: `(N,)` predicted classes.
            draw: the images' random numbers.
        """
        measures: dict[str, Callable[..., tuple[Tensor, Tensor, float]]] = {
            "faithfulness": self._faithfulness,
            "stability": self._stability,
            "randomisation": self._randomisation,
            "surrogate": self._surrogate,
        }
        measured, control, ideal = measures[part](model, image, target, draw)
        index = draw.index.cpu().numpy()
        return Evidence(_plain(measured), _plain(control), np.full(len(image), ideal), index)

    def _sensitivity(self, explainer: Explainer) -> MaxSensitivity:
        return MaxSensitivity(explainer, radius=self.radius, draws=self.corners, steps=2)

    def _faithfulness(
        self, model: Queries, image: Tensor, target: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor, float]:
        own = self.explainer(model, image, target, draw)
        random = RandomMap()(model, image, target, draw)
        measured, control = (self.gain(model, image, target, one, draw) for one in (own, random))
        # The first step removes all of the score, or the last one does: trapezoids lose 1/steps.
        return measured, control, 1 - 1 / self.gain.steps

    def _stability(
        self, model: Queries, image: Tensor, target: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor, float]:
        own = self.explainer(model, image, target, draw)
        measured = self._sensitivity(self.explainer)(model, image, target, own, draw)
        random = Shuffled(own)
        first = random(model, image, target, draw)
        control = self._sensitivity(random)(model, image, target, first, draw)
        return measured, control, 0.0

    def _randomisation(
        self, model: Queries, image: Tensor, target: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor, float]:
        own = self.explainer(model, image, target, draw)
        again = self.explainer(model, image, target, draw)
        left = ParameterRandomisation(self.explainer)(model, image, target, own, draw)
        kept = spearman(own.flatten(1), again.flatten(1))
        # A map that has become constant has no ranks any more, but also nothing of what it was. And
        # what changes by itself whenever it is asked for has not noticed the parameters.
        measured = 1 - kept.nan_to_num(nan=0.0) + left.nan_to_num(nan=0.0)
        measured = measured.where((own != own[:, :, :1, :1]).flatten(1).any(1), torch.nan)
        return measured, torch.ones_like(measured), 0.0

    def _surrogate(
        self, model: Queries, image: Tensor, target: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor, float]:
        measured = self.surrogate(model, image, target, image[:, :1], draw)
        return measured.clamp(min=0), torch.zeros_like(measured), 1.0


def _plain(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
