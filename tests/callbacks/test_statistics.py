"""Statistics against scipy, scikit-learn, torchmetrics, printed tables and published examples."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from callbacks import statistics as s
from datamodules.errors import UserError

RANDOM = np.random.default_rng(0)


# -- rates ---------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_near_end_of_few_is_poissons(k: int) -> None:
    """So many or more come with 5 % where the mean is n · low; and the same from the other side."""
    n = 50
    assert stats.poisson.sf(k - 1, n * s.rate(k, n).low) == pytest.approx(0.05)
    assert s.rate(n - k, n).high == pytest.approx(1 - s.rate(k, n).low)


# -- medians --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 7, 20, 101, 1000])
def test_ends_of_a_median_are_order_statistics(n: int) -> None:
    """The k-th from either end, with the largest k that leaves 2.5 % outside on each side."""
    low, high = s.median(np.arange(1, n + 1))[1:]
    k = int(low)
    assert high == n + 1 - k
    assert stats.binom.cdf(k - 1, n, 0.5) <= 0.025 < stats.binom.cdf(k, n, 0.5)


@pytest.mark.parametrize("kind", ["normal", "infinite"])
def test_ends_of_a_median_hold_the_true_one(kind: str) -> None:
    """Of 1,000 samples of 50: exactly 96.7 % whatever the distribution, ± 1.7 (3 errors)."""
    values = np.random.default_rng(0).lognormal(size=(1000, 50))
    if kind == "infinite":  # a third was never found
        values[values > np.exp(0.43)] = np.inf
    ends = np.array([s.median(sample) for sample in values])
    holds = ((ends[:, 1] <= 1) & (ends[:, 2] >= 1)).mean()  # a lognormal's median is 1
    assert holds == pytest.approx(1 - 2 * stats.binom.cdf(17, 50, 0.5), abs=0.017)


def test_a_median_of_few_or_of_infinite_values() -> None:
    assert np.isnan(s.median([]).value)
    assert np.isnan(s.median([1, 2, 3, 4, 5]).low)
    assert s.median([1.0] + 9 * [np.inf]).value == np.inf
    assert s.median([1, 2, 3, 4, 5, np.nan, np.inf]) == (3.5, 1, np.inf)


# -- means ---------------------------------------------------------------------------------------


def test_no_samples_is_not_a_number() -> None:
    assert np.isnan(s.rate(0, 0).value)
    assert np.isnan(s.mean([]).value)
    assert np.isnan(s.student([]).value)
    assert np.isnan(s.paired_difference([], []).value)
    assert np.isnan(s.ratio([0, 0], [0, 0]).value)
    assert np.isnan(s.ece([], []))
    assert np.isnan(s.auroc([1.0, 2.0], [1, 1]))
    assert np.isnan(s.aurc([], []))


def test_the_mean_of_symmetrical_values_is_students() -> None:
    half = RANDOM.normal(size=30)
    values = np.concatenate([half, -half]) + 2
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert s.mean(values)[1:] == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("n", [30, 5000])
def test_halls_transformation_takes_the_ends_to_students_quantiles(n: int) -> None:
    """His g (1992): t + k (2t² + 1)/6 + k² t³/27, with k the skewness over √n."""
    values = RANDOM.exponential(size=n)
    found = s.mean(values)
    k = stats.skew(values, bias=False) / n**0.5
    t = (values.mean() - np.array(found[1:])) / stats.sem(values)
    quantile = stats.t.ppf(0.975, n - 1)
    # Not written 2t² + 1: Hall's a = 1/3 and b = 1/6
    transformed = t + k * (t**2 / 3 + 1 / 6) + k**2 * t**3 / 27
    assert transformed == pytest.approx([quantile, -quantile])
    assert found.high - found.value > found.value - found.low, "the long tail is above"


def test_bounded_values_at_their_bounds_have_jeffreys_interval() -> None:
    values = np.repeat([0.0, 2.0], [28, 12])
    found = s.mean(values, resamples=20_000, bounds=(0, 2))
    # 20,000 draws leave about 1 % of the width in an end
    wanted = 2 * stats.beta.ppf([0.025, 0.975], 12.5, 28.5)
    assert found[1:] == pytest.approx(wanted, abs=0.008)


def test_equal_values_have_wide_ends_or_none() -> None:
    found = s.mean(np.zeros(40), resamples=20_000, bounds=(0, 2))
    assert found.low == 0
    assert found.high == pytest.approx(2 * stats.beta.ppf(0.975, 0.5, 40.5), rel=0.05)
    for nothing in (s.mean(np.zeros(40)), s.mean([1.0, 2, 3]), s.student([0.9]), s.student([1, 1])):
        assert np.isfinite(nothing.value)
        assert np.isnan(nothing[1:]).all()


def test_values_outside_their_bounds_are_refused() -> None:
    assert s.mean([0.5, 1 + 1e-7], bounds=(0, 1)).high <= 1, "a rounding error is none"
    with pytest.raises(UserError, match=r"between 0\.5 and 1\.5"):
        s.mean([0.5, 1.5], bounds=(0, 1))


def test_a_mean_that_rests_on_one_value_is_marked() -> None:
    values = RANDOM.normal(1, 0.1, 200)
    assert not s.mean(values).mark
    values[0] = 30
    assert "quarter" in s.mean(values).mark
    assert not s.mean(values, bounds=(0, 100)).mark, "a bound makes the interval hold"


def test_student_is_scipys() -> None:
    values = [0.91, 0.93, 0.88]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert s.student(values)[1:] == pytest.approx((expected.low, expected.high))


def test_additive_draws_and_images_have_the_sum_of_their_variances() -> None:
    a, b = RANDOM.normal(size=(4, 1)), RANDOM.normal(size=(1, 30))
    found = s.crossed_mean(a + b)
    few, many = stats.t.ppf(0.975, [3, 29])
    half = np.sqrt(few**2 * a.var(ddof=1) / 4 + many**2 * b.var(ddof=1) / 30)
    assert found.value == pytest.approx(a.mean() + b.mean())
    assert found.high - found.value == pytest.approx(half)


def test_crossed_answers_that_never_differ_are_one_answer_of_each_image() -> None:
    assert s.crossed_mean(np.ones((5, 40))).low == pytest.approx(40 / (40 + 1.96**2), abs=1e-4)


# -- pairs ---------------------------------------------------------------------------------------


def answers(both: int, one: int, other: int, none: int) -> np.ndarray:
    return np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], [both, one, other, none], axis=1)


def test_mcnemar_is_the_exact_binomial() -> None:
    one, other = answers(50, 30, 12, 0)
    assert s.mcnemar(one, other) == pytest.approx(stats.binomtest(12, 42).pvalue)
    assert s.mcnemar(one, one) == 1.0


def test_paired_difference_of_answers_is_bonett_and_prices() -> None:
    """Their formula by hand for 21 patients, 1 and 7 of them discordant (Bentur et al. 2009)."""
    found = s.paired_difference(*answers(1, 1, 7, 12))
    half = 1.959964 * np.sqrt((10 / 23 - (6 / 23) ** 2) / 23)
    assert found.value == pytest.approx(6 / 21)
    assert found[1:] == pytest.approx((6 / 23 - half, 6 / 23 + half), abs=1e-6)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_no_different_answer_is_no_proof(n: int) -> None:
    found = s.paired_difference(np.ones(n), np.ones(n))
    assert found.high == -found.low == pytest.approx(1.959964 * 2**0.5 / (n + 2))


def test_differences_over_seeds_are_those_of_one_seed_where_seeds_agree() -> None:
    """Of seeds that agree only images vary: Bonett & Price's, but for Student's quantile."""
    one, other = answers(300, 20, 40, 40).astype(float)
    alone = s.paired_difference(one, other)
    assert s.crossed_difference([one], [other]) == alone
    found = s.crossed_difference([one] * 4, [other] * 4)
    assert found == pytest.approx(alone, abs=2e-4)
    same = s.crossed_difference([one] * 4, [one] * 4)
    assert same.high == -same.low == pytest.approx(1.96 * 2**0.5 / 402, rel=0.01)
    worse = s.crossed_difference([one, one, one], [other, other, one])
    assert worse.high - worse.low > alone.high - alone.low, "seeds that differ widen it"


def test_paired_difference_of_averaged_draws_and_of_losses() -> None:
    """Both are that of the mean of differences, for which scipy has Student's interval."""
    n = 4000
    thirds, losses = RANDOM.integers(0, 4, (2, n)) / 3, RANDOM.exponential(size=(2, n))
    for pair, bounds in ((thirds, (0.0, 1.0)), (losses, (0.0, np.inf))):
        found = s.paired_difference(*pair, bounds=bounds)
        expected = stats.ttest_1samp(pair[1] - pair[0], 0).confidence_interval()
        width = expected.high - expected.low
        # 1,000 resamples leave about 3 % of the width in an end
        assert found[1:] == pytest.approx((expected.low, expected.high), abs=0.05 * width)
    same = s.paired_difference(thirds[0], thirds[0])
    assert same.low < 0 < same.high < 0.002
    assert np.isnan(s.paired_difference(losses[0], losses[0], bounds=(0, np.inf)).low)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(s.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(s.holm([0.9, 0.8]), [1.0, 1.0])


def test_tests_hold_their_level_under_the_null() -> None:
    """McNemar's of equal models, and Holm's family of five of them."""
    random = np.random.default_rng(1)
    p = np.array(
        [
            s.mcnemar(*answers(*random.multinomial(200, [0.7, 0.06, 0.06, 0.18])))
            for _ in range(1500)
        ]
    )
    families = p.reshape(-1, 5)
    refused = np.mean([s.holm(family).min() <= 0.05 for family in families])
    # exact tests of whole counts refuse less often; 3 standard errors of 1,500 and of 300 tries
    assert 0.015 < (p <= 0.05).mean() <= 0.05 + 3 * 0.0056
    assert refused <= 0.05 + 3 * 0.0126


# -- ratios --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_ratio_holds_what_a_t_test_does_not_refuse() -> None:
    part, whole = answers(59, 6, 16, 80)
    found = s.ratio(part, whole)
    one, other = np.append(part, [1, 0]), np.append(whole, [0, 1])
    ratios = np.linspace(0.7, 1.1, 4001)
    held = ratios[[stats.ttest_1samp(one - r * other, 0).pvalue >= 0.05 for r in ratios]]
    assert found.value == pytest.approx(65 / 75)
    assert found[1:] == pytest.approx((held.min(), held.max()), abs=1e-4)
    # Fagerland, Lydersen & Laake, 2014, for these data (Cavo et al. 2012): 0.759 to 0.987 by MOVER
    assert found[1:] == pytest.approx((0.759, 0.987), abs=0.015)


def test_a_ratio_of_noise_is_not_told() -> None:
    assert np.isnan(s.ratio(*answers(2, 3, 5, 40))).all(), "too wide"
    assert np.isnan(s.ratio(*answers(0, 40, 1, 40))).all(), "the whole may as well be 0"
    none = s.ratio(*answers(0, 0, 90, 10))
    assert (none.value, none.low) == (0, 0)
    assert 0 < none.high < 0.05
    same = s.ratio(*answers(90, 0, 0, 10))
    assert same.low < 1 < same.high < 1.05
    assert np.isnan(s.worth_telling(s.Interval(0.186, -0.275, 0.647))).all()
    assert s.worth_telling(s.Interval(0.9, 0.66, 1.14)).value == 0.9
    assert s.worth_telling(s.Interval(8.0, 6.5, 9.5)).value == 8
    assert np.isnan(s.worth_telling(s.without_ends(0.9)).value)


# -- calibration ---------------------------------------------------------------------------------


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


def test_ece_of_one_bin_has_the_interval_of_its_accuracy() -> None:
    """All confidences are .9: the error is how far below it a binomial share lies."""
    correct = np.arange(600) < 420
    found = s.ece_interval(np.full(600, 0.9), correct, resamples=4000)
    accuracy = stats.binomtest(420, 600).proportion_ci(0.95, "wilson")
    # 4,000 resamples leave about 3 % of the half width of .037 in an end
    assert found.value == pytest.approx(0.2)
    assert found[1:] == pytest.approx((0.9 - accuracy.high, 0.9 - accuracy.low), abs=0.004)


def test_ece_of_a_calibrated_model_may_be_nothing_and_says_so() -> None:
    confidence = RANDOM.uniform(0.3, 1, 60)
    found = s.ece_interval(confidence, RANDOM.random(60) < confidence)
    assert found.low == 0
    assert np.isnan(s.ece_interval(confidence[:5], [1, 1, 0, 1, 1]).low)
    lucky = s.ece_interval(np.tile(np.linspace(0.35, 0.95, 10), 3), np.tile([1, 0, 1], 10))
    assert bool(lucky.mark) == (lucky.high < lucky.value)


# -- ranking -------------------------------------------------------------------------------------


def test_auroc_of_raw_scores() -> None:
    score, positive = RANDOM.normal(size=500) * 50, RANDOM.random(500) < 0.3
    assert s.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))


@pytest.mark.slow
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


def test_perfect_separation_has_one_side() -> None:
    """The rarer the kind, the wider; never below what a rate of so many would allow."""
    widths = []
    for few in (2, 10, 100):
        found = s.auroc_interval(np.arange(200), np.arange(200) >= 200 - few)
        assert (found.value, found.high) == (1, pytest.approx(1))
        widths.append(1 - found.low)
        opposite = s.auroc_interval(-np.arange(200), np.arange(200) >= 200 - few)
        assert opposite[:2] == (0, pytest.approx(0, abs=1e-12))
        assert opposite.high == pytest.approx(1 - found.low)
    assert widths[0] > 0.5 > widths[1] > 0.1 > widths[2] > 0.01


@pytest.mark.parametrize("positive", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]])
def test_auroc_of_one_or_none_of_a_kind_has_no_interval(positive: list[int]) -> None:
    assert np.isnan(s.auroc_interval([1, 2, 3, 4], positive).low)
    equal = s.auroc_interval([3, 3, 3, 3], [0, 0, 1, 1])
    assert equal.value == 0.5
    assert np.isnan(equal.low)


@pytest.mark.parametrize("positives", [5, 19, 20, 21, 40, 100, 137, 1000])
def test_fpr95_is_the_first_point_of_scikit_learns_curve(positives: int) -> None:
    score = np.round(RANDOM.normal(size=positives + 300) * 5)  # with ties
    label = np.arange(len(score)) < positives
    false, true, _ = roc_curve(label, score, drop_intermediate=False)
    # A share of exactly .95 may be a rounding error below it.
    assert s.fpr95(score, label) == pytest.approx(false[true >= 0.95 - 1e-12][0])


def test_fpr95_and_aurc_by_hand() -> None:
    assert s.fpr95([5, 6, 7, 1, 5.5], [1, 1, 1, 0, 0]) == 0.5
    # one of twenty may be missed: the threshold is the second lowest
    assert s.fpr95([*range(1, 21), 1.5, 0.5], [1] * 20 + [0, 0]) == 0
    # errors in order of confidence: right, wrong, right -> 0, 1/2, 1/3
    assert s.aurc([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_aurc_interval_is_the_jackknifes_of_samples_left_out_one_by_one() -> None:
    confidence = RANDOM.normal(size=60)
    correct = (RANDOM.random(60) < 0.7).astype(float)
    order = (-confidence).argsort()
    with_half = np.insert(correct[order], 30, 0.5)  # half an error of middling confidence
    rank = -np.arange(61)
    whole = s.aurc(rank, with_half)
    left_out = [s.aurc(np.delete(rank, i), np.delete(with_half, i)) for i in range(61)]
    parts = 61 * whole - 60 * np.array(left_out)
    value, low, high = s.aurc_interval(confidence, correct)
    k = stats.skew(parts, bias=False) / 61**0.5
    t = (value - np.array([low, high])) / stats.sem(parts)
    quantile = stats.t.ppf(0.975, 60)
    assert t + k * (t**2 / 3 + 1 / 6) + k**2 * t**3 / 27 == pytest.approx([quantile, -quantile])


def test_no_error_leaves_a_doubt_about_the_risk() -> None:
    found = s.aurc_interval(np.arange(100), np.ones(100))
    assert (found.value, found.low) == (0, 0)
    assert 0 < found.high < 0.1
    assert np.isnan(s.aurc_interval([1, 2, 3], [1, 1, 0]).low)


# -- what all share ------------------------------------------------------------------------------


def test_an_interval_is_three_numbers_and_may_carry_a_mark() -> None:
    found = s.Interval(1.0, 0.5, 2.0).marked("why")
    value, low, high = found
    assert (value, low, high) == found == s.Interval(1.0, 0.5, 2.0)
    assert found.columns("acc") == {"acc": 1.0, "acc_low": 0.5, "acc_high": 2.0}
    assert str(found) == "1 [0.5, 2]"
    assert pickle.loads(pickle.dumps(found)).mark == "why"
    assert s.marks({"loss": found, "acc": s.NOTHING, "ece": found}) == "loss: why; ece: why"


def test_draws_widen_what_images_leave_open() -> None:
    one = s.Interval(0.3, 0.2, 0.4)
    assert s.over_draws([one]) == one
    assert s.over_draws([one, s.NOTHING]) == one
    assert s.over_draws([one, one, one]) == pytest.approx(one)
    found = s.over_draws([one, s.Interval(0.5, 0.4, 0.6)])
    draws = stats.t.ppf(0.975, 1) * 0.1  # standard error of 0.3 and 0.5
    assert found == pytest.approx((0.4, 0.4 - np.hypot(0.1, draws), 0.4 + np.hypot(0.1, draws)))
    assert np.isnan(s.over_draws([s.NOTHING, s.NOTHING]).value)


def curve(*accuracies: float) -> list[s.Interval]:
    return [s.Interval(one, one - 0.1, one + 0.1) for one in accuracies]


def test_half_is_gone_between_two_measured_severities() -> None:
    found = s.half_severity([1, 2, 4], curve(0.9, 0.6, 0.2), start=0.8)
    assert found is not None
    # .6 to .2 over 2: .4 is half way; the lower curve .5 to .1 falls to .4 after a quarter of it
    assert found == pytest.approx((3, 2.5, 3.5))


@pytest.mark.parametrize("accuracies", [(0.39, 0.2, 0.1), (0.9, 0.8, 0.41)])
def test_half_is_told_of_no_severity_that_was_not_measured(accuracies: tuple[float, ...]) -> None:
    assert s.half_severity([1, 2, 4], curve(*accuracies), start=0.8) is None
    assert s.half_severity([], [], start=0.8) is None


def test_an_end_outside_of_what_was_measured_is_none() -> None:
    found = s.half_severity([1, 2], curve(0.45, 0.2), start=0.8)
    assert found is not None
    assert 1 < found.value < 2
    assert np.isnan(found.low)
    assert 1 < found.high < 2


@pytest.mark.parametrize(("k", "n"), [(0, 12), (5, 12), (12, 12), (3, 2000)])
def test_a_mean_of_zeros_and_ones_is_a_rate(k: int, n: int) -> None:
    values = np.repeat([1.0, 0.0], [k, n - k])
    assert s.mean(values, bounds=(0, 1)) == s.rate(k, n)


def test_an_error_without_noise_in_its_bins_lies_in_its_interval() -> None:
    """All right: the error is 1 - the mean confidence, summed in two orders."""
    confidence = np.random.default_rng(0).uniform(0.3, 0.8, 80)
    found = s.ece_interval(confidence, np.ones(80))
    assert found.value == pytest.approx(1 - confidence.mean())
    assert found.high >= found.value
    assert not found.mark
