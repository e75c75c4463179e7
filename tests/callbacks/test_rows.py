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
