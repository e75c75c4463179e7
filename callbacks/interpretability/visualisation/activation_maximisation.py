"""Images that excite a unit, with a verdict whether they do so more than natural images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from callbacks.interpretability.layers import LayerOutputs, network_of, outputs_of
from callbacks.interpretability.visualisation.feature_maps import (
    channel_activations,
    layer_activations,
)
from callbacks.interpretability.visualisation.fourier_image import (
    fourier_image,
    fourier_start,
    moved,
)
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_TOP = 3
_ROUNDING = 1e-5
"""Relative error of means of float32 numbers, by far."""


class Visualised(NamedTuple):
    """What K channels are excited by.

    Args:
        image: `(K, C, H, W)` in (0, 1).
        activation: `(K,)` mean over movements the optimiser has not seen.
        natural: `(K,)` 99.9th percentile over natural images.
        best: `(K,)` largest of any natural image.
        beats: `(K,)` bool, the verdict: activation > natural, by more than rounding makes.
        top: `(K, T)` the natural images of largest activation, at most three.
    """

    image: Tensor
    activation: Tensor
    natural: Tensor
    best: Tensor
    beats: Tensor
    top: Tensor


@dataclass(frozen=True)
class ActivationMaximisation:
    """Ascends a channel's mean activation from noise (Olah et al. 2017, Feature Visualization).

    x* = argmax a(x) over images in a Fourier basis that are shifted, enlarged and turned anew at
    each step. Channels of a convolution, units and classes alike; a chunk of them at once.

    Args:
        steps: of Adam; Lucid's 512.
        rate: of learning.
        decay: how much high frequencies are held back.
        jitter: largest shift, as a share of the side; Lucid's 8 of 128 pixels.
        scale: largest change of size, as a share.
        angle: largest turn, in degrees.
        variation: weight of the total variation, which smooths.
        held_out: movements for the verdict.
        seed: of beginnings and movements; a channel's are its own.
    """

    steps: int = 128
    rate: float = 0.05
    decay: float = 1.0
    jitter: float = 1 / 16
    scale: float = 0.1
    angle: float = 10.0
    variation: float = 0.0
    held_out: int = 8
    seed: int = 0

    @property
    def forwards(self) -> int:
        """Of each channel; natural images come on top, once for the layer."""
        return self.steps + self.held_out

    @property
    def backwards(self) -> int:
        """Of each channel."""
        return self.steps

    def __call__(
        self, model: Queries, layer: str, natural: Tensor, channels: Tensor | None = None
    ) -> Visualised:
        """Visualises channels of a layer.

        Args:
            model: whose module has the layer.
            layer: its name; the head's channels are the classes.
            natural: `(N, C, H, W)` images to compare with; they fix the size too.
            channels: `(K,)` which; None takes all.

        Raises:
            UserError: there is no such layer or channel.
        """
        usual = layer_activations(model, natural, layer)
        channels = _checked(channels, usual, layer)
        shape = tuple(natural.shape[1:])
        parts = [
            self._optimised(model, layer, part, shape)
            for part in channels.split(model.chunk or 128)
        ]
        image = torch.cat(parts)
        activation = self._judged(model, layer, image, channels)
        common = torch.quantile(usual[:, channels], 0.999, dim=0)
        best = usual[:, channels].amax(0)
        # The mean of equal numbers may be another one: a constant unit must not beat itself.
        beats = activation - common > _ROUNDING * common.abs()
        top = usual[:, channels].T.argsort(dim=1, descending=True, stable=True)[:, :_TOP]
        return Visualised(image, activation, common, best, beats, top)

    def _optimised(
        self, model: Queries, layer: str, channel: Tensor, shape: tuple[int, ...]
    ) -> Tensor:
        draw, (colours, height, width) = Draw(self.seed, channel), shape
        coefficient = fourier_start(draw, colours, height, width).requires_grad_()
        optimizer = torch.optim.Adam([coefficient], self.rate)
        module = network_of(model).get_submodule(layer)
        with torch.enable_grad(), outputs_of(model, layer) as outputs:
            activation = _activation(outputs, module)
            for step in range(self.steps):
                image = fourier_image(coefficient, width, self.decay)
                seen = self._moved(image, draw, step)
                _, _, slope = model.gradient(seen.detach(), activation, channel)
                optimizer.zero_grad()
                (self.variation * _variation(image) - (seen * slope).sum()).backward()
                optimizer.step()
        return fourier_image(coefficient.detach(), width, self.decay)

    def _judged(self, model: Queries, layer: str, image: Tensor, channel: Tensor) -> Tensor:
        """Mean activation `(K,)` under movements of their own."""
        draw, found = Draw(self.seed, channel), []
        for step in range(self.held_out):
            seen = layer_activations(model, self._moved(image, draw, -1 - step), layer)
            found.append(seen.gather(1, channel[:, None])[:, 0])
        return torch.stack(found).mean(0)

    def _moved(self, image: Tensor, draw: Draw, step: int) -> Tensor:
        return moved(image, draw, step, self.jitter, self.scale, self.angle)


def _activation(outputs: LayerOutputs, module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """What is ascended: not the logits but what the hook has just seen."""

    def activation(logits: Tensor, channel: Tensor) -> Tensor:
        output = outputs.take().value[: len(logits)]
        return channel_activations(output, module).gather(1, channel[:, None])[:, 0]

    return activation


def _variation(image: Tensor) -> Tensor:
    """Total variation, summed over images, mean over pixels."""
    down, across = image.diff(dim=2).abs(), image.diff(dim=3).abs()
    return down.mean((1, 2, 3)).sum() + across.mean((1, 2, 3)).sum()


def _checked(channels: Tensor | None, usual: Tensor, layer: str) -> Tensor:
    count = usual.shape[1]
    if channels is None:
        return torch.arange(count, device=usual.device)
    if len(channels) == 0 or int(channels.min()) < 0 or int(channels.max()) >= count:
        raise UserError(
            f"Expected `channels` between 0 and {count - 1}, those of {layer!r}, but got "
            f"{channels.tolist()}."
        )
    return channels.to(usual.device)
