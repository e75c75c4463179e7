"""What is told of repairs before they are made, against cells whose outcome is a known function."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from callbacks.statistics import student
from pipelines.recover.features import FEATURES
from pipelines.recover.predicted import predictor_section
from pipelines.recover.predictor import errors, held_out, predictions
from pipelines.recover.result import Recoverability
from pipelines.report.result import load_result, save_result, summary_metrics

Make = Callable[..., Recoverability]
KINDS = ("zero", "noise", "sign_flip", "shuffle", "prune", "quantise")
KIND = np.repeat(np.arange(8), 9)


def seen(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((len(KIND), 5))


def test_what_depends_on_the_features_is_told_of_kinds_that_were_not_learnt() -> None:
    values = seen()
    target = 0.2 + 0.6 * values[:, 0] - 0.3 * values[:, 1]
    predicted, mean = held_out(values, target, KIND)
    # Ranks of 63 numbers place another one to about 1 / sqrt(63) / 4 of their range.
    assert np.abs(predicted - target).mean() < 0.03 < 0.15 < np.abs(mean - target).mean()


def test_what_is_noise_is_told_by_the_mean() -> None:
    target = np.random.default_rng(1).normal(0.5, 0.2, len(KIND))
    predicted, mean = held_out(seen(), target, KIND)
    ratio = np.abs(predicted - target).mean() / np.abs(mean - target).mean()
    assert ratio == pytest.approx(1, abs=0.05)


def test_the_mean_is_that_of_the_other_kinds() -> None:
    target = np.where(KIND == 0, 1.0, 0.0)
    mean = held_out(seen(), target, KIND)[1]
    assert mean[KIND == 0] == pytest.approx(0)
    assert mean[KIND == 3] == pytest.approx(9 / 63)


def test_only_ranks_count_and_what_is_infinite_is_the_largest() -> None:
    values, target = seen(), seen()[:, 0]
    stretched = values.copy()
    stretched[:, 0] = 10.0 ** (30 * values[:, 0])
    stretched[values[:, 0].argmax(), 0] = math.inf
    told, asked = (held_out(numbers, target, KIND)[0] for numbers in (values, stretched))
    # Between two ranks the place of another number depends on the scale: at most a rank of 63.
    assert told == pytest.approx(asked, abs=1 / 63)


def make_cells(make: Make, kinds: tuple[str, ...] = KINDS, **more: Any) -> tuple[pd.DataFrame, ...]:
    """Repairs that bring back a share of .2 + .6 sharpness, of kinds that hurt alike."""
    conftest_row = make().rows.iloc[-1].to_dict()
    rows, described = [], []
    draw = np.random.default_rng(2)
    for kind in kinds:
        for seed in range(6):
            features = dict(zip(FEATURES, draw.random(len(FEATURES)), strict=True))
            place = {"subject": "lenet/Digits", "damage": kind, "severity": 0.5, "seed": seed}
            described.append({**place, **features})
            after = 0.4 + 0.5 * (0.2 + 0.6 * features["sharpness"])
            numbers = {"acc_original": 0.9, "acc_damaged": 0.4, "drop_error": 0.01}
            for name, acc in (("nothing", 0.4), ("retrain_all", after), ("mend", 0.4)):
                rows.append(
                    {**conftest_row, **place, **numbers, "training_seed": seed, "strategy": name,
                     "acc_repaired": acc, "status": "ok", **more}
                )  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(described)


Told = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def told(made_recoverability: Make) -> Told:
    """Rows of six kinds, their features, and what is predicted; of draw 0 there is no ratio."""
    rows, described = make_cells(made_recoverability)
    rows.loc[rows["seed"] == 0, "drop_error"] = 1.0
    return rows, described, predictions(rows, described)


def test_errors_are_those_of_kinds_and_their_interval_is_over_kinds(told: Told) -> None:
    _, described, predicted = told
    assert set(predicted["strategy"]) == {"retrain_all", "mend"}, "nothing needs no prediction"
    table = errors(predicted).set_index(["target", "strategy"])
    line = table.loc[("ratio", "retrain_all")]
    own = predicted.query("target == 'ratio' and strategy == 'retrain_all'")
    sharp = described.loc[described["seed"] > 0, "sharpness"].to_numpy()
    assert own["value"].to_numpy() == pytest.approx(0.2 + 0.6 * sharp)
    away = (own["predicted"] - own["value"]).abs().groupby(own["damage"]).mean()
    by_mean = (own["mean"] - own["value"]).abs().groupby(own["damage"]).mean()
    assert (line["kinds"], line["cells"]) == (6, 30)
    assert line["error"] == pytest.approx(away.mean())
    assert line["mean_error"] == pytest.approx(by_mean.mean())
    ends = student(away - by_mean)
    assert (line["difference_low"], line["difference_high"]) == pytest.approx(ends[1:])
    assert line["difference_high"] < 0
    assert line["error"] < 0.07 < 0.1 < line["mean_error"]
    every = table.loc[("ratio", "all")]
    assert every["error"] == pytest.approx(away.mean() / 2), "mend brings nothing back, and is told"


def test_a_result_says_what_was_told_and_what_it_is_worth(
    told: Told, made_recoverability: Make, tmp_path: Path
) -> None:
    rows, described, predicted = told
    made = made_recoverability()
    result = Recoverability(
        made.about, rows, made.settings, atlas="quick", features=described, predicted=predicted
    )
    (sentence,) = [text for text in result.sentences() if text.startswith("Before any repair")]
    assert ": worth asking (difference -" in sentence
    metrics = {key: value for key, value, _ in summary_metrics(result)}
    line = errors(predicted).query("target == 'ratio'").iloc[0]
    for number in ("error", "mean_error_low", "difference_high"):
        assert metrics[f"summary/predictor_ratio_{number}"] == pytest.approx(line[number])
    section = predictor_section(predicted, described)
    assert "of 72 repairs 12 have no ratio" in section.text
    repairs = [cells[2].text for cells in section.sheets[0].cells[:3]]
    assert repairs == ["all", "Retrain all", "Correct by checksum"]
    assert list(section.figures) == ["lenet-Digits_predicted"]
    loaded = load_result(save_result(result, tmp_path))
    assert loaded.sentences() == result.sentences()
    pd.testing.assert_frame_equal(loaded.features, described)  # type: ignore[attr-defined]


def test_too_few_kinds_are_one_sentence_and_no_number(made_recoverability: Make) -> None:
    rows, described = make_cells(made_recoverability, KINDS[:3])
    made, predicted = made_recoverability(), predictions(rows, described)
    result = Recoverability(
        made.about, rows, made.settings, features=described, predicted=predicted
    )
    sentence = (
        "What a repair will bring back is not predicted: that takes 4 kinds of damage outside the "
        "noise, and here are 3."
    )
    assert result.sentences()[-1] == sentence
    assert not [key for key in result.headline() if key.startswith("predictor")]
    section = predictor_section(predicted, described)
    assert (section.notes, section.sheets, section.figures) == ([sentence], [], {})
    assert not [text for text in made.sentences() if "predicted" in text], "none was described"
