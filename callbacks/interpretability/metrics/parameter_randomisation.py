"""Does an explanation notice that the model was replaced by noise?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from callbacks.duplication import duplicate
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.layers import network_of
from callbacks.interpretability.metrics.rank_correlation import spearman
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class ParameterRandomisation:
    """Rank correlation of maps before and after weights are drawn anew (MPRT, 1810.03292, 2018).

    From the output towards the input, in `levels` equal parts; the mean over the levels, without
    the untouched model. 1 says that the map does not depend on the weights. Works on a copy, so
    the model itself is never edited; running statistics stay, as in the original.

    Args:
        explainer: asked again for every level.
        levels: parts; the last one draws all parameters anew.
        absolute: compare sizes, without signs.
    """

    explainer: Explainer
    levels: int = 1
    absolute: bool = False
    higher_is_better: ClassVar[bool | None] = False

    @property
    def forwards(self) -> int:
        """What the explanations need."""
        return self.levels * self.explainer.forwards

    @property
    def backwards(self) -> int:
        """What the explanations need."""
        return self.levels * self.explainer.backwards

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        return self.curve(model, image, target, saliency, draw).mean(1)

    def curve(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """Rank correlation `(N, levels)` at each level."""
        found, network = [], network_of(model)
        model.require_layers("Randomising parameters")
        for level in range(1, self.levels + 1):
            twin = randomised(network, draw.seed, depth=level / self.levels)
            with model.answered_by(twin):
                after = self.explainer(model, image, target, draw)
            one, other = saliency.flatten(1), after.flatten(1)
            found.append(spearman(*(v.abs() if self.absolute else v for v in (one, other))))
        return torch.stack(found, 1)


@torch.no_grad()
def randomised(network: nn.Module, seed: int, depth: float = 1.0, share: float = 1.0) -> nn.Module:
    """Copies a network with parameters drawn anew, normal with their own mean and spread.

    Every parameter is drawn, also those no `reset_parameters` reaches (class tokens, position
    embeddings, attention's projections: a quarter of a ViT-B/16); what does not vary, such as zero
    biases, gets a tenth of the size of its mean, at least 0.01.

    Args:
        network: left as it is.
        seed: of the numbers.
        depth: share of the parameter tensors, counted from the output.
        share: of the numbers within each of them.

    Returns:
        A copy in which, with both shares 1, no number is what it was.
    """
    twin, generator = duplicate(network), torch.Generator().manual_seed(seed)
    parameters = list(twin.parameters())[::-1]
    for parameter in parameters[: round(depth * len(parameters))]:
        normal = torch.randn(parameter.shape, generator=generator).to(parameter)
        dice = torch.rand(parameter.shape, generator=generator).to(parameter.device)
        mean, spread = parameter.mean(), parameter.std(correction=0)
        floor = (0.1 * mean.abs()).clamp(min=0.01)
        spread = spread.where(spread > 1e-3 * floor, floor)
        fresh = mean + spread * normal
        fresh = torch.where(fresh == parameter, fresh + spread, fresh)
        parameter.copy_(torch.where(dice < share, fresh, parameter))
    return twin
