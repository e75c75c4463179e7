"""Streaming statistics, dead units, drift of histograms, against numpy, scipy and closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from callbacks.monitoring.dead_units import (
    constant,
    dead_unit_table,
    firing_rate_histogram,
    never_fired_bound,
    silent,
)
from callbacks.monitoring.histogram_drift import (
    equally_filled,
    jensen_shannon_distance,
    psi,
)
from callbacks.monitoring.streaming import LayerStatistics, histogram_edges
from callbacks.monitoring.thresholds import alarm_threshold
from datamodules import UserError


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cuts", [[500], [1, 499], [100, 150, 250], [499, 1]])
@pytest.mark.parametrize("offset", [0.0, 1e4], ids=["centred", "far from zero"])
def test_merged_moments_are_numpys(cuts: list[int], offset: float) -> None:
    values = (normal(500, 7) + offset).double()
    merged, *rest = [LayerStatistics.of(part) for part in values.split(cuts)]
    for one in rest:
        merged = merged + one
    # float64 sums of 500 values; the naive E[x^2] - E[x]^2 would lose eight digits at 1e4
    np.testing.assert_allclose(merged.mean, values.numpy().mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(merged.variance, values.numpy().var(0, ddof=1), rtol=1e-9)
    assert float(merged.count) == 500
    assert float(merged.histogram.sum()) == 3500


def test_merge_is_symmetric() -> None:
    one, other = LayerStatistics.of(normal(40, 3)), LayerStatistics.of(normal(70, 3, seed=1) + 2)
    for a, b in zip(
        (one + other).tensors().values(), (other + one).tensors().values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("q", [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_quantiles(q: float, scale: float) -> None:
    values = (normal(20000, 1) * scale).exp() if scale == 1 else normal(20000, 1) * scale
    found = LayerStatistics.of(values).quantile(q)
    # one bin is 1/16 wide; near zero, where quantiles of a sample are far apart, the scale decides
    assert found == pytest.approx(float(np.quantile(values, q)), rel=1 / 16, abs=0.02 * scale)


def test_zero_rate_and_zero_quantile() -> None:
    values = normal(1000, 2).relu()
    statistics = LayerStatistics.of(values)
    np.testing.assert_allclose(statistics.zero_rate, (values.numpy() == 0).mean(0))
    assert statistics.quantile(0.25) == 0.0


def test_histogram_is_numpys() -> None:
    values = normal(5000, 1) * torch.logspace(-9, 9, 5000)[:, None]
    edges = histogram_edges(torch.device("cpu")).numpy()
    # from the lower edge on, as numpy counts; negative numbers upwards from -edge, by symmetry
    want, _ = np.histogram(values[values > 0], [0, *edges[edges > 0], np.inf])
    found = LayerStatistics.of(values[values > 0][:, None]).histogram
    assert found[len(edges) // 2 :].tolist() == want.tolist()
    mirrored = LayerStatistics.of(-values[values > 0][:, None]).histogram
    assert torch.equal(mirrored, found.flip(0))


def test_edges_ascend_and_what_is_infinite_is_counted() -> None:
    assert (histogram_edges(torch.device("cpu")).diff() > 0).all()
    statistics = LayerStatistics.of(torch.tensor([[float("inf")], [1.0], [-float("inf")]]))
    assert float(statistics.histogram.sum()) == 3
    assert not statistics.mean.isfinite().any()


def test_dead_units() -> None:
    values = torch.stack([torch.zeros(50), torch.full((50,), 2.0), torch.arange(50.0)], 1)
    statistics = LayerStatistics.of(values)
    assert silent(statistics).tolist() == [True, False, False]
    assert constant(statistics).tolist() == [True, True, False]
    assert firing_rate_histogram(statistics).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    (line,) = dead_unit_table({"relu": statistics}, 50).to_dict("records")
    assert (line["units"], line["silent"], line["constant"]) == (3, 1, 2)


@pytest.mark.parametrize("n", [100, 1000, 10000])
def test_rule_of_three(n: int) -> None:
    # Clopper & Pearson's one-sided bound for 0 of n; 3/n is its limit, 0.2 % off for ln 20 = 2.996
    exact = stats.binomtest(0, n, alternative="less").proportion_ci(0.95, "exact").high
    assert never_fired_bound(n) == pytest.approx(exact, rel=1e-9)
    assert never_fired_bound(n) == pytest.approx(3 / n, rel=2 / n + 0.002)


def test_psi_closed_form() -> None:
    p, q = torch.tensor([2e6, 8e6]), torch.tensor([5e6, 5e6])
    want = (0.5 - 0.2) * np.log(0.5 / 0.2) + (0.5 - 0.8) * np.log(0.5 / 0.8)
    assert psi(p, q) == pytest.approx(want, rel=1e-5)  # the half counts move 1e-7
    assert psi(p, p) == 0


def test_jensen_shannon_distance_is_scipys() -> None:
    one, other = normal(400).numpy(), normal(300, seed=1).numpy() + 0.5
    from scipy.spatial.distance import jensenshannon

    coarse = [torch.tensor(np.histogram(x, 12, (-4, 4))[0]) for x in (one, other)]
    want = jensenshannon(coarse[0], coarse[1], base=2)
    assert jensen_shannon_distance(*coarse) == pytest.approx(want, abs=1e-12)


def test_equally_filled() -> None:
    statistics = LayerStatistics.of(normal(10000, 1))
    bins = equally_filled(statistics.histogram, statistics.histogram)
    assert float(bins.sum()) == 10000
    assert float(bins.min()) > 400  # bins of 6 % cannot be exactly a tenth each
    shifted = LayerStatistics.of(normal(10000, 1, seed=1) + 1)
    assert psi(bins, equally_filled(statistics.histogram, shifted.histogram)) > 0.5


def test_alarm_threshold() -> None:
    assert alarm_threshold(torch.arange(1.0, 100.0), 0.05) == 95  # the ⌈100·0.95⌉-th of 99
    with pytest.raises(UserError, match="at least 99 clean scores"):
        alarm_threshold(torch.arange(50.0), 0.01)
    with pytest.raises(UserError, match="in \\(0, 1\\)"):
        alarm_threshold(torch.arange(50.0), 1.5)
