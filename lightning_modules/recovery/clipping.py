"""Activations kept inside the range they had before the damage."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU)
_SOURCES = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, *_RECTIFIERS)


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest output of every layer, as measured on some images (Ranger's profile).

    Args:
        low: by module name.
        high: by module name.
    """

    low: dict[str, float]
    high: dict[str, float]

    @classmethod
    @torch.no_grad()
    def measured(cls, model: nn.Module, batches: Iterable[Tensor]) -> "Ranges":
        """Profiles an undamaged model.

        Args:
            model: in evaluation mode.
            batches: images `(n, C, H, W)`.
        """
        low: dict[str, float] = {}
        high: dict[str, float] = {}

        def watch(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
                low[name] = min(low.get(name, float("inf")), float(output.min()))
                high[name] = max(high.get(name, -float("inf")), float(output.max()))

            return hook

        handles = [part.register_forward_hook(watch(name)) for name, part in _layers(model)]
        for image in batches:
            model(image)
        for handle in handles:
            handle.remove()
        return cls(low, high)

    @property
    def bits(self) -> int:
        """What storing the profile takes, in float32."""
        return 64 * len(self.low)


def clipped(model: nn.Module, ranges: Ranges) -> nn.Module:
    """Clamps the output of every profiled layer to its range, by hooks that stay.

    Range restriction (Ranger, 2003.13874, 2021); what is not a number becomes the nearest bound or
    0, so that one faulty weight cannot silence the rest.

    Args:
        model: hooked in place.
        ranges: measured before the damage.

    Returns:
        The model.
    """
    layers = dict(_layers(model))
    for name, low in ranges.low.items():
        if name in layers:
            layers[name].register_forward_hook(_Clamp(low, ranges.high[name]))
    return model


@dataclass(frozen=True)
class _Clamp:
    """A hook that a deep copy keeps."""

    low: float
    high: float

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        inside = min(max(0.0, self.low), self.high)
        return output.nan_to_num(nan=inside, posinf=self.high, neginf=self.low).clamp(
            self.low, self.high
        )


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers whose outputs can grow; the last of them makes the logits and is clamped too."""
    return [(name, part) for name, part in model.named_modules() if isinstance(part, _SOURCES)]
