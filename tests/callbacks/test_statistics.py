"""Statistics against scipy, scikit-learn, torchmetrics and printed tables."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from callbacks import statistics as s

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("n", "half"), [(100, 0.096), (500, 0.044), (1000, 0.031), (5000, 0.014), (10000, 0.0098)]
)
def test_wilson_half_widths_of_the_reference_table(n: int, half: float) -> None:
    interval = s.rate(n // 2, n)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, abs=5e-4)


@pytest.mark.parametrize(
    ("n", "bound"), [(100, 0.037), (500, 0.0076), (1000, 0.0038), (10000, 0.00038)]
)
def test_upper_bound_at_nothing_is_exact(n: int, bound: float) -> None:
    # The table's values are one-sided... two-sided 97.5 % of Clopper & Pearson: 1 - 0.025^(1/n).
    interval = s.rate(0, n)
    assert interval.low == 0
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / n), rel=1e-9)
    assert interval.high == pytest.approx(bound, rel=0.05)


def test_wilson_by_formula() -> None:
    k, n, z = 37, 80, stats.norm.ppf(0.975)
    p = k / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    np.testing.assert_allclose(s.rate(k, n)[1:], (centre - half, centre + half))


def test_no_samples_is_not_a_number() -> None:
    assert np.isnan(s.rate(0, 0).value)
    assert np.isnan(s.mean([]).value)
    assert np.isnan(s.ece([], []))
    assert np.isnan(s.auroc([1.0, 2.0], [1, 1]))
    assert np.isnan(s.aurc([], []))


@pytest.mark.parametrize("n", [40, 5000])
def test_mean_interval_is_scipys_bootstrap(n: int) -> None:
    values = RANDOM.exponential(size=n)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=2000
    ).confidence_interval
    interval = s.mean(values)
    width = expected.high - expected.low
    assert interval.value == pytest.approx(values.mean())
    # two bootstraps of 1,000 and 2,000 resamples differ by some per cent of their width
    assert interval.low == pytest.approx(expected.low, abs=0.15 * width)
    assert interval.high == pytest.approx(expected.high, abs=0.15 * width)


def test_mcnemar_is_the_exact_binomial() -> None:
    one, other = np.array([1] * 30 + [0] * 12 + [1] * 50), np.array([0] * 30 + [1] * 12 + [1] * 50)
    assert s.mcnemar(one, other) == pytest.approx(stats.binomtest(12, 42).pvalue)
    assert s.mcnemar(one, one) == 1.0


def test_paired_difference_covers_the_truth() -> None:
    one = RANDOM.random(4000) < 0.7
    other = one & (RANDOM.random(4000) < 0.9)
    interval = s.paired_difference(one, other)
    assert interval.value == pytest.approx(other.mean() - one.mean())
    assert interval.low < -0.07 < interval.high
    difference = other.astype(float) - one
    half = 1.96 * difference.std() / 4000**0.5
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(s.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(s.holm([0.9, 0.8]), [1.0, 1.0])


def test_ece_is_torchmetrics() -> None:
    logits = torch.randn(3000, 10, generator=torch.Generator().manual_seed(0)) * 3
    label = torch.randint(10, (3000,), generator=torch.Generator().manual_seed(1))
    probability = logits.softmax(1)
    expected = multiclass_calibration_error(probability, label, 10, n_bins=15)
    correct = probability.argmax(1) == label
    assert s.ece(probability.amax(1), correct) == pytest.approx(float(expected), abs=1e-6)


def test_adaptive_ece_by_hand() -> None:
    confidence, correct = [0.6, 0.7, 0.8, 0.9], [0, 1, 1, 1]
    # two bins of two: |0.5 - 0.65| and |1 - 0.85|
    assert s.adaptive_ece(confidence, correct, bins=2) == pytest.approx(0.15)


def test_auroc_of_raw_scores() -> None:
    score, positive = RANDOM.normal(size=500) * 50, RANDOM.random(500) < 0.3
    assert s.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_fpr95_and_aurc_by_hand() -> None:
    assert s.fpr95([5, 6, 7, 1, 5.5], [1, 1, 1, 0, 0]) == 0.5
    # errors in order of confidence: right, wrong, right -> 0, 1/2, 1/3
    assert s.aurc([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_ece_interval_is_scipys_basic_bootstrap() -> None:
    confidence = RANDOM.uniform(0.4, 1, 400)
    correct = RANDOM.random(400) < confidence - 0.2
    found = s.ece_interval(confidence, correct, resamples=2000)
    expected = stats.bootstrap(
        (confidence, correct), s.ece, paired=True, vectorized=False, method="basic",
        n_resamples=2000, random_state=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.value == s.ece(confidence, correct)
    assert found[1:] == pytest.approx(expected, abs=0.005)


def test_auroc_interval_agrees_with_a_bootstrap_of_scikit_learn() -> None:
    positive = RANDOM.random(600) < 0.3
    score = np.round(RANDOM.normal(size=600) + positive, 1)  # with ties
    found = s.auroc_interval(score, positive)
    expected = stats.bootstrap(
        (positive, score), roc_auc_score, paired=True, vectorized=False, method="percentile",
        n_resamples=1000, random_state=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.value == pytest.approx(roc_auc_score(positive, score))
    assert found[1:] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("positive", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]])
def test_auroc_without_spread_has_no_interval(positive: list[int]) -> None:
    assert np.isnan(s.auroc_interval([1, 2, 3, 4], positive).low)
