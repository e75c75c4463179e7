"""Attacks that ask for scores or decisions: against autograd, and distances in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.adversarial import L2, NES, PGD, SPSA, Attack, HopSkipJump, Linf
from callbacks.adversarial.active import Active
from callbacks.adversarial.directions import Directions, normal, rademacher
from callbacks.adversarial.losses import margin
from callbacks.adversarial.score_ascent import estimated_gradient
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.adversarial.without_start import without_start
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.results import ProbeResult
from datamodules.errors import UserError

SHAPE = (1, 4, 4)


def linear(classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes, bias=False)).requires_grad_(False)


def bent() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 5)]
    return nn.Sequential(*layers).requires_grad_(False)


def samples(n: int = 12) -> tuple[Tensor, Tensor, Draw]:
    image = 0.4 + 0.2 * torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))
    return image, torch.arange(n) % 2, Draw(0, torch.arange(n))


@pytest.mark.parametrize("directions", [rademacher, normal])
@pytest.mark.parametrize("network", [linear(), bent()], ids=["linear", "bent"])
def test_estimates_converge_to_autograd(network: nn.Module, directions: Directions) -> None:
    image, label, draw = samples()
    leaf = image.clone().requires_grad_()
    (exact,) = torch.autograd.grad(margin(network(leaf), label).sum(), leaf)
    errors = []
    for pairs in (20, 1000):
        estimate = estimated_gradient(
            Queries(network, 64), Active.all(image, label), margin, draw, directions,
            first=0, pairs=pairs, width=0.001,
        )  # fmt: skip
        error = (estimate - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
        # Its mean square is (d - 1) / pairs for signs and (d + 1) / pairs for normal numbers; the
        # root mean square over 12 images of 16 pixels varies by some 10 %.
        assert error.square().mean().sqrt() < 1.5 * math.sqrt(17 / pairs)
        errors.append(error.mean())
    assert errors[1] < errors[0] / 4, "50 times the directions, a seventh of the error"


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_decisions_alone_lead_to_the_nearest_point_of_a_linear_boundary(norm: str) -> None:
    """The boundary is |f| / ||w|| away (L2), |f| / ||w||_1 (Linf); images are put there."""
    network = linear()
    image, label, draw = samples()
    network[1].weight -= network[1].weight.mean(1, keepdim=True)  # grey is on the boundary
    weight = network[1].weight[1] - network[1].weight[0]
    length = weight.norm() if norm == "l2" else weight.abs().sum()
    away = weight.sign() if norm == "linf" else weight / weight.norm()
    score, distance = image.flatten(1) @ weight, 0.1
    side = torch.where(label == 1, 1.0, -1.0)
    image = image + ((side * distance - score / length)[:, None] * away).reshape(-1, *SHAPE)
    kind = L2 if norm == "l2" else Linf
    # Of so few pixels the last search leaves 1/64 of the way (L2), and normals of 387 decisions a
    # percent or two; nothing is nearer than the boundary.
    for factor, expected in ((1.04, 1.0), (0.999, 0.0)):
        threat = kind(factor * distance)
        found = HopSkipJump(steps=15)(Queries(network, 64), image, label, threat, draw).image
        wrong = (network(found).argmax(1) != label).float().mean()
        assert wrong == expected
        assert threat.contains(found, image).all()


@pytest.mark.parametrize("threat", [L2(0.3), Linf(0.1)])
def test_nothing_but_decisions_is_used(threat: ThreatModel) -> None:
    network = bent()

    def decisions(image: Tensor) -> Tensor:
        return F.one_hot(network(image).argmax(1), 5).float()

    image, _, draw = samples()
    label = network(image).argmax(1)
    attack = HopSkipJump(steps=4, samples=30)
    one, other = (
        attack(Queries(model, 64), image, label, threat, draw) for model in (network, decisions)
    )
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.forwards, other.forwards)
    assert torch.equal(one.columns["no_start"], other.columns["no_start"])


def test_images_without_a_start_are_counted_and_told() -> None:
    """A model that answers one class to everything has no boundary."""
    image, label, draw = samples()
    model = Queries(lambda x: F.one_hot(torch.zeros(len(x), dtype=torch.long), 2).float(), 64)
    result = HopSkipJump(starts=7)(model, image, label * 0, L2(1.0), draw)
    assert torch.equal(result.image, image)
    assert (result.columns["no_start"] == 1).all()
    assert (result.forwards == 1 + 7).all()
    rows = {"severity": 1000, "value": 1.0, "index": range(4), "no_start": [1.0, 0.0, -1.0, 1.0]}
    told = list(without_start([_result(rows)]))
    assert told == [
        "HopSkipJump (L2) found no start for 2 of 4 images (50.0 %): no noise was taken for "
        "another class. They count as right, and nothing is known of them."
    ]
    assert not list(without_start([_result({**rows, "no_start": 0.0})]))


def _result(rows: dict) -> ProbeResult:
    return ProbeResult(
        name="hopskipjump_l2", family="adversarial", title="HopSkipJump (L2)", unit="epsilon (L2)",
        algorithm="", headline=1.0, rows=pd.DataFrame(rows),
    )  # fmt: skip


@pytest.mark.parametrize("attack", [SPSA(steps=10, width=0.1), NES(steps=10, width=0.1)])
def test_scores_find_the_way_where_gradients_are_zero(attack: Attack) -> None:
    """Input in ten levels: every gradient is 0, PGD is left with random points."""
    network = bent()

    def stairs(image: Tensor) -> Tensor:
        return network((image * 10).round() / 10)

    image, _, draw = samples(24)
    label, threat = stairs(image).argmax(1), Linf(0.2)
    right = {}
    for name, tried in (("pgd", PGD(steps=10)), ("scores", attack), ("free", PGD(steps=10))):
        model = Queries(network if name == "free" else stairs, 64)
        found = tried(model, image, label, threat, draw).image
        right[name] = float((model(found).argmax(1) == label).float().mean())
    assert right["scores"] <= right["free"] + 0.1 < right["pgd"], right


REFUSED = [
    (SPSA, {"samples": 3}, "even number"),
    (SPSA, {"steps": 0}, "`steps` of at least 1"),
    (NES, {"width": 0.0}, "`width` to be a number above 0"),
    (NES, {"loss": "mse"}, "`loss` to be one of"),
    (HopSkipJump, {"starts": 0}, "`starts` of at least 1"),
    (HopSkipJump, {"gamma": np.inf}, "`gamma` to be a number above 0"),
]


@pytest.mark.parametrize(("kind", "given", "message"), REFUSED)
def test_bad_arguments(kind: type, given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**given)
