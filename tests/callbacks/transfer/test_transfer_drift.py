"""CKA, weight distance and forgetting against the reference's vectors and closed forms."""

import copy

import pytest
import torch
from torch import nn

from callbacks.transfer import (
    LinearCKA,
    activation_distance,
    forgetting,
    forward_transfer,
    layer_similarity,
    linear_cka,
    weight_distance,
)
from datamodules import UserError

X = torch.tensor([[1, 0], [0, 1], [1, 1], [2, 0], [0, 2], [2, 1]]).double()
Y = torch.tensor([[1, 2, 0], [0, 1, 1], [1, 3, 1], [2, 4, 1], [0, 2, 2], [2, 5, 0]]).double()


def test_published_vectors() -> None:
    assert linear_cka(X, Y) == pytest.approx(0.7419406283, abs=1e-9)
    assert linear_cka(X, X) == pytest.approx(1, abs=1e-12)


def test_rotation_scale_and_shift_change_nothing() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()).Q
    assert linear_cka(X, 5 * Y @ turn + 3) == pytest.approx(linear_cka(X, Y), abs=1e-12)


def test_independent_features_are_unlike_also_in_small_batches() -> None:
    """The biased form says 0.94 here; the unbiased one varies by 0.06 a batch around 0."""
    generator, similarity = torch.Generator().manual_seed(0), LinearCKA()
    for _ in range(20):
        similarity.update(*torch.randn(2, 32, 512, generator=generator))
    assert abs(similarity.compute()) < 0.03  # four standard errors are 0.05/sqrt(20)*4 = 0.045


def test_batches_sum_before_the_ratio() -> None:
    one, other = torch.randn(2, 64, 6, generator=torch.Generator().manual_seed(3))
    other = one + 0.3 * other
    parts = LinearCKA()
    for rows in (slice(0, 32), slice(32, 64)):
        parts.update(one[rows], other[rows])
    ratios = [linear_cka(one[rows], other[rows]) for rows in (slice(0, 32), slice(32, 64))]
    assert min(ratios) < parts.compute() < max(ratios)
    assert parts.compute() == pytest.approx(linear_cka(one, other), abs=0.05)


def test_different_samples_are_refused() -> None:
    with pytest.raises(UserError, match="but got 6 and 5"):
        LinearCKA().update(X, Y[:5])
    with pytest.raises(UserError, match="four samples"):
        LinearCKA().update(X[:3], Y[:3])
    assert str(LinearCKA().compute()) == "nan"


def test_layers_drift_where_weights_do() -> None:
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    after = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    after.load_state_dict(before.state_dict())
    images = [torch.randn(32, 6) for _ in range(2)]
    same = layer_similarity(before, after, images, ["0", "2"])
    assert same == pytest.approx({"0": 1.0, "2": 1.0}, abs=1e-9)
    nn.init.normal_(after[2].weight)
    moved = layer_similarity(before, after, images, ["0", "2"])
    assert moved["0"] == pytest.approx(1, abs=1e-9)
    assert moved["2"] < 0.99
    assert not any(part._forward_hooks for part in (*before.modules(), *after.modules()))
    old, new = (dict(model.named_parameters()) for model in (before, after))
    assert weight_distance(old, new, "0") == 0
    expected = (after[2].weight - before[2].weight).norm() / before[2].weight.norm()
    assert weight_distance({"w": before[2].weight}, {"w": after[2].weight}) == pytest.approx(
        float(expected.detach()), rel=1e-6
    )
    assert str(weight_distance(old, {"0.weight": torch.zeros(2, 2)})) == "nan"


def test_forgetting_of_the_reference() -> None:
    found = forgetting([[0.90, 0.10, 0.05], [0.95, 0.80, 0.10], [0.70, 0.75, 0.85]])
    assert found == pytest.approx((0.766667, -0.125, 0.15, 0.125), abs=1e-6)
    matrix = [[0.9, 0.3], [0.8, 0.7]]
    assert forward_transfer(matrix, [0.1, 0.1]) == pytest.approx(0.2)
    with pytest.raises(UserError, match="square"):
        forgetting([[0.9, 0.1]])


def test_activations_lie_apart_as_far_as_they_were_moved() -> None:
    torch.manual_seed(0)
    before = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 4, bias=False))
    after = copy.deepcopy(before)
    after[0].weight.data *= 3  # positive: the rectifier lets the factor through
    images = torch.randn(12, 6).split(4)
    apart = activation_distance(before, after, images, ["0", "1", "2", ""])
    assert apart == pytest.approx(dict.fromkeys(apart, 2.0), rel=1e-6)
    wider = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 4))
    assert str(activation_distance(before, wider, images, ["1"])["1"]) == "nan"


def test_what_follows_a_layer_in_place_does_not_change_its_answer() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    in_place = copy.deepcopy(plain)
    in_place[1].inplace = True
    moved = [copy.deepcopy(net) for net in (plain, in_place)]
    for net in moved:
        net[0].weight.data.neg_()
    images = torch.randn(12, 6).split(6)
    for measure in (layer_similarity, activation_distance):
        twins = [
            measure(a, b, images, ["0", "1", "2"])
            for a, b in zip((plain, in_place), moved, strict=True)
        ]
        assert twins[0] == twins[1]
