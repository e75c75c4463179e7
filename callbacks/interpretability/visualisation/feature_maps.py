"""What a layer answers to images: its maps, and one number for each channel."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from callbacks.interpretability.layers import as_grid, network_of, outputs_of
from callbacks.queries import Queries
from datamodules.errors import UserError


def feature_maps(model: Queries, image: Tensor, layer: str) -> Tensor:
    """The maps of any layer that has them, tokens laid out as a square.

    Args:
        model: its module is asked once for every image.
        image: `(N, C, H, W)`.
        layer: its name.

    Returns:
        `(N, K, h, w)` float32.

    Raises:
        UserError: there is no such layer, or it does not answer in maps.
    """
    output = layer_output(model, image, layer)
    maps = as_grid(output, network_of(model).get_submodule(layer))
    if maps is None:
        raise UserError(
            f"Expected a layer that answers in maps, but {layer!r} answers "
            f"{tuple(output.shape[1:])} for an image: choose a convolution or a block."
        )
    return maps.float()


def layer_output(model: Queries, image: Tensor, layer: str) -> Tensor:
    """A layer's output `(N, ...)`, the last one where a forward calls it several times."""
    return torch.cat(list(_outputs(model, image, layer)))


def layer_activations(model: Queries, image: Tensor, layer: str) -> Tensor:
    """One number `(N, K)` for each channel; no more than a chunk of maps exists at a time."""
    module, outputs = network_of(model), _outputs(model, image, layer)
    return torch.cat([channel_activations(one, module.get_submodule(layer)) for one in outputs])


def _outputs(model: Queries, image: Tensor, layer: str) -> Iterator[Tensor]:
    """Yields a layer's output chunk by chunk."""
    with outputs_of(model, layer) as outputs:
        for part in image.split(model.chunk or max(len(image), 1)):
            model(part)
            yield outputs.take().value[: len(part)]


def channel_activations(output: Tensor, module: nn.Module | None = None) -> Tensor:
    """One number for each channel: the mean over places of a map, or the unit itself.

    Args:
        output: `(N, K, h, w)`, tokens `(N, T, K)` or `(N, K)`.
        module: that answered it, whose type may say where the channels are.

    Returns:
        `(N, K)` float32.
    """
    maps = as_grid(output, module)
    if maps is not None:
        return maps.float().mean((2, 3))
    return output.float().flatten(2).mean(2) if output.ndim > 2 else output.float()
