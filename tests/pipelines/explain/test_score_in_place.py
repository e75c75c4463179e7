"""Whether activations work in place changes no part of the monitorability score."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import ActivationMaximisation, GradCAM
from callbacks.interpretability.layers import last_grid_layer
from callbacks.monitoring.panel import PER_IMAGE, Panel
from pipelines.explain.score_parts import candidates_for
from pipelines.explain.units import Units, unit_layer

N = 8


def stacked(inplace: bool) -> nn.Module:
    """The last layer with weights is written over by the activation behind it."""
    layers = [
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6),
        nn.ReLU(inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    ]  # fmt: skip
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """One activation, used twice, and a sum."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, padding=1)
        self.head, self.inplace = nn.Linear(6, 4), inplace

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=self.inplace)
        y = self.second(x)
        if self.inplace:
            y += x
        else:
            y = y + x
        return self.head(F.relu(y, inplace=self.inplace).mean((2, 3)))


@pytest.mark.parametrize("make", [stacked, Residual])
def test_parts_of_the_same_function_are_equal(make: Callable[[bool], nn.Module]) -> None:
    image = torch.rand(N, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    draw, seen = Draw(0, torch.arange(N)), []
    for inplace in (True, False):
        torch.manual_seed(0)
        network = make(inplace).eval().requires_grad_(False)
        model = Queries(network, N)
        target, last = model(image).argmax(1), last_grid_layer(model, image)
        explainer = candidates_for(unit_layer(network, last))[1]
        assert isinstance(explainer, GradCAM)
        panel = Panel(explainer=explainer)
        parts = [panel.measure(part, model, image, target, draw) for part in PER_IMAGE]
        units = Units(
            unit_layer(network, last), torch.arange(6), 6, ActivationMaximisation(4, held_out=2)
        ).measure(model, image, 6)
        rows = [np.stack([part.measured, part.control]) for part in parts]
        seen.append((last, rows, units.tables["units"].to_numpy(dtype=float)))
    (last, own, units), (other_last, others, other_units) = seen
    assert last == other_last
    for part, one, other in zip(PER_IMAGE, own, others, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=part)
    np.testing.assert_array_equal(units, other_units)
