"""Confident learning on probabilities whose answer is known."""

import pytest
import torch

from datamodules.errors import UserError
from datamodules.suspects import suspects


def test_flipped_labels_of_a_sure_model_are_found() -> None:
    draw = torch.Generator().manual_seed(0)
    true = torch.randint(5, (1000,), generator=draw)
    label = true.clone()
    label[:100] = (true[:100] + 1) % 5
    logits = 4 * torch.nn.functional.one_hot(true, 5) + torch.randn(1000, 5, generator=draw)
    found = suspects(logits.softmax(1), label)
    assert found[:100].float().mean() > 0.8
    assert found[100:].float().mean() < 0.02


def test_by_hand() -> None:
    """Thresholds are 0.6 and 0.8; the third sample reaches the other class's, the last none."""
    probability = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.7, 0.3]])
    label = torch.tensor([0, 1, 0, 1, 0])
    assert suspects(probability, label).tolist() == [False, False, True, False, False]


def test_a_model_that_agrees_suspects_nothing() -> None:
    assert not suspects(torch.eye(4), torch.arange(4)).any()


def test_shapes() -> None:
    with pytest.raises(UserError, match=r"Expected probabilities \(N, K\)"):
        suspects(torch.rand(3), torch.arange(3))
