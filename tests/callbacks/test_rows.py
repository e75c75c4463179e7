"""Row columns against scikit-learn, torchmetrics-free closed forms and odd answers."""

import numpy as np
import torch
from sklearn.metrics import log_loss
from sklearn.preprocessing import label_binarize

from callbacks.rows import OUTCOME_COLUMNS, outcome_columns


def test_against_scikit_learn() -> None:
    logits = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    label = torch.arange(64) % 5
    columns = outcome_columns(logits, label)
    probability = logits.double().softmax(1).numpy()
    truth = label_binarize(label.numpy(), classes=range(5))
    assert set(columns) == set(OUTCOME_COLUMNS)
    np.testing.assert_allclose(columns["loss"].mean(), log_loss(label, probability), rtol=1e-6)
    np.testing.assert_allclose(
        columns["brier"], ((probability - truth) ** 2).sum(1), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_array_equal(columns["correct"], probability.argmax(1) == label.numpy())
    np.testing.assert_allclose(columns["confidence"], probability.max(1), rtol=1e-6)
    np.testing.assert_array_equal(columns["margin"] > 0, columns["correct"])


def test_margin_and_logsumexp_by_hand() -> None:
    columns = outcome_columns(
        torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]]), torch.tensor([0, 1])
    )
    assert columns["margin"].tolist() == [2.0, -3.0]
    expected = np.log(np.exp([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]]).sum(1))
    np.testing.assert_allclose(columns["logsumexp"], expected, rtol=1e-6)


def test_an_answer_that_is_not_finite_is_wrong() -> None:
    logits = torch.tensor([[torch.nan, 0.0], [torch.inf, 0.0], [1.0, 0.0]])
    assert outcome_columns(logits, torch.tensor([0, 0, 0]))["correct"].tolist() == [
        False,
        False,
        True,
    ]


def test_minus_infinity_for_another_class_is_an_answer() -> None:
    """By hand: softmax over the classes that a network leaves open, infinite loss for others."""
    inf = torch.inf
    rows = [[2.0, -inf, 0.0], [2.0, -inf, 0.0], [-inf, -inf, -inf], [1.0, inf, -inf]]
    columns = outcome_columns(torch.tensor(rows), torch.tensor([0, 1, 0, 1]))
    assert columns["correct"].tolist() == [True, False, False, False]
    expected = [np.log(1 + np.exp(-2.0)), np.inf]  # of softmax over the classes that can be
    np.testing.assert_allclose(columns["loss"][:2], expected, rtol=1e-6)
