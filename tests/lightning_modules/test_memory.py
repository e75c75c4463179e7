import pytest
import torch
from torch import nn

from lightning_modules import build
from lightning_modules.memory import peak_memory


@torch.no_grad()
def test_memory_by_hand() -> None:
    """The first layer's output lives until the activation is there; then it goes."""
    image = torch.rand(8, 100)
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10))
    assert peak_memory(lambda: model(image)) == 2 * 8 * 1000 * 4
    in_place = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(inplace=True), nn.Linear(1000, 10))
    assert peak_memory(lambda: in_place(image)) == 8 * (1000 + 10) * 4


@torch.no_grad()
def test_wider_layers_take_as_much_more() -> None:
    image = torch.rand(64, 1, 28, 28)
    models = [build(name, 10, 1) for name in ("lenet", "lenet_wide")]
    little, much = (peak_memory(lambda model=model: model(image)) for model in models)
    assert much == pytest.approx(4 * little, rel=0.05)  # the last layer is no wider
