"""The step of fast adversarial training, as its authors' code takes it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.adversarial import Linf, RandomStartFGSM
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


def by_the_authors(net: nn.Module, image: Tensor, label: Tensor, delta: Tensor) -> Tensor:
    """2001.03994: the start is cut to the box only after the step."""
    delta = delta.clone().requires_grad_()
    F.cross_entropy(net(image + delta), label).backward()
    assert delta.grad is not None
    moved = (delta + 0.375 * delta.grad.sign()).detach().clamp(-0.3, 0.3)
    return image + torch.max(torch.min(1 - image, moved), -image)


def test_as_the_authors_take_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.Tanh(), nn.Linear(20, 3))
    image = torch.rand(12, 1, 6, 6).round()  # black and white, so that the box matters
    label, draw = torch.arange(12) % 3, Draw(0, torch.arange(12))
    asked: list[Tensor] = []

    def model(x: Tensor) -> Tensor:
        asked.append(x.detach())
        return net(x)

    result = RandomStartFGSM()(Queries(model), image, label, Linf(0.3), draw)
    assert asked[0].min() < 0, "not cut to the box before the gradient"
    wanted = by_the_authors(net, image, label, asked[0] - image)
    torch.testing.assert_close(result.image, wanted)
    assert (result.steps == 1).all()


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="`relative_step` to be a number above 0"):
        RandomStartFGSM(0.0)
