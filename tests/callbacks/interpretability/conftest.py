"""Models small enough to be worked out by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


class Function(nn.Module):
    """Any function of flattened images as the logit of class 0; class 1 answers 0."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        value = self.function(image.flatten(1))
        return torch.stack([value, 0 * value], 1)


class Linear(Function):
    """f(x) = w·x + b in float64, on 2-channel 8x8 images."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        super().__init__(lambda flat: flat @ self.weight.flatten() + 0.7)
        self.weight = torch.randn(2, 8, 8, generator=generator, dtype=torch.float64)


@pytest.fixture
def linear() -> Linear:
    return Linear()


@pytest.fixture
def function() -> type[Function]:
    return Function


@pytest.fixture
def image() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(5, 2, 8, 8, generator=generator, dtype=torch.float64)


@pytest.fixture
def network() -> nn.Module:
    """Convolutions, batch norm and pooling, each activation a module called once, 28x28 grey."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    ]  # fmt: skip
    model = nn.Sequential(*layers).eval().requires_grad_(False)
    model[8].weight.mul_(100)  # so that pictures matter
    return model
