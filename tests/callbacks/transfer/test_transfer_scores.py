"""Scores of transfer against the published vectors, closed forms and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from callbacks.transfer import (
    FEATURE_SCORES,
    PROBABILITY_SCORES,
    empirical_conditional,
    h_score,
    leep,
    log_me,
    nce,
    neighbour_accuracy,
    predicted_transfer,
    regularised_h_score,
    trans_rate,
)
from callbacks.transfer.shrinkage import ledoit_wolf
from datamodules import UserError

LABEL = torch.arange(3).repeat_interleave(4)


def toy() -> tuple[Tensor, Tensor]:
    """Probabilities `(12, 4)` and features `(12, 3)` of the reference's check vector."""
    i, y = torch.arange(12)[:, None], LABEL[:, None]
    j = torch.arange(4)[None]
    mass = ((3 * i + 5 * j + 7 * (j == y)) % 11 + 1).double()
    k = torch.arange(3)[None]
    return mass / mass.sum(1, keepdim=True), ((7 * i + 3 * k) % 5 + 2 * (k == y)).double()


PROBABILITY, FEATURES = toy()
GOLDEN = {
    "leep": (leep(PROBABILITY, LABEL), -1.0842158013, 1e-9),
    "nce": (nce(PROBABILITY.argmax(1), LABEL), -0.7803552045, 1e-9),
    "h_score": (h_score(FEATURES, LABEL), 0.7810438994, 1e-9),
    "trans_rate": (trans_rate(FEATURES, LABEL), 0.1464134363, 1e-9),
    # The evidence is flat at its maximum, so the stopping rule shows in the seventh digit.
    "log_me": (log_me(FEATURES, LABEL), -0.7353767796, 1e-6),
}


@pytest.mark.parametrize(("got", "expected", "tolerance"), GOLDEN.values(), ids=GOLDEN)
def test_published_vectors(got: float, expected: float, tolerance: float) -> None:
    assert got == pytest.approx(expected, abs=tolerance)


# Of the reference's table for Gaussian noise and 10 random classes; the defective routine answers
# 6.372 and 96.3. Draws differ, hence the tolerance: one standard deviation over draws is 0.004.
@pytest.mark.parametrize(
    ("n", "d", "expected"), [(2000, 64, -0.2666), (200, 512, -0.337), (100, 2048, -0.267)]
)
def test_log_me_does_not_fall_for_noise(n: int, d: int, expected: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n, d, generator=generator)
    label = torch.randint(10, (n,), generator=generator)
    got = log_me(features, label)
    assert got < -0.15
    if n > d:
        assert got == pytest.approx(expected, abs=0.015)


def test_log_me_is_the_evidence_of_a_gaussian() -> None:
    """At the fixed point, t ~ N(0, I/b + FF'/a); scipy knows that density."""
    from scipy.optimize import minimize
    from scipy.stats import multivariate_normal

    generator = torch.Generator().manual_seed(1)
    for n, d in ((30, 4), (40, 60)):
        features = torch.randn(n, d, generator=generator, dtype=torch.double)
        label = (features[:, 0] > 0).long()
        total = 0.0
        for c in range(2):
            target = (label == c).double().numpy()

            def negative(logs: np.ndarray, t: np.ndarray = target, f: Tensor = features) -> float:
                a, b = np.exp(logs)
                cov = np.eye(len(t)) / b + (f @ f.T).numpy() / a
                return -float(multivariate_normal.logpdf(t, np.zeros(len(t)), cov))

            found = minimize(negative, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9})
            total -= float(found.fun) / n / 2
        # N < D leaves no rest, so b grows until the stabiliser stops it, in the sixth digit.
        assert log_me(features, label) == pytest.approx(total, abs=1e-6 if n > d else 1e-5)


def test_shrinkage_equals_scikit_learns() -> None:
    for n, d in ((50, 7), (10, 30)):
        features = torch.randn(n, d, generator=torch.Generator().manual_seed(n)).double()
        covariance, share = ledoit_wolf(features)
        expected, expected_share = sklearn_ledoit_wolf(features.numpy())
        assert share == pytest.approx(expected_share, abs=1e-12)
        np.testing.assert_allclose(covariance.numpy(), expected, atol=1e-12)


def test_only_the_regularised_h_score_sees_through_few_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 200, generator=generator)
    label = torch.arange(40) % 4
    assert h_score(features, label) == pytest.approx(3, abs=1e-6), "C - 1: noise looks perfect"
    assert regularised_h_score(features, label) < 1


def test_neighbours_equal_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(80, 5, generator=generator) + 0.5
    label = (features[:, 0] > 0.5).long() + (features[:, 1] > 0.5).long()
    theirs = cross_val_score(
        KNeighborsClassifier(5, metric="cosine"), features.numpy(), label.numpy(), cv=LeaveOneOut()
    )
    assert neighbour_accuracy(features, label) == pytest.approx(theirs.mean())


def test_perfect_and_useless_source_answers() -> None:
    sure = torch.eye(3)[LABEL]
    assert leep(sure, LABEL) == pytest.approx(0, abs=1e-12)
    assert nce(LABEL, LABEL) == pytest.approx(0, abs=1e-12)
    constant = torch.full((12, 5), 0.2)
    assert leep(constant, LABEL) == pytest.approx(-math.log(3), abs=1e-7)  # 0.2 is no double
    assert nce(torch.zeros(12).long(), LABEL) == pytest.approx(-math.log(3))


def test_the_empirical_conditional_is_a_distribution() -> None:
    table = empirical_conditional(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 2]), 3)
    assert torch.equal(table[:, 1], torch.tensor([0.5, 0, 0.5]).double())
    torch.testing.assert_close(table.sum(0), torch.ones(2).double())


EVERY = [*FEATURE_SCORES, *PROBABILITY_SCORES]


def separated(distance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features and source probabilities that tell three classes the better, the larger."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(3).repeat(40)
    features = torch.randn(120, 8, generator=generator)
    features[:, :3] += distance * torch.eye(3)[label]
    return features, (features[:, :4] * (1 + distance)).softmax(1), label


@pytest.mark.parametrize("name", EVERY)
def test_every_score_keeps_its_promises(name: str) -> None:
    """Better features score higher; order, gaps in the labels and the dtype change nothing."""
    poor, good = (predicted_transfer(*separated(distance)) for distance in (0.2, 4.0))
    assert poor[name] < good[name]
    features, probability, label = separated(1.0)
    value = predicted_transfer(features, probability, label)[name]
    mixed = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    again = predicted_transfer(features[mixed], probability[mixed], label[mixed])[name]
    gaps = predicted_transfer(features.double(), probability.double(), 5 * label + 2)[name]
    assert again == pytest.approx(value, rel=1e-9)
    assert gaps == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_one_class_predicts_nothing(name: str) -> None:
    features, probability, label = separated(1.0)
    with pytest.raises(UserError, match="at least two classes"):
        predicted_transfer(features, probability, torch.zeros_like(label))
