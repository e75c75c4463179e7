"""Every loss against published vectors, another library or a closed form."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy.special import rel_entr, softmax
from scipy.stats import entropy
from sklearn.metrics import pairwise_distances
from torch import Tensor

from lightning_modules.distillation import (
    angle_loss,
    attention_loss,
    attention_map,
    decoupled_loss,
    decoupled_parts,
    distance_loss,
    hint_loss,
    relational_loss,
    rslad_loss,
    soft_target_loss,
)

DOUBLE = torch.float64
STUDENT = torch.tensor([[2, 1, 0.1], [0, 1, 2]], dtype=DOUBLE)
TEACHER = torch.tensor([[3, 1, -1], [1, 0, 2.5]], dtype=DOUBLE)
LABEL = torch.tensor([0, 2])
EXACT = 1e-9  # the vectors of the reference have ten digits


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1, 0.1279136454), (4, 0.3191259111), (20, 0.3581197852)]
)
def test_soft_targets_meet_the_published_vectors(temperature: float, expected: float) -> None:
    assert float(soft_target_loss(STUDENT, TEACHER, temperature)) == pytest.approx(
        expected, abs=EXACT
    )


def test_the_usual_totals() -> None:
    hard, soft = F.cross_entropy(STUDENT, LABEL), soft_target_loss(STUDENT, TEACHER, 4.0)
    assert float(0.1 * hard + 0.9 * soft) == pytest.approx(0.3284451190, abs=EXACT)
    assert float(0.9 * hard + 0.1 * soft) == pytest.approx(0.4029987824, abs=EXACT)


def test_a_class_that_the_teacher_rules_out_adds_nothing() -> None:
    student, teacher = torch.randn(2, 4, 5, generator=seeded())
    student.requires_grad_()
    closed = torch.tensor([False, False, True, False, True])
    both = [logits.masked_fill(closed, -torch.inf) for logits in (student, teacher)]
    loss = soft_target_loss(*both, temperature=2.0)
    open_only = soft_target_loss(student[:, ~closed], teacher[:, ~closed], temperature=2.0)
    torch.testing.assert_close(loss, open_only)
    (slope,) = torch.autograd.grad(loss, student)
    (expected,) = torch.autograd.grad(open_only, student)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_soft_targets_are_scipys_divergence(temperature: float) -> None:
    student, teacher = torch.randn(2, 16, 10, dtype=DOUBLE, generator=seeded())
    own, its = (softmax(one.numpy() / temperature, 1) for one in (student, teacher))
    expected = temperature**2 * entropy(its, own, axis=1).mean()
    assert float(soft_target_loss(student, teacher, temperature)) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_the_gradient_has_its_closed_form(temperature: float) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER
    (gradient,) = torch.autograd.grad(soft_target_loss(student, teacher, temperature), student)
    gap = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(gradient, temperature * gap / 2, rtol=1e-12, atol=1e-15)


def test_the_gradient_keeps_its_size_where_it_is_hot() -> None:
    """For T -> inf it is (s - t) / (N K) of centred logits (Hinton 2015, equation 4)."""
    student, teacher = torch.randn(2, 8, 10, dtype=DOUBLE, generator=seeded())
    centred = (student - student.mean(1, True)) - (teacher - teacher.mean(1, True))
    limit, norms = centred / 80, {}
    for temperature in (1.0, 20.0, 1e4):
        leaf = student.clone().requires_grad_()
        loss = soft_target_loss(leaf, teacher, temperature)
        norms[temperature] = float(torch.autograd.grad(loss, leaf)[0].norm() / limit.norm())
    assert norms[1e4] == pytest.approx(1, abs=1e-3)  # the error falls as 1/T
    assert norms[20.0] == pytest.approx(1, abs=0.1)
    # Without T² the ratio of the two would be about 1/400.
    assert 0.5 < norms[20.0] / norms[1.0] < 2


def test_decoupled_meets_the_published_vectors() -> None:
    target, others = decoupled_parts(STUDENT, TEACHER, LABEL, 4.0)
    assert target.tolist() == pytest.approx([0.0163939203, 0.0019242673], abs=EXACT)
    assert others.tolist() == pytest.approx([0.0090613340, 0.0310882504], abs=EXACT)
    loss = decoupled_loss(STUDENT, TEACHER, LABEL, 1.0, 8.0, 4.0)
    assert float(loss) == pytest.approx(2.7161189013, abs=EXACT)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_parts_add_up_to_scipys_divergence(temperature: float) -> None:
    student, teacher = 3 * torch.randn(2, 12, 7, dtype=DOUBLE, generator=seeded())
    label = torch.arange(12) % 7
    own, its = (softmax(one.numpy() / temperature, 1) for one in (student, teacher))
    target, others = decoupled_parts(student, teacher, label, temperature)
    certainty = torch.from_numpy(its)[torch.arange(12), label]
    total = torch.from_numpy(rel_entr(its, own).sum(1))
    torch.testing.assert_close(target + (1 - certainty) * others, total, rtol=1e-10, atol=1e-14)


def test_decoupled_survives_a_certain_teacher() -> None:
    student = torch.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    teacher = torch.tensor([[500.0, -100.0, 0.0]])
    loss = decoupled_loss(student, teacher, torch.tensor([0]), temperature=1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


MAPS_STUDENT = torch.tensor(
    [[[[1, 2], [3, 4]], [[0, 1], [0, 1]]], [[[2, 0], [1, 1]], [[1, 1], [2, 0]]]], dtype=DOUBLE
)
MAPS_TEACHER = torch.tensor(
    [
        [[[2, 2], [1, 1]], [[1, 0], [2, 1]], [[0, 1], [1, 0]]],
        [[[1, 3], [0, 1]], [[0, 0], [1, 2]], [[1, 1], [0, 1]]],
    ],
    dtype=DOUBLE,
)


def test_attention_meets_the_published_vectors() -> None:
    assert float(attention_loss(MAPS_STUDENT, MAPS_TEACHER)) == pytest.approx(
        0.2532293450, abs=EXACT
    )
    paper = attention_loss(MAPS_STUDENT, MAPS_TEACHER, "paper")
    assert 2 * float(paper) == pytest.approx(1.9955411091, abs=EXACT)  # the vector is a sum of two


def test_attention_is_of_length_one_whatever_the_scale() -> None:
    torch.testing.assert_close(
        attention_map(7 * MAPS_STUDENT).norm(dim=1), torch.ones(2, dtype=DOUBLE)
    )


POINTS_STUDENT = torch.tensor([[0, 0], [3, 4], [6, 8], [1, 0]], dtype=DOUBLE)
POINTS_TEACHER = torch.tensor([[0, 1, 0], [1, 1, 1], [2, 0, 1], [0, 0, 3]], dtype=DOUBLE)


def test_relations_meet_the_published_vectors() -> None:
    both = POINTS_STUDENT, POINTS_TEACHER
    assert float(distance_loss(*both)) == pytest.approx(0.1373288920, abs=EXACT)
    assert float(angle_loss(*both)) == pytest.approx(0.1043515088, abs=EXACT)
    assert float(relational_loss(*both)) == pytest.approx(8.6507977394, abs=EXACT)


def test_distances_are_scikit_learns() -> None:
    relative = []
    for points in (POINTS_STUDENT, POINTS_TEACHER):
        distances = pairwise_distances(points.numpy())
        relative.append(torch.from_numpy(distances / distances[distances > 0].mean()))
    expected = F.huber_loss(*relative)
    torch.testing.assert_close(distance_loss(POINTS_STUDENT, POINTS_TEACHER), expected)


def test_relations_survive_equal_points() -> None:
    student = torch.zeros(4, 2, requires_grad=True)
    loss = relational_loss(student, POINTS_TEACHER.float())
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(gradient).all()


def test_hints_are_torchs_mean_squared_error() -> None:
    one, other = torch.randn(2, 5, 4, 3, 3, generator=seeded())
    torch.testing.assert_close(hint_loss(one, other), torch.nn.MSELoss()(one, other))


def test_rslad_weighs_five_to_one() -> None:
    disturbed = STUDENT.flip(1)
    parts = [
        torch.nn.KLDivLoss(reduction="batchmean")(logits.log_softmax(1), TEACHER.softmax(1))
        for logits in (disturbed, STUDENT)
    ]
    expected = 5 / 6 * parts[0] + 1 / 6 * parts[1]
    torch.testing.assert_close(rslad_loss(disturbed, STUDENT, TEACHER), expected)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "soft targets": soft_target_loss,
    "decoupled": lambda s, t: decoupled_loss(s, t, torch.zeros(len(s), dtype=torch.long)),
    "hints": hint_loss,
    "attention": lambda s, t: attention_loss(s.view(6, 5, 1, 1) * GRID, t.view(6, 5, 1, 1) * GRID),
    "relations": relational_loss,
    "rslad": lambda s, t: rslad_loss(s, s, t),
}
GRID = torch.rand(5, 2, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_contract(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Nothing to learn from an equal; else a number above 0 with a gradient, in any order."""
    student, teacher = torch.randn(2, 6, 5, dtype=DOUBLE, generator=seeded())
    assert float(loss(teacher, teacher)) == pytest.approx(0, abs=1e-12)
    leaf = student.clone().requires_grad_()
    value = loss(leaf, teacher)
    assert value.shape == ()
    assert float(value.detach()) > 0
    assert float(torch.autograd.grad(value, leaf)[0].norm()) > 0
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(loss(student[order], teacher[order]), value.detach())


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
