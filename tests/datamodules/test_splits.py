import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedShuffleSplit
from torch import Tensor

from datamodules.errors import UserError
from datamodules.splits import limited, stratified_order, stratified_split


def labels(*counts: int) -> Tensor:
    """Mixed labels with so many samples of each class."""
    label = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return label[torch.randperm(len(label), generator=torch.Generator().manual_seed(1))]


CASES = {
    "balanced": labels(100, 100, 100),
    "ten to one": labels(200, 20),
    "a rare class": labels(60, 50, 1),
    "an absent class": labels(30, 0, 40),
    "one class": labels(50),
    "many classes": labels(*[3] * 50),
}


@pytest.mark.parametrize("label", CASES.values(), ids=CASES)
def test_every_beginning_holds_each_class_in_its_share(label: Tensor) -> None:
    order = stratified_order(label, seed=0)
    assert order.sort().values.equal(torch.arange(len(label)))
    counts = label.bincount()
    bound = 0.5 + (1 + (counts > 0).sum()) * counts / (2 * len(label))
    for n in range(1, len(label)):
        expected = n * counts / len(label)
        got = label[order[:n]].bincount(minlength=len(counts))
        assert ((got - expected).abs() <= bound + 1e-6).all()


@pytest.mark.parametrize("label", [CASES["balanced"], CASES["ten to one"]])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_counts_are_those_of_scikit_learn(label: Tensor, fraction: float) -> None:
    theirs = StratifiedShuffleSplit(1, test_size=fraction, random_state=0)
    _, second = next(theirs.split(label.numpy(), label.numpy()))
    first, ours = stratified_split(label, fraction, seed=0)
    assert np.array_equal(label[ours].bincount(), np.bincount(label.numpy()[second]))
    assert torch.cat([first, ours]).sort().values.equal(torch.arange(len(label)))


def test_every_position_is_equally_likely() -> None:
    label = labels(20, 10)
    chosen = torch.zeros(30)
    for seed in range(2000):
        chosen[limited(label, 6, seed)] += 1
    # 6 of 30: each 400 times, standard deviation 18.
    assert (chosen - 400).abs().max() < 4.5 * 18


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 49, 150, 1000])
def test_a_larger_limit_keeps_the_smaller_ones(limit: int) -> None:
    label = CASES["many classes"]
    small, large = limited(label, limit, seed=5), limited(label, limit + 1, seed=5)
    assert len(small) == min(limit, 150)
    assert set(small.tolist()) <= set(large.tolist())
    assert small.equal(small.sort().values)


def test_too_few_images() -> None:
    message = "Expected more than 3 images of 3 classes to split 10% off, but got 3: give more"
    with pytest.raises(UserError, match=message):
        stratified_split(labels(1, 1, 1), 0.1, seed=0)
