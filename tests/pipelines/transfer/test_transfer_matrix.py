"""Tables of many cells, from cells that are made up."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from callbacks.transfer import NUMBERS
from callbacks.words import duration
from pipelines.report.about import About
from pipelines.report.page import as_html
from pipelines.report.plan import plan_sheet
from pipelines.report.result import load_result, save_result
from pipelines.transfer import grid as grid_module
from pipelines.transfer.cell import Outcome, Transfer
from pipelines.transfer.grid import Grid, Key, PairFacts
from pipelines.transfer.plan import transfers_of
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.result import Matrix

CLASSES = {"seen": ("a", "b", "c"), "new": ("x", "y")}
SKILL = {"untouched": 0.5, "probe": 0.8, "full": 0.805, "staged": 0.95}
MODELS = {"one": -0.02, "two": 0.0, "three": 0.03}


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


def outcome(transfer: Transfer) -> Outcome:
    mode, data, seed = transfer.mode, transfer.data, transfer.seed
    if (mode, data, seed) == ("full", "new", 1):
        return Outcome(transfer, error="RuntimeError: no memory")
    table = rows(SKILL[mode] + MODELS[transfer.model], len(CLASSES[data]), seed)
    moved = mode in ("full", "staged")
    lost = {"old_head": 0.2, "old_head_low": 0.15, "old_head_high": 0.25, "reprobed": 0.1}
    return Outcome(
        transfer, samples=60 if mode != "untouched" else 0, rows=table, seconds=1.0,
        distance=0.1 if moved else math.nan,
        similarity={"conv1": 1.0, "fc": 0.7} if moved else {}, forgotten=lost if moved else {},
    )  # fmt: skip


def fewer_labels(grid: Grid, fraction: str = "20") -> Grid:
    """The same with cells of one more fraction."""
    few = [
        replace(one, transfer=one.transfer._replace(fraction=fraction), samples=20)
        for one in grid.outcomes
        if one.transfer.mode != "untouched"
    ]
    return replace(grid, outcomes=[*grid.outcomes, *few])


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are exact; intervals need not be fine here."""
    monkeypatch.setattr(grid_module, "_RESAMPLES", 60)


@pytest.fixture(scope="module")
def grid() -> Grid:
    transfers = transfers_of(list(MODELS), list(CLASSES), list(SKILL), ["60"], [0, 1])
    pairs = [
        PairFacts(m, d, d == "seen", {"leep": MODELS[m], "knn": -MODELS[m], "nce": math.nan})
        for m, d in itertools.product(MODELS, CLASSES)
    ]
    images = {"seen": "s" * 32, "new": "n" * 32}
    asked = {mode: Recipe().facts(mode) for mode in SKILL}
    return Grid([outcome(one) for one in transfers], pairs, CLASSES, images, asked)


def matrix_of(grid: Grid) -> Matrix:
    def data(name: str) -> dict[str, object]:
        split = {"samples": 300, "digest": grid.images[name]}
        return {"name": name, "title": name, "digest": grid.images[name], "splits": {"test": split}}

    models = [
        {"name": name, "source": name, "architecture": name, "parameters": 10, "digest": "d" * 16,
         "classes": ["a"]}
        for name in grid.models
    ]  # fmt: skip
    about = About("assay transfer", 0, models, [data(name) for name in grid.tasks],
                  notes=["one on seen: grey repeated to RGB."])  # fmt: skip
    return Matrix(about, grid, Recipe().parameters())


def test_every_cell_once(grid: Grid) -> None:
    assert len(grid.outcomes) == len(grid.cells) == 3 * 2 * (1 + 3 * 2)
    assert len(grid.failed) == 3
    assert grid.cells["acc"].isna().sum() == 3
    assert set(grid.cells.loc[grid.cells["status"] == "failed", "error"]) == {
        "RuntimeError: no memory"
    }


def test_before_is_the_own_head_or_a_probe(grid: Grid) -> None:
    """A source head cannot answer new classes."""
    full = Key("two", "seen", "full", "60")
    assert grid.before(full) == Key("two", "seen", "untouched", "all")
    assert grid.before(full._replace(data="new")) == Key("two", "new", "probe", "60")
    probe = Key("two", "new", "probe", "60")
    assert grid.before(probe) == Key("two", "new", "untouched", "all")
    assert grid.before(Key("two", "new", "untouched", "all")) is None


def test_changes_are_differences(grid: Grid) -> None:
    table = grid.comparison.set_index(["model", "data", "mode"])
    line = table.loc["two", "seen", "staged"]
    assert line["change_acc"] == pytest.approx(0.45)
    assert line["change_acc_low"] > 0.35
    assert line["acc"] == pytest.approx(0.95)
    assert (line["before"], line["seeds"], line["seed_spread"]) == ("untouched", 2, 0.0)
    assert table.loc["two", "new", "full"]["seeds"] == 1, "the failed one takes no other down"
    assert line["forgot_old_head"] == pytest.approx(0.2)
    assert line["forgot_old_head_high"] == pytest.approx(0.25)
    assert (line["distance"], line["cka_last"]) == pytest.approx((0.1, 0.7))
    classes = grid.by_class
    mine = classes[(classes["model"] == "two") & (classes["data"] == "new")]
    assert set(mine["class"]) == {"x", "y"}


def test_the_cheapest_mode_that_none_surely_beats(grid: Grid) -> None:
    line = grid.recommended.set_index(["model", "data"]).loc["two", "seen"]
    assert (line["mode"], line["best"]) == ("staged", "")
    few = replace(grid, outcomes=[o for o in grid.outcomes if o.transfer.mode != "staged"])
    line = few.recommended.set_index(["model", "data"]).loc["two", "seen"]
    # 2 of 300 images more are no sure gain of a full training.
    assert (line["mode"], line["best"]) == ("probe", "full")
    assert line["gain"] == pytest.approx(2 / 300)


def test_ranks_and_predictions(grid: Grid) -> None:
    ranks = grid.ranking.set_index(["data", "mode", "model"])["rank"]
    assert [ranks["seen", "staged", m] for m in ("three", "two", "one")] == [1, 2, 3]
    taus = grid.agreement.set_index(["data", "mode", "score"])["tau"]
    assert taus["new", "probe", "leep"] == pytest.approx(1)
    assert taus["new", "probe", "knn"] == pytest.approx(-1)
    assert "untouched" not in set(grid.agreement["mode"])
    alone = grid.of("two")
    assert set(alone.ranking["model"]) == {"two"}
    assert set(alone.ranking["of"]) == {3}, "its place among all"
    pd.testing.assert_frame_equal(alone.agreement, grid.agreement)


def test_indices_over_data_sets(grid: Grid) -> None:
    table = grid.variability.set_index(["model", "mode"])
    assert table.loc["two", "probe"]["average"] == pytest.approx(0.8)
    assert table.loc["two", "probe"]["tasks"] == 2


def test_headlines_have_the_interval_of_what_they_are_over(grid: Grid) -> None:
    numbers = matrix_of(grid.of("two")).headline()
    staged = numbers["staged_mean_acc"]
    assert (staged.card, staged.interval.value) == (True, pytest.approx(0.95))
    assert "over 2 data sets" in staged.note
    assert numbers["forgotten"].interval == pytest.approx((0.2, 0.15, 0.25))
    assert [n.title for n in numbers.values() if n.card] == [
        "Mean accuracy, staged", "Worst data set, staged", "Spread, staged", "Most forgotten",
    ]  # fmt: skip
    single = replace(
        grid, outcomes=[o for o in grid.of("two").outcomes if o.transfer.data == "seen"]
    )
    staged = matrix_of(single).headline()["staged_mean_acc"]
    assert staged.interval.low < 0.95 < staged.interval.high, "over the images of the one data set"
    assert staged.note.startswith("on seen: ")
    assert "staged_spread" not in matrix_of(single).headline()


def test_metric_keys(grid: Grid) -> None:
    metrics = matrix_of(grid.of("two")).metrics()
    keys = {key for key, _, _ in metrics}
    assert {f"transfer/seen_full_{name}" for name in NUMBERS} <= keys
    assert "predicted/new_leep" in keys
    assert "predicted/new_nce" not in keys, "it is no number"
    assert {step for key, _, step in metrics if key == "transfer/seen_full_acc"} == {60}
    every = matrix_of(grid)
    keys |= {key for key, _, _ in every.metrics()}
    assert {"transfer/two_seen_full_acc_low", "predicted/two_new_leep"} <= keys
    assert all(key.count("/") == 1 for key in keys)
    assert {"two_probe_mean_acc", "one_full_worst_acc", "three_forgotten"} <= set(every.headline())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["", "two"], ids=["matrix", "passport"])
def test_a_page_of_everything(grid: Grid, model: str, tmp_path: Path) -> None:
    """Several fractions, failed cells, ranks and predictions, without a neighbour."""
    whole = fewer_labels(grid.of(model) if model else grid)
    matrix = matrix_of(whole)
    names = {f"{kind}_{data}" for kind in ("accuracy", "learning", "drift") for data in CLASSES}
    alone = {name for name in names if not name.startswith("accuracy")}
    assert set(matrix.figures()) == (names if model else names - alone)
    page = as_html([matrix])
    for text in ("Where it can go", "Failed cells", "no memory", "Among the others", "<svg",
                 "What it cost the model", "How well the scores rank", "grey repeated",
                 "Cross-entropy, in nats"):  # fmt: skip
        assert text in page
    assert ">nan<" not in page
    (heat,) = next(s for s in matrix.sections() if s.title == "Where it can go").sheets
    start = 0 if model else 1
    lines = {
        (str(x[start]), str(x[start + 1])): x for x in heat.cells if model or str(x[0]) == "two"
    }
    shown = [cell.heat for cell in lines["staged", "60"][start + 2 : start + 4]]
    assert shown == pytest.approx([0.95, 0.95], abs=0.01)
    said = " ".join(matrix.sentences()).replace("\N{NO-BREAK SPACE}", " ")
    assert ("with 20 labelled images" if model else "three gets most right") in said
    assert "cells failed" in said
    save_result(matrix, tmp_path)
    loaded = load_result(tmp_path)
    for name, table in matrix.tables().items():
        pd.testing.assert_frame_equal(table, loaded.tables()[name])
    assert loaded.metrics() == matrix.metrics()
    assert loaded.sentences() == matrix.sentences()
    assert repr(loaded.headline()) == repr(matrix.headline())


def test_side_by_side_only_what_both_were_asked(grid: Grid) -> None:
    one, other = matrix_of(grid.of("one")), matrix_of(fewer_labels(grid.of("three")))
    asked = {**grid.asked, "full": Recipe(epochs=3).facts("full")}
    other = replace(other, grid=replace(other.grid, asked=asked))
    mine, its, (section,) = one.beside(other)
    transfers = [o.transfer for o in mine.grid.outcomes]
    assert {t.mode for t in transfers} == {"untouched", "probe", "staged"}
    assert {t.fraction for t in transfers} == {"60", "all"}
    assert [t._replace(model="three") for t in transfers] == [o.transfer for o in its.grid.outcomes]
    assert any("full is left out" in note for note in section.notes)
    assert any("only one of the two has them" in note for note in section.notes)
    lines = {(str(x[0]), str(x[1])): x for x in section.sheets[0].cells}
    assert lines["seen", "staged"][4].text == "+5.0"
    assert lines["seen", "staged"][4].tone == "better"
    page = as_html([one, other])
    assert "three moved to seen, new against one moved to seen, new" in page
    elsewhere = replace(other, grid=replace(other.grid, images={**grid.images, "seen": "other"}))
    mine, _, (section,) = one.beside(elsewhere)
    assert mine.grid.tasks == ["new"]
    assert "seen is left out: the two were tested on other images." in section.notes


def test_nothing_succeeded() -> None:
    transfer = Transfer("one", "new", "probe", "60")
    empty = Grid([Outcome(transfer, error="no")], [], CLASSES, {"new": "n"})
    assert empty.tables().keys() == {"cells"}
    assert empty.lines("comparison") == []
    matrix = matrix_of(empty)
    assert matrix.headline() == {}
    assert "No cell could be measured." in matrix.sentences()
    assert "Failed cells" in as_html([matrix])
    assert matrix.beside(matrix)[2][0].title == "Nothing in common"


def test_a_plan_counts_what_is_left() -> None:
    class Piece:
        def __init__(self, mode: str, seconds: float, known: bool) -> None:
            self.group, self.seconds, self.known = ("lenet", mode), seconds, known

    pieces = [Piece("probe", 60, True), Piece("probe", 60, False), Piece("full", 5400, False)]
    sheet = plan_sheet(("model", "mode"), pieces)
    assert sheet.title == "Plan: 3 cells, 1 known, about 1.5 h"
    assert sheet.lines == [
        ["lenet", "probe", "2", "1", "60 s"], ["lenet", "full", "1", "0", "1.5 h"],
    ]  # fmt: skip
    assert [duration(s) for s in (3, 600, 7200)] == ["3 s", "10 min", "2.0 h"]
