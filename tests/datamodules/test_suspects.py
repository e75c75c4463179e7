"""Confident learning on probabilities whose answer is known."""

import pytest
import torch

from datamodules.errors import UserError
from datamodules.folds import Predict, folds, out_of_sample
from datamodules.suspects import confident_joint, suspects


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


def noisy(seed: int, n: int, classes: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    true = torch.randint(classes, (n,), generator=draw)
    flipped = torch.rand(n, generator=draw) < share
    label = torch.where(flipped, (true + 1) % classes, true)
    logits = 2.0 * torch.nn.functional.one_hot(true, classes)
    return (logits + torch.randn(n, classes, generator=draw)).double().softmax(1), label


# What cleanlab 2.9.0's find_label_issues(filter_by=...) marks in noisy(0, 60, 3, 0.2).
CLEANLAB = {
    "joint": [6, 17, 19, 20, 34, 38, 44, 46, 47, 52],
    "noise_rate": [6, 17, 19, 20, 21, 25, 34, 38, 44, 46, 47, 52, 55],
}


@pytest.mark.parametrize("by", CLEANLAB)
def test_the_same_are_suspected_as_by_cleanlab(by: str) -> None:
    found = suspects(*noisy(0, 60, 3, 0.2), by=by)  # type: ignore[arg-type]
    assert found.nonzero()[:, 0].tolist() == CLEANLAB[by]


def test_rows_of_the_joint_are_how_often_a_label_is_given() -> None:
    probability, label = noisy(1, 500, 5, 0.2)
    torch.testing.assert_close(
        confident_joint(probability, label).sum(1), label.bincount().double()
    )


def test_every_sample_is_answered_by_a_model_that_has_not_seen_it() -> None:
    label = torch.arange(23) % 3
    seen: list[torch.Tensor] = []

    def fit(rows: torch.Tensor) -> Predict:
        seen.append(rows)

        def predict(asked: torch.Tensor) -> torch.Tensor:
            assert not torch.isin(asked, rows).any()
            return asked[:, None].double().expand(-1, 3)

        return predict

    found = out_of_sample(fit, label, 4)
    assert found[:, 0].tolist() == list(range(23)), "answers stand at their samples"
    assert len(seen) == 4
    parts = folds(label, 4)
    assert torch.cat(parts).sort().values.tolist() == list(range(23))
    for part in parts:
        counts = label[part].bincount(minlength=3)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("count", [1, 24])
def test_folds_that_are_none(count: int) -> None:
    with pytest.raises(UserError, match="Expected `count` of folds from 2 to 23"):
        folds(torch.zeros(23).long(), count)
