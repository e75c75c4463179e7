"""A transfer attack: its cost, its key, and a surrogate that is given back as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

from callbacks.adversarial import APGD, Linf, Transfer
from callbacks.adversarial.attack import about
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 4)]
    return nn.Sequential(*layers).eval()


def samples() -> tuple[Tensor, Tensor, Draw]:
    image = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return image, torch.arange(20) % 4, Draw(0, torch.arange(20))


@pytest.mark.parametrize("targeted", [False, True])
def test_it_is_the_worst_point_of_the_surrogate_and_asks_the_model_nothing(targeted: bool) -> None:
    image, label, draw = samples()
    target = (label + 1) % 4 if targeted else None
    model, surrogate, threat = Queries(network(1), 8), network(), Linf(0.1)
    result = Transfer(surrogate, steps=5)(model, image, label, threat, draw, target=target)
    own = Queries(network(), 8)
    attack = APGD(steps=5)
    expected = attack(own, image, label, threat, draw, target=target, objective="loss")
    assert torch.equal(result.image, expected.worst)
    assert (model.forwards, model.backwards) == (0, 0)
    assert int((result.steps + result.forwards).sum()) == 0
    assert int(result.columns["surrogate_forwards"].sum()) == own.forwards
    assert int(result.columns["surrogate_backwards"].sum()) == own.backwards
    assert set(result.columns) == set(about(Transfer()).columns)


def test_the_surrogate_is_given_back_as_it_was() -> None:
    surrogate = network().train()
    before = copy.deepcopy(surrogate.state_dict())
    image, label, draw = samples()
    Transfer(surrogate, steps=2)(Queries(network(1), 8), image, label, Linf(0.1), draw)
    assert surrogate.training
    assert all(parameter.requires_grad for parameter in surrogate.parameters())
    assert all(torch.equal(before[name], value) for name, value in surrogate.state_dict().items())


def test_its_label_is_of_the_surrogate_s_weights() -> None:
    """The label is a part of the resume key."""
    assert repr(Transfer(network())) == repr(Transfer(network()))
    other = network()
    with torch.no_grad():
        other[1].weight[0, 0] += 1e-6
    assert repr(Transfer(other)) != repr(Transfer(network()))
    assert repr(Transfer(network(), steps=3)) != repr(Transfer(network()))


class Sealed(nn.Module):
    """Lets no gradient through."""

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :4]


def test_without_a_surrogate_that_has_gradients_nothing_can_be_done() -> None:
    with pytest.raises(UserError, match="say `--surrogate`"):
        Transfer().fitted(4, True)
    image, label, draw = samples()
    with pytest.raises(UserError, match="lets no gradient through"):
        Transfer(Sealed())(Queries(network(), 8), image, label, Linf(0.1), draw)
