"""The point-wise worst case, on tables small enough to reckon by hand."""

import numpy as np
import pandas as pd
import pytest

from callbacks.reductions import (
    accuracy,
    by_setting,
    compare,
    robustly_correct,
    worst_case,
    worst_up_to,
)

NAN = float("nan")


def rows(
    value: float,
    correct: list[int],
    worst_loss: list[float] | None = None,
    clean: list[int] | None = None,
    index: list[int] | None = None,
    setting: str = "pgd_linf",
) -> pd.DataFrame:
    """Rows of one radius; a right answer has the margin 1, a wrong one -1."""
    n = len(correct)
    hits = np.array(correct)
    table = pd.DataFrame(
        {
            "setting": setting, "severity": round(1000 * value), "value": value,
            "index": index or range(n), "label": 0, "prediction": 1 - hits, "correct": hits,
            "loss": 2.0 - hits, "confidence": 0.7, "margin": 2.0 * hits - 1, "brier": 0.5,
        }
    )  # fmt: skip
    if worst_loss is not None:
        table["worst_loss"] = worst_loss
    if clean is not None:
        table["clean_correct"] = np.array(clean, dtype=float)  # as probes write it
    return table


CLEAN = rows(0.0, [1, 1, 1, 1, 0], setting="clean")


def test_the_worst_of_a_radius_includes_the_clean_image_and_every_smaller_radius() -> None:
    """Each table alone leaves 3 or 4 of 5 right; together 3, then 2, then 1."""
    small_and_large = pd.concat([rows(0.1, [0, 1, 1, 1, 1]), rows(0.3, [1, 1, 1, 1, 1])])
    middle = rows(0.2, [1, 0, 1, 1, 0])
    found = worst_up_to([small_and_large, middle], CLEAN)
    table = found.rows.pivot(index="value", columns="index", values="correct")
    assert table.loc[0.1].tolist() == [0, 1, 1, 1, 0], "the clean image that is wrong stays wrong"
    assert table.loc[0.2].tolist() == [0, 0, 1, 1, 0]
    assert table.loc[0.3].tolist() == [0, 0, 1, 1, 0], "an attack that finds nothing undoes nothing"
    assert found.left_out == 0
    assert accuracy(found.rows[found.rows["value"] == 0.2]).value == 0.4
    assert by_setting(found.rows)["acc"].tolist() == [0.6, 0.4, 0.4]
    assert found.rows["severity"].unique().tolist() == [100, 200, 300]
    assert (found.rows["setting"] == "worst").all()


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_never_rises_and_loss_never_falls(seed: int) -> None:
    random = np.random.default_rng(seed)
    attacks = [
        pd.concat(
            [
                rows(v, random.integers(0, 2, 30).tolist(), random.exponential(2, 30).tolist())
                for v in random.choice([0.1, 0.2, 0.3, 0.4], 3, replace=False)
            ]
        )
        for _ in range(3)
    ]
    clean = rows(0.0, random.integers(0, 2, 30).tolist(), setting="clean")
    worst = worst_up_to(attacks, clean).rows.groupby("value")
    assert worst["correct"].mean().is_monotonic_decreasing
    assert worst["worst_loss"].mean().is_monotonic_increasing
    assert (worst["correct"].mean() <= clean["correct"].mean()).all()
    assert (worst["worst_loss"].mean() >= clean["loss"].mean()).all()


def test_images_that_not_every_table_has_are_left_out_and_counted() -> None:
    few = rows(0.1, [1, 0], index=[3, 9])
    found = worst_up_to([rows(0.1, [1, 1, 1, 1, 1]), few], CLEAN)
    assert found.rows["index"].tolist() == [3]
    assert found.left_out == 5  # 0, 1, 2, 4 and 9


def test_the_worst_loss_is_that_of_attacks_that_looked_for_one() -> None:
    verdict, loss = rows(0.1, [1, 1, 1, 1, 1], [NAN] * 5), rows(0.2, [1] * 5, [0.1, 3, 1, 1, 1])
    worst = worst_up_to([verdict, loss], CLEAN).rows
    assert worst.loc[worst["value"] == 0.1, "worst_loss"].isna().all()
    # the clean losses are 1, and 2 for the wrong image
    assert worst.loc[worst["value"] == 0.2, "worst_loss"].tolist() == [1, 3, 1, 1, 2]


@pytest.mark.parametrize("after", [0, 1])
def test_what_the_clean_model_gets_wrong_is_wrong_whatever_the_attack_did(after: int) -> None:
    """An attack on the verdict leaves it wrong, one on the loss may turn it right."""
    attacked = rows(0.1, [1, 0, 1, after], clean=[1, 1, 1, 0])
    assert robustly_correct(attacked).tolist() == [1, 0, 1, 0]
    assert accuracy(attacked).value == 0.5
    assert by_setting(attacked)["acc"].tolist() == [0.5]
    assert worst_case([attacked])["correct"].tolist() == [1, 0, 1, 0]
    assert worst_up_to([attacked]).rows["correct"].tolist() == [1, 0, 1, 0]
    assert compare(attacked, rows(0.1, [1, 1, 1, 1], clean=[1, 1, 1, 1]))["difference"][0] == 0.5


def test_a_table_without_attack_counts_as_it_is() -> None:
    assert robustly_correct(CLEAN).tolist() == [1, 1, 1, 1, 0]
    mixed = worst_case([CLEAN, rows(0.1, [1, 1, 1, 0, 1], clean=[1, 1, 1, 1, 0])])
    assert mixed["correct"].tolist() == [1, 1, 1, 0, 0]
    assert mixed["margin"].tolist() == [1, 1, 1, -1, -1]
    assert accuracy(mixed).value == 0.6, "also when it is asked again"


def test_a_point_that_is_as_near_counts_at_every_radius() -> None:
    """Three attacks of one image each at a radius of its own; what they found is nearer or farther.

    By hand: image 0 falls at distance 0.05 to an attack within 0.3, image 1 at 0.2 to a search for
    the least change whose own radius is 0.1, image 2 at 0.25; image 3 is wrong undisturbed.
    """
    wide = rows(0.3, [0, 1, 1, 0], [0.1] * 4, clean=[1, 1, 1, 0]).assign(distance=[0.05, 0, 0, 0.2])
    ball = rows(0.2, [1, 1, 1, 1], [0.5] * 4, clean=[1, 1, 1, 0]).assign(distance=0.1)
    least = rows(0.1, [1, 1, 1, 0], [NAN] * 4, clean=[1, 1, 1, 0]).assign(
        distance=0.0, minimum_distance=[np.inf, 0.2, 0.25, 0], found_prediction=[0, 7, 8, 3],
        found_loss=3.0, found_confidence=0.9, found_margin=-2.0, found_logsumexp=1.0,
        found_brier=1.5,
    )  # fmt: skip
    clean = rows(0.0, [1, 1, 1, 0], setting="clean")
    found = worst_up_to([wide, ball, least], clean).rows
    table = found.pivot(index="value", columns="index", values="correct")
    assert table.loc[0.1].tolist() == [0, 1, 1, 0]
    assert table.loc[0.2].tolist() == [0, 0, 1, 0], "0.2 is in the ball of 0.2"
    assert table.loc[0.3].tolist() == [0, 0, 0, 0]
    answers = found[found["value"] == 0.3].set_index("index")
    assert answers.loc[[1, 2], "prediction"].tolist() == [7, 8], "the answers there, not the clean"
    assert answers.loc[[1, 2], "confidence"].tolist() == [0.9, 0.9]
    assert found[found["value"] == 0.2]["worst_loss"].tolist() == [1, 1, 1, 2], "of that ball"
