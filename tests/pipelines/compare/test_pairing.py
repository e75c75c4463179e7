"""Paired numbers against a computation by hand, and against chance: what is stated must hold."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from callbacks.results import ProbeResult
from pipelines.compare.changed_sides import changed_sides
from pipelines.compare.leaderboard import leaderboard, rank_intervals, resampled_means
from pipelines.compare.pairing import answers, corrected, differences, with_worst_cases
from pipelines.evaluate.result import Evaluation

MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def pair(made_evaluation: MakeEvaluation) -> tuple[list[ProbeResult], list[ProbeResult]]:
    one, other = made_evaluation("one", 1.0), made_evaluation("other", 0.6)
    shuffled = [replace(r, rows=r.rows.sample(frac=1, random_state=1)) for r in other.results]
    return [*map(answers, one.results)], [*map(answers, shuffled)]


def by_hand_mcnemar(fixed: int, broken: int) -> float:
    """Twice the tail of fair coins, summed."""
    n, few = fixed + broken, min(fixed, broken)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n)


def by_hand_holm(p_values: list[float]) -> set[int]:
    """Which tests Holm's step-down procedure rejects at 5 %, from its definition."""
    rejected: set[int] = set()
    for i in sorted(range(len(p_values)), key=p_values.__getitem__):
        if p_values[i] > 0.05 / (len(p_values) - len(rejected)):
            break
        rejected.add(i)
    return rejected


def test_differences_are_those_computed_by_hand(
    pair: tuple[list[ProbeResult], list[ProbeResult]],
) -> None:
    table = corrected([differences(*pair)])
    assert len(table) == 7
    assert list(table["headline"]) == [True, False, False, True, False, False, True]
    for line in table.itertuples():
        a, b = (
            next(r for r in side if r.name == line.probe).at(line.severity).set_index("index")
            for side in pair
        )
        a, b = a.sort_index()["correct"] == 1, b.sort_index()["correct"] == 1
        assert line.difference == pytest.approx(b.mean() - a.mean())
        assert (line.fixed, line.broken) == ((b & ~a).sum(), (a & ~b).sum())
        assert line.p == pytest.approx(by_hand_mcnemar(line.fixed, line.broken))
        assert line.low <= line.difference <= line.high
    assert {*np.flatnonzero(table["verdict"] != "")} == by_hand_holm(table["p"].tolist())


def test_losses_are_paired(pair: tuple[list[ProbeResult], list[ProbeResult]]) -> None:
    line = differences(*pair).iloc[-1]
    one, other = (side[-1].at(200).sort_values("index")["loss"].to_numpy() for side in pair)
    drawn = np.random.default_rng(0).choice(other - one, (2000, len(one))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert line["loss_difference"] == pytest.approx((other - one).mean())
    assert line["loss_low"] == pytest.approx(low, abs=0.3 * (high - low))
    assert line["loss_high"] == pytest.approx(high, abs=0.3 * (high - low))


def test_a_loss_that_one_image_decides_is_marked() -> None:
    one, other = (_results(np.ones((1, 50))) for _ in range(2))
    other[0].rows.loc[:, "loss"] = np.linspace(0.9, 1.1, 50)
    assert list(differences(one, other)["marks"]) == [""]
    other[0].rows.loc[7, "loss"] = 40.0
    (mark,) = differences(one, other)["marks"]
    assert mark == "loss_difference: one value makes up a quarter of the spread"


def test_images_that_changed_sides(pair: tuple[list[ProbeResult], list[ProbeResult]]) -> None:
    changed, table = changed_sides(*pair), differences(*pair)
    counts = changed.groupby(["probe", "severity", "change"]).size()
    for line in table.itertuples():
        for kind in ("fixed", "broken"):
            told = counts.get((line.probe, line.severity, kind), 0)
            assert told == getattr(line, kind)
    by_hand = pair[0][2].at(200).merge(pair[1][2].at(200), on=["index", "label"])
    by_hand = by_hand[by_hand["correct_x"] != by_hand["correct_y"]].sort_values("index")
    own = changed[(changed["probe"] == "pgd_linf") & (changed["severity"] == 200)]
    columns = ["index", "label", "prediction_one", "prediction_other"]
    theirs = by_hand[["index", "label", "prediction_x", "prediction_y"]].to_numpy()
    assert (own.sort_values("index")[columns].to_numpy() == theirs).all()


def test_random_draws_count_by_image() -> None:
    rows = pd.DataFrame(
        {
            "setting": "fog", "severity": 1, "value": 1.0, "index": [0, 0, 0, 1, 1, 1],
            "draw": [0, 1, 2] * 2, "label": [3] * 3 + [4] * 3,
            "prediction": [5, 3, 3, 6, 4, 7], "correct": [0, 1, 1, 0, 1, 0],
            "loss": [3.0, 0, 0, 1, 2, 3],
        }
    )  # fmt: skip
    result = ProbeResult("fog", "corruption", "Fog", "severity", "fog", 1.0, rows)
    told = answers(result).rows.set_index("index")
    assert list(told["correct"]) == pytest.approx([2 / 3, 1 / 3])
    assert list(told["prediction"]) == [3, 6]  # the first answer of the majority
    assert list(told["loss"]) == pytest.approx([1, 2])


def test_the_worst_case_is_the_headline_of_the_evaluation(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation()
    worst = with_worst_cases(evaluation.results)[-1]
    own = evaluation.headline()["adversarial_linf_acc"].interval.value
    assert worst.name == "worst_linf"
    assert answers(worst).at(200)["correct"].mean() == pytest.approx(own)


def _null(random: np.random.Generator, n: int, settings: int, models: int) -> np.ndarray:
    """Answers `(models, settings, n)` of models that err equally often, image by image alike."""
    hard = random.beta(2, 1, (settings, n))
    return (random.random((models, settings, n)) < hard).astype(float)


def _results(correct: np.ndarray) -> list[ProbeResult]:
    settings, n = correct.shape
    rows = pd.DataFrame(
        {
            "setting": "pgd", "severity": np.repeat(np.arange(settings), n),
            "value": np.repeat(np.arange(settings, dtype=float), n),
            "index": np.tile(np.arange(n), settings), "label": 0, "prediction": 0,
            "correct": correct.reshape(-1), "loss": 1.0,
        }
    )  # fmt: skip
    return [ProbeResult("pgd", "adversarial", "PGD", "epsilon (L2)", "pgd", None, rows)]


def test_no_more_false_alarms_than_stated() -> None:
    random, tests, rejected, families, studies = np.random.default_rng(0), 0, 0, 0, 60
    for _ in range(studies):
        one, other = _null(random, 200, 6, 2)
        table = corrected([differences(_results(one), _results(other))])
        tests, rejected = tests + len(table), rejected + int((table["p"] < 0.05).sum())
        families += bool((table["verdict"] != "").any())
    assert stats.binomtest(rejected, tests, 0.05, alternative="greater").pvalue > 0.01
    assert stats.binomtest(families, studies, 0.05, alternative="greater").pvalue > 0.01


def test_a_real_difference_is_found() -> None:
    random = np.random.default_rng(0)
    one = _null(random, 2000, 2, 1)[0]
    other = np.where(random.random(one.shape) < 0.1, 1.0, one)  # a tenth of the errors is mended
    table = corrected([differences(_results(one), _results(other))])
    assert list(table["verdict"]) == ["better", "better"]


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2])
def test_rank_intervals_hold_the_true_rank(spread: float) -> None:
    random, held, studies = np.random.default_rng(1), 0, 60
    truth = 0.6 + spread * np.arange(5)[::-1] / 5
    for _ in range(studies):
        shared = random.random((300, 1))
        own = np.where(random.random((300, 5)) < 0.5, shared, random.random((300, 5)))
        values = (own < truth).astype(float)
        low, high = rank_intervals(values, resampled_means(values, resamples=200))
        best = 1 + (truth[2] < truth).sum()  # of models that tie any rank among them is true
        worst = (truth[2] <= truth).sum()
        held += int(low[2] <= worst and high[2] >= best)
    assert stats.binomtest(held, studies, 0.95, alternative="less").pvalue > 0.01


def test_the_leaderboard_is_honest_about_ties() -> None:
    random = np.random.default_rng(0)
    good, bad = (random.random(400) < share for share in (0.9, 0.5))
    values = np.stack([bad, good, good], 1).astype(float)
    board = leaderboard(values, resampled_means(values), ["bad", "good", "same"])
    assert list(board["model"]) == ["good", "same", "bad"]
    assert board[["rank", "rank_low", "rank_high"]].to_numpy().tolist() == [
        [1, 1, 2], [1, 1, 2], [3, 3, 3],
    ]  # fmt: skip
    assert list(board["first"]) == [0.5, 0.5, 0.0]


def test_resamples_are_shared_by_all_models() -> None:
    values = np.random.default_rng(0).random((50, 1)).repeat(2, 1)
    means = resampled_means(values, resamples=2000)
    assert (means[:, 0] == means[:, 1]).all()
    assert means[:, 0].mean() == pytest.approx(values.mean(), abs=0.005)
    assert means[:, 0].std() == pytest.approx(values[:, 0].std() / 50**0.5, rel=0.1)
