"""Failure detection, the monitorability score and the budget: closed forms and stated bars."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from callbacks.monitoring.budget import BUDGETS, Item, best_panel, check_count
from callbacks.monitoring.failure import (
    augrc,
    certainty,
    excess_aurc,
    failure_table,
)
from callbacks.monitoring.score import PARTS, Evidence, FailureEvidence, monitorability
from callbacks.statistics import aurc, aurc_interval, auroc_interval
from datamodules import UserError

N = 1000


def perfect(error: float, n: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    correct = np.arange(n) >= error * n
    return correct.astype(float) + np.arange(n) / n / 10, correct


@pytest.mark.parametrize(("error", "value"), [(0.05, 0.00127), (0.2388, 0.0311)])
def test_best_aurc(error: float, value: float) -> None:
    confidence, correct = perfect(error)
    # e + (1 - e) ln(1 - e), the reference's values to their last digit
    assert aurc(confidence, correct) == pytest.approx(value, abs=6e-6 if error < 0.1 else 6e-5)
    assert excess_aurc(confidence, correct) == pytest.approx(0, abs=1e-12)
    assert augrc(confidence, correct) == pytest.approx(error**2 / 2, abs=1e-5)


@pytest.mark.parametrize("error", [0.05, 0.3])
def test_random_confidence(error: float) -> None:
    random = np.random.default_rng(0)
    correct = random.random(100_000) >= error
    confidence = random.random(100_000)
    assert aurc(confidence, correct) == pytest.approx(error, abs=0.01)
    assert augrc(confidence, correct) == pytest.approx(error / 2, abs=0.005)
    assert excess_aurc(confidence, correct) == pytest.approx(
        error - error - (1 - error) * np.log(1 - error), abs=0.01
    )


def test_table_of_rows() -> None:
    random = np.random.default_rng(0)
    correct = random.random(400) > 0.2
    confidence = np.clip(0.5 + 0.3 * correct + 0.1 * random.normal(size=400), 0.1, 1)
    rows = pd.DataFrame(
        {
            "setting": np.repeat(["clean", "pgd"], 200), "severity": np.repeat([0, 8], 200),
            "value": np.repeat([0.0, 0.03], 200), "confidence": confidence, "correct": correct,
            "logsumexp": -confidence,
        }
    )  # fmt: skip
    table = failure_table(rows)
    assert table["setting"].tolist() == ["clean", "pgd"]
    assert table["errors"].sum() == (~correct).sum()
    assert (table["error_auroc"] > 0.8).all()
    assert (table["aurc_low"] <= table["aurc"]).all()
    assert (table["aurc"] <= table["aurc_high"]).all()
    assert (failure_table(rows, "logsumexp")["error_auroc"] < 0.2).all()
    low, high = aurc_interval(confidence, correct)[1:]
    assert low < high


def test_logits_beyond_float32_still_tell_errors() -> None:
    """Softmax of logits 40 times as large is 1.0 for nearly all; ranks are those of the logits."""
    random = np.random.default_rng(0)
    n = 4000
    margin = np.abs(random.normal(2, 1, n))
    correct = random.random(n) < 1 / (1 + np.exp(-2 * margin))
    tables = []
    for scale in (1, 40):
        confidence = np.float32(1) / (1 + np.exp(np.float32(-scale) * margin.astype(np.float32)))
        rows = {"setting": "clean", "severity": 0, "value": 0.0, "confidence": confidence,
                "correct": correct, "logsumexp": scale * margin}  # fmt: skip
        tables.append(failure_table(pd.DataFrame(rows))["error_auroc"][0])
    assert (confidence == 1).mean() > 0.9
    assert tables[0] > 0.7
    assert tables[1] == pytest.approx(tables[0], abs=0.01), "just below 1 some ties are left"


def test_certainty_keeps_real_ties_and_gaps() -> None:
    rows = pd.DataFrame(
        {"confidence": [0.5, 0.5, 1.0, 1.0, np.nan, 1.0], "logsumexp": [1, 2, 9, 8, 3, 9.0]}
    )
    assert certainty(rows).tolist()[:4] == [0, 0, 2, 1]
    assert np.isnan(certainty(rows)[4])
    assert certainty(rows)[5] == 2


# -- the score -----------------------------------------------------------------------------------


def evidence(part: float, noise: float = 0.25, n: int = N, seed: int = 0) -> dict:
    """Every part measured at `part` on its own 0..1 scale, with realistic scatter."""
    random = np.random.default_rng(seed)
    index = np.arange(n)

    def around(value: float) -> np.ndarray:
        return value + noise * random.normal(size=n)

    shift = norm.ppf((1 + part) / 2) * 2**0.5 if part < 1 else 50
    rows = 10 * n  # clean rows cost nothing: a data set has more of them than are explained
    correct = random.random(rows) > 0.1
    return {
        "faithfulness": Evidence(around(0.9 * part), around(0.0), 0.9, index),
        "stability": Evidence(around(1.4 * (1 - part)), around(1.4), 0.0, index),
        "randomisation": Evidence(around(1 - part), np.ones(n), 0.0, index),
        "surrogate": Evidence(around(part), np.zeros(n), 1.0, index),
        "units": Evidence(random.random(512) < part, np.zeros(512), 1.0),
        "failure": FailureEvidence(
            shift * correct + random.normal(size=rows), correct, np.arange(rows)
        ),
    }


def test_ideals_score_one() -> None:
    found = monitorability(evidence(1.0, noise=0.0), resamples=20)
    assert found.value.value == pytest.approx(1, abs=1e-3)
    for part in found.parts:
        assert part.value.value == pytest.approx(1, abs=1e-3), part.name


def test_random_controls_score_zero() -> None:
    found = monitorability(evidence(0.0), resamples=20)
    for part in found.parts:
        assert part.value.value == pytest.approx(0, abs=0.1 if part.name == "failure" else 0.05)
    assert found.value.value < 0.05


@pytest.mark.parametrize("level", [0.3, 0.5, 0.8])
def test_plain_mean_and_interval(level: float) -> None:
    found = monitorability(evidence(level), resamples=200)
    assert found.value.value == pytest.approx(np.mean([p.value.value for p in found.parts]))
    half = (found.value.high - found.value.low) / 2
    assert half <= 0.02, "the bar of the issue for 1,000 images"
    # every part was made at `level`; four half-widths hold in 1 of 10^14
    assert found.value.value == pytest.approx(level, abs=max(2 * half, 0.02))


def test_interval_covers() -> None:
    """95 % of intervals of fresh samples hold the truth; 60 tries, 3 % standard error."""
    hits = []
    for seed in range(60):
        value = monitorability(evidence(0.5, n=150, seed=seed), resamples=60).value
        hits.append(value.low <= 0.5 <= value.high)
    assert np.mean(hits) > 0.85


def test_parts_go_with_the_score() -> None:
    found = monitorability(evidence(0.5), resamples=20)
    assert list(found.table()["part"]) == [*PARTS, "monitorability"]
    assert {"measured", "control", "ideal", "scale"} <= set(found.table())
    assert all(name in str(found) for name in PARTS)


def test_images_are_resampled_together() -> None:
    """Parts that agree image by image leave more doubt than parts that do not."""
    random = np.random.default_rng(0)
    same = random.normal(0.5, 0.3, N)
    shared, apart = evidence(1.0), evidence(1.0)
    for name in ("faithfulness", "randomisation", "surrogate"):
        shared[name] = Evidence(same, np.zeros(N), 1.0, np.arange(N))
        apart[name] = Evidence(random.permutation(same), np.zeros(N), 1.0, np.arange(N))
    widths = [np.subtract(*monitorability(e).value[:0:-1]) for e in (shared, apart)]
    assert widths[0] > 1.3 * widths[1], "√3 for three equal parts among sharp ones"


def test_missing_parts_are_refused() -> None:
    part = evidence(0.5)
    with pytest.raises(UserError, match="units is missing"):
        monitorability({name: one for name, one in part.items() if name != "units"})


def test_an_undefined_part_makes_no_score() -> None:
    """Neither 0 nor 1 nor a mean of the others, which stay readable."""
    part = evidence(0.5)
    faultless = FailureEvidence(np.arange(N) / N, np.ones(N), np.arange(N))
    for name, one in {
        "units": Evidence([np.nan], [0.0], 1.0),
        "stability": Evidence(np.full(N, np.nan), np.ones(N), 0.0, np.arange(N)),
        "failure": faultless,
    }.items():
        found = monitorability({**part, name: one}, resamples=20)
        assert np.isnan(found.value).all()
        for other in found.parts:
            assert np.isnan(other.value).all() == (other.name == name)


def test_one_error_leaves_a_doubt() -> None:
    """An AUROC of 1 from one error or a hundred: what is seen is the same, what is known not."""
    widths = []
    for errors in (1, 10, 100):
        sure = FailureEvidence(np.arange(N), np.arange(N) >= errors, np.arange(N))
        found = monitorability({**evidence(0.5), "failure": sure}, resamples=400).parts[-1].value
        assert found.value == 1
        widths.append(1 - found.low)
    assert widths[0] > 0.5 > 0.3 > widths[1] > 0.1 > widths[2] > 0


def test_few_images_have_no_interval() -> None:
    """One image said .950 [.948, .951] of a network: now it says .950."""
    few = np.arange(3)
    part = evidence(0.95)
    part["stability"] = Evidence(np.full(3, 0.07), np.full(3, 1.4), 0.0, few)
    found = monitorability(part, resamples=50)
    assert found.value.value == pytest.approx(0.95, abs=0.02)
    assert np.isnan(found.value[1:]).all()
    for one in found.parts:
        assert np.isnan(one.value.low) == (one.name == "stability")


@pytest.mark.parametrize("errors", [2, 5, 20])
def test_few_errors_widen_the_failure_part(errors: int) -> None:
    """As far as the AUROC's own interval: a bootstrap of two errors knows of no third."""
    random = np.random.default_rng(errors)
    correct = np.arange(N) >= errors
    confidence = random.normal(size=N) + correct
    rows = FailureEvidence(confidence, correct, np.arange(N))
    found = monitorability({**evidence(0.5), "failure": rows}, resamples=200).parts[-1].value
    own = auroc_interval(-confidence, ~correct)
    half = own.high - own.low  # of twice the AUROC
    assert found.low == pytest.approx(max(0, found.value - half), abs=0.02)


def test_not_finite_rows_are_left_out() -> None:
    part = evidence(0.5)
    values = np.asarray(part["surrogate"].measured).copy()
    values[:10] = np.nan
    part["surrogate"] = Evidence(values, np.zeros(N), 1.0, np.arange(N))
    found = monitorability(part, resamples=20)
    assert {p.name: p.n for p in found.parts}["surrogate"] == N - 10


# -- the budget ----------------------------------------------------------------------------------

PANEL = [
    Item("faithfulness", 131, N, 0.3),
    Item("stability", 63, N, 0.2),
    Item("randomisation", 6, N, 0.2),
    Item("surrogate", 500, N, 0.25),
    Item("units", 1536, 64, 0.5),
    Item("failure", 0, N, 0.5),
]


@pytest.mark.parametrize("forwards", BUDGETS)
def test_budget_is_kept_and_used(forwards: int) -> None:
    plan = best_panel(PANEL, N, forwards)
    assert plan.predicted <= forwards * N
    rest = forwards * N - plan.predicted
    full = all(plan.counts[one.name] == one.available for one in PANEL)
    assert full or rest < sum(one.cost for one in PANEL), "another image of each would not fit"
    assert plan.counts["failure"] == N
    check_count(plan, plan.predicted - 20, 10)
    with pytest.raises(RuntimeError, match="counted"):
        check_count(plan, plan.predicted, 1)


def test_more_budget_never_measures_less_and_narrows() -> None:
    plans = [best_panel(PANEL, N, forwards) for forwards in BUDGETS]
    for small, large in itertools.pairwise(plans):
        assert all(small.counts[one.name] <= large.counts[one.name] for one in PANEL)
        assert small.half_width > large.half_width


def test_allocation_is_neymans() -> None:
    """No other split of the same cost has a smaller predicted variance (scipy's optimum)."""
    from scipy.optimize import minimize

    items = [Item("a", 10, 10**6, 0.3), Item("b", 90, 10**6, 0.1), Item("c", 40, 10**6, 0.5)]
    plan = best_panel(items, 1000, 100)
    cost, spread = np.array([i.cost for i in items]), np.array([i.spread for i in items])

    def variance(share: np.ndarray) -> float:
        part = np.exp(share) / np.exp(share).sum()
        return float((spread**2 / (part * 100_000 / cost)).sum())

    best = minimize(variance, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6}).fun
    mine = sum(i.spread**2 / plan.counts[i.name] for i in items)
    assert mine == pytest.approx(best, rel=2e-3)  # counts are whole images


def test_too_small_a_budget_says_what_would_do() -> None:
    with pytest.raises(UserError, match="at least 23 forwards an image"):
        best_panel(PANEL, N, 5)


def test_a_part_below_its_control_is_0_without_certain_ends() -> None:
    """2·.30 - 1 is clipped; 0.000 to 0.000 would claim to be certain. The score keeps its ends."""
    random = np.random.default_rng(0)
    correct = random.random(1000) > 0.2
    index = np.arange(1000)
    half = Evidence(0.5 + 0.05 * random.normal(size=1000), 0.0, 1.0, index)
    failure = FailureEvidence(random.normal(size=1000) - 0.7 * correct, correct, index)
    score = monitorability({**dict.fromkeys(PARTS, half), "failure": failure}, resamples=200)
    part = score.parts[list(PARTS).index("failure")]
    assert part.below
    assert part.value.value == 0
    assert np.isnan(part.value.low)
    assert part.measured == pytest.approx(0.31, abs=0.05)
    assert score.value.low < score.value.value < score.value.high
    assert score.value.value == pytest.approx(2.5 / 6, abs=0.01)
