"""Per-sample random numbers: reproducible, uniform, normal, and uncorrelated between samples."""

import numpy as np
import pytest
import torch
from scipy import stats

from callbacks.randomness import Draw
from callbacks.subset import chosen

INDEX = torch.arange(2000)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_numbers_do_not_depend_on_who_else_is_drawn(kind: str) -> None:
    together = getattr(Draw(7, INDEX), kind)("start", 3, (2, 4, 4))
    rows = torch.tensor([1999, 5, 5, 0])
    assert torch.equal(
        getattr(Draw(7, INDEX).select(rows), kind)("start", 3, (2, 4, 4)), together[rows]
    )
    assert torch.equal(getattr(Draw(7, INDEX[rows]), kind)("start", 3, (2, 4, 4)), together[rows])


@pytest.mark.parametrize(
    "other",
    [
        Draw(8, INDEX).uniform("start", 3, (50,)),
        Draw(7 + 2**32, INDEX).uniform("start", 3, (50,)),
        Draw(7, INDEX).uniform("stop", 3, (50,)),
        Draw(7, INDEX).uniform("start", 4, (50,)),
        Draw(7, INDEX + 1).uniform("start", 3, (50,)),
        Draw(7, INDEX + 2**32).uniform("start", 3, (50,)),
    ],
    ids=["seed", "seed high bits", "purpose", "step", "index", "index high bits"],
)
def test_every_key_matters(other: torch.Tensor) -> None:
    one = Draw(7, INDEX).uniform("start", 3, (50,))
    # 100,000 pairs: the correlation of independent numbers has a standard deviation of 0.0032.
    assert abs(np.corrcoef(one.flatten(), other.flatten())[0, 1]) < 5 * 0.0032


def test_step_may_differ_by_sample() -> None:
    steps = torch.tensor([0, 1, 2, 3])
    mixed = Draw(0, INDEX[:4]).uniform("start", steps, (9,))
    for row, step in enumerate(steps.tolist()):
        assert torch.equal(mixed[row], Draw(0, INDEX[:4]).uniform("start", step, (9,))[row])


@pytest.mark.parametrize(("kind", "cdf"), [("uniform", "uniform"), ("normal", "norm")])
def test_distribution_over_positions_and_over_samples(kind: str, cdf: str) -> None:
    numbers = getattr(Draw(1, INDEX), kind)("noise", 0, (200,)).double().numpy()
    assert stats.kstest(numbers.flatten()[:100_000], cdf).pvalue > 1e-3
    assert stats.kstest(numbers[:, 17], cdf).pvalue > 1e-3
    assert np.isfinite(numbers).all()


def test_samples_are_uncorrelated_also_under_a_shift() -> None:
    numbers = Draw(0, torch.arange(300)).normal("noise", 0, (1024,)).numpy()
    pairs = np.corrcoef(numbers)[np.triu_indices(300, 1)]
    assert abs(pairs).max() < 6 / 1024**0.5  # 45,000 pairs: the largest is expected near 4.3 sigma
    assert np.std(pairs) == pytest.approx(1024**-0.5, rel=0.05)
    shifted = np.corrcoef(numbers[:, 1:], numbers[:, :-1])[:300, 300:]
    assert abs(shifted).max() < 6 / 1023**0.5


def test_bits_avalanche() -> None:
    """One more in the index flips each of the 24 bits in half of the samples."""
    index = torch.arange(20_000)
    a, b = (Draw(0, index + i).uniform("bits", 0, ()).mul(2**24).long() for i in (0, 1))
    flips = [((a ^ b) >> bit & 1).double().mean().item() for bit in range(24)]
    assert min(flips) > 0.48  # 20,000 trials: 0.5 ± 5.6 sigma
    assert max(flips) < 0.52


def test_subset_is_the_same_for_any_order_and_nested() -> None:
    index = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    small, large = chosen(index, 100, 3), chosen(index.sort().values, 300, 3)
    assert small is not None
    assert large is not None
    assert set(small.tolist()) < set(large.tolist())
    assert chosen(index, 5000, 3) is None
    assert chosen(index, None, 3) is None
