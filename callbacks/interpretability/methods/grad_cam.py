"""Class activation maps: where a layer's channels that speak for a class are active."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.interpretability.explainer import target_logit
from callbacks.interpretability.layers import as_grid, last_grid_layer, network_of, outputs_of
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class GradCAM:
    """Channels of a layer, weighted by their mean gradient (Selvaraju et al. 2017, 1610.02391).

    Captum's LayerGradCam with `relu_attributions=True`, enlarged bilinearly to the image.

    Args:
        layer: its name; None takes the last one whose places matter.
    """

    layer: str | None = None
    forwards: int = field(default=1, init=False, repr=False)
    backwards: int = field(default=1, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        layer = self.layer or last_grid_layer(model, image)
        leaf: list[Tensor] = []
        maps: list[Tensor] = []
        keep = network_of(model).register_forward_pre_hook(lambda _, x: leaf.append(x[0]))
        try:
            with outputs_of(model, layer) as outputs:
                part = network_of(model).get_submodule(layer)

                def loss(logits: Tensor, target: Tensor) -> Tensor:
                    value, n = target_logit(logits, target), len(logits)
                    seen = outputs.take()
                    slope = seen.gradient_of(value.sum())
                    maps.append(_cam_of(layer, part, seen.value, slope)[:n])
                    # Done: what queries differentiate now is nothing, so that nothing is walked
                    # from the layer back to the image.
                    return value.detach() + 0 * leaf.pop()[:n].flatten(1)[:, 0]

                model.gradient(image, loss, target)
        finally:
            keep.remove()
        small = torch.cat(maps).to(image)
        return F.interpolate(small, image.shape[-2:], mode="bilinear", align_corners=False)


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Combines channels by their mean gradient and keeps what speaks for the class.

    Args:
        activation: `(N, K, h, w)`.
        gradient: `(N, K, h, w)` of the class's logit by it.

    Returns:
        `(N, 1, h, w)`, not negative.
    """
    return (activation * gradient.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu()


def _cam_of(layer: str, part: nn.Module, output: Tensor, gradient: Tensor) -> Tensor:
    maps, slopes = as_grid(output, part), as_grid(gradient, part)
    if maps is None or slopes is None:
        raise UserError(
            f"Expected `layer` to answer in maps, but {layer!r} answers {tuple(output.shape)}."
        )
    return grad_cam(maps.detach().float(), slopes.float())
