"""Tables of many cells, from cells that are made up."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from callbacks.transfer import NUMBERS
from pipelines.transfer.cell import Cell, Outcome
from pipelines.transfer.command import listed
from pipelines.transfer.figures import passport_figures
from pipelines.transfer.log import metrics_of
from pipelines.transfer.page import cards, heat, verdict, write_passport
from pipelines.transfer.plan import cells_of, duration
from pipelines.transfer.result import Key, Matrix

CLASSES = {"seen": ("a", "b", "c"), "new": ("x", "y")}
SKILL = {"untouched": 0.5, "probe": 0.8, "full": 0.805, "staged": 0.95}


def rows(skill: float, classes: int, seed: int, n: int = 300) -> pd.DataFrame:
    """A model that knows `skill` of the answers, image by image the same for every model."""
    label = np.arange(n) % classes
    known = np.random.default_rng(0).permutation(n) < skill * n
    luck = np.random.default_rng(seed).integers(classes, size=n)
    guess = np.where(known, label, (label + 1 + luck % (classes - 1)) % classes)
    return pd.DataFrame({
        "index": np.arange(n), "label": label, "prediction": guess, "loss": 1.0 - known,
        "correct": (guess == label).astype(int), "confidence": 0.9,
    })  # fmt: skip


def outcome(cell: Cell, better: float = 0.0) -> Outcome:
    if (cell.mode, cell.data, cell.seed) == ("full", "new", 1):
        return Outcome(cell, "failed", error="RuntimeError: no memory")
    table = rows(SKILL[cell.mode] + better, len(CLASSES[cell.data]), cell.seed)
    moved = cell.mode in ("full", "staged")
    return Outcome(
        cell, samples=60 if cell.mode != "untouched" else 0, rows=table, seconds=1.0,
        distance={"": 0.1} if moved else {}, similarity={"conv1": 1.0, "fc": 0.7} if moved else {},
        forgotten={"old_head": 0.2, "reprobed": 0.1} if moved else {},
    )  # fmt: skip


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    models = {"one": -0.02, "two": 0.0, "three": 0.03}
    cells = cells_of(list(models), list(CLASSES), list(SKILL), ["60"], [0, 1])
    pairs = list(itertools.product(models, CLASSES))
    return Matrix(
        [outcome(cell, models[cell.model]) for cell in cells], CLASSES,
        {pair: pair[1] == "seen" for pair in pairs},
        {(m, d): {"good": models[m], "bad": -models[m]} for m, d in pairs},
    )  # fmt: skip


def test_every_cell_once(matrix: Matrix) -> None:
    assert len(matrix.outcomes) == len(matrix.cells) == 3 * 2 * (1 + 3 * 2)
    assert len(matrix.failed) == 3
    assert matrix.cells["acc"].isna().sum() == 3
    assert set(matrix.cells.loc[matrix.cells["status"] == "failed", "error"]) == {
        "RuntimeError: no memory"
    }


def test_before_is_the_own_head_or_a_probe(matrix: Matrix) -> None:
    """A source head cannot answer new classes."""
    full = Key("two", "seen", "full", "60")
    assert matrix.before(full) == Key("two", "seen", "untouched", "all")
    assert matrix.before(full._replace(data="new")) == Key("two", "new", "probe", "60")
    probe = Key("two", "new", "probe", "60")
    assert matrix.before(probe) == Key("two", "new", "untouched", "all")
    assert matrix.before(Key("two", "new", "untouched", "all")) is None


def test_changes_are_differences(matrix: Matrix) -> None:
    table = matrix.comparison.set_index(["model", "data", "mode"])
    line = table.loc["two", "seen", "staged"]
    assert line["change_acc"] == pytest.approx(0.45)
    assert line["change_acc_low"] > 0.35
    assert line["acc"] == pytest.approx(0.95)
    assert (line["before"], line["seeds"], line["seed_spread"]) == ("untouched", 2, 0.0)
    assert table.loc["two", "new", "full"]["seeds"] == 1, "the failed one takes no other down"
    assert line["forgot_old_head"] == pytest.approx(0.2)
    assert (line["distance"], line["cka_last"]) == pytest.approx((0.1, 0.7))
    classes = matrix.by_class
    mine = classes[(classes["model"] == "two") & (classes["data"] == "new")]
    assert set(mine["class"]) == {"x", "y"}


def test_the_cheapest_mode_that_none_surely_beats(matrix: Matrix) -> None:
    line = matrix.recommended.set_index(["model", "data"]).loc["two", "seen"]
    assert (line["mode"], line["best"]) == ("staged", "")
    few = Matrix(
        [one for one in matrix.outcomes if one.cell.mode != "staged"],
        CLASSES, matrix.own_head, matrix.scores,
    )  # fmt: skip
    line = few.recommended.set_index(["model", "data"]).loc["two", "seen"]
    # 2 of 300 images more are no sure gain of a full training.
    assert (line["mode"], line["best"]) == ("probe", "full")
    assert line["gain"] == pytest.approx(2 / 300)


def test_ranks_and_predictions(matrix: Matrix) -> None:
    ranks = matrix.ranking.set_index(["data", "mode", "model"])["rank"]
    assert [ranks["seen", "staged", m] for m in ("three", "two", "one")] == [1, 2, 3]
    taus = matrix.agreement.set_index(["data", "mode", "score"])["tau"]
    assert taus["new", "probe", "good"] == pytest.approx(1)
    assert taus["new", "probe", "bad"] == pytest.approx(-1)
    assert "untouched" not in set(matrix.agreement["mode"])


def test_indices_over_data_sets(matrix: Matrix) -> None:
    table = matrix.variability.set_index(["model", "mode"])
    assert table.loc["two", "probe"]["average"] == pytest.approx(0.8)
    assert table.loc["two", "probe"]["tasks"] == 2


def test_metric_keys(matrix: Matrix) -> None:
    metrics = metrics_of(matrix, "two")
    keys = {key for key, _, _ in metrics}
    assert {f"transfer/seen_full_{name}" for name in NUMBERS} <= keys
    assert {"summary/probe_mean_acc", "predicted/new_good"} <= keys
    assert all(key.count("/") == 1 and math.isfinite(value) for key, value, _ in metrics)
    assert {step for key, _, step in metrics if key == "transfer/seen_full_acc"} == {60}


def test_a_passport_of_everything(matrix: Matrix, tmp_path: Path) -> None:
    """Several fractions, failed cells, ranks and predictions, on one page without a neighbour."""
    few = [
        replace(one, cell=replace(one.cell, fraction="20"), samples=20)
        for one in matrix.outcomes
        if one.cell.mode != "untouched"
    ]
    whole = replace(matrix, outcomes=[*matrix.outcomes, *few])
    assert set(passport_figures(whole, "two")) == {"learning_curves", "drift_by_layer"}
    file = write_passport(whole, "two", tmp_path / "deep" / "p.html", ["f"], ["adapted"], {"a": 1})
    page = file.read_text()
    for text in ("Where it can go", "Failed cells", "no memory", "Among the others", "adapted",
                 "What it cost the model", "How well the scores rank", "<svg"):  # fmt: skip
        assert text in page
    assert ">nan<" not in page
    lines = {(line["mode"], line["fraction"]): line["values"] for line in heat(whole, "two")}
    assert lines["staged", "60"] == pytest.approx([0.95, 0.95], abs=0.01)
    assert "With 20 labelled images: " in verdict(whole, "two")[0]
    assert [card["unit"] for card in cards(whole, "two")] == ["%", "%", "points", "points"]


def test_nothing_succeeded() -> None:
    cell = Cell("one", "new", "probe", "60")
    empty = Matrix([Outcome(cell, "failed", error="no")], CLASSES, {}, {})
    assert empty.tables().keys() == {"cells"}
    assert empty.of_model("one", "comparison") == []


def test_words_after_a_flag() -> None:
    words = listed("--models a b --limit 3 --seeds 0 1 --fractions 1000 all --data=X".split())
    assert words == [
        '--models=["a", "b"]', "--limit", "3", "--seeds=[0, 1]", '--fractions=["1000", "all"]',
        "--data=X",
    ]  # fmt: skip
    assert [duration(s) for s in (3, 600, 7200)] == ["3 s", "10 min", "2.0 h"]
