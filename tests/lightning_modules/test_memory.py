import torch
import torch.nn.functional as F
from torch import nn

from lightning_modules.memory import peak_memory

FLOAT = 4


def test_a_forward_by_hand() -> None:
    """The first layer's output lives until the activation is there; then it goes."""
    image = torch.rand(8, 100)
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10))
    in_place = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(inplace=True), nn.Linear(1000, 10))
    with torch.no_grad():
        assert peak_memory(lambda: model(image)) == 2 * 8 * 1000 * FLOAT
        assert peak_memory(lambda: in_place(image)) == 8 * (1000 + 10) * FLOAT


def test_a_training_step_keeps_what_its_backward_needs() -> None:
    """Hidden layer, activation, their gradient and that of every weight, and small change."""
    image, label = torch.rand(8, 100), torch.zeros(8, dtype=torch.long)
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10))

    def step() -> None:
        torch.autograd.grad(F.cross_entropy(model(image), label), list(model.parameters()))

    weights = 100 * 1000 + 1000 + 1000 * 10 + 10
    peak = peak_memory(step)
    assert weights * FLOAT < peak < (weights + 3 * 8 * 1000) * FLOAT
    assert peak_memory(step) == peak, "nothing stays behind"
