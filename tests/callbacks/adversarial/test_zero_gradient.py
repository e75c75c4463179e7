"""Gradients that say nothing are counted, image by image."""

import pytest
import torch
from torch import Tensor, nn

from callbacks.adversarial.losses import cross_entropy
from callbacks.adversarial.zero_gradient import zero_gradient
from callbacks.queries import Queries
from datamodules import UserError

IMAGE, LABEL = torch.rand(8, 3, 4, 4), torch.arange(8) % 3


class Changed(nn.Module):
    """A linear network with something before or behind it that spoils its gradient."""

    def __init__(self, scale: float = 1.0, levels: int = 0, detach: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(48, 3)
        self.scale, self.levels, self.detach = scale, levels, detach

    def forward(self, x: Tensor) -> Tensor:
        x = (x * self.levels).round() / self.levels if self.levels else x
        return self.linear(x.detach().flatten(1) if self.detach else x.flatten(1)) * self.scale


@pytest.mark.parametrize(
    ("network", "zero"), [(Changed(), 0), (Changed(levels=8), 8), (Changed(scale=1e5), None)]
)
def test_counts(network: nn.Module, zero: int | None) -> None:
    """By hand: a softmax in float32 is exactly one where the margin is above 104, and then flat."""
    with torch.no_grad():
        logits = network(IMAGE)
        label = logits.argmax(1)
        margin = logits.topk(2).values.diff(dim=1).abs().flatten()
    gradient = Queries(network).gradient(IMAGE, cross_entropy, label)[2]
    assert zero_gradient(gradient).sum() == (int((margin > 104).sum()) if zero is None else zero)


def test_an_image_counts_not_a_pixel() -> None:
    gradient = torch.zeros(4, 1, 2, 2)
    gradient[1, 0, 0, 0] = 1e-38
    gradient[2, 0, 1, 1] = float("nan")
    assert zero_gradient(gradient).tolist() == [True, False, True, True]


def test_no_gradient_at_all_ends_in_one_sentence() -> None:
    network = Changed(detach=True).requires_grad_(False)
    with pytest.raises(UserError, match="lets no gradient through to the image"):
        Queries(network).gradient(IMAGE, cross_entropy, LABEL)
