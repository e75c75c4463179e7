"""An explanation killed and resumed, asked with other settings, stored, and side by side."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from killing import finished_runs, goes_on, result_file, store

from callbacks.interpretability.methods.gradient import Gradient
from datamodules import Digits
from pipelines import explain
from pipelines.explain import command
from pipelines.explain.result import Explanation
from pipelines.report import page as page_module
from pipelines.report.command import report
from pipelines.report.page import as_html
from pipelines.report.result import load_result, save_result, strict_json
from pipelines.tracking import Tracking

TIMES = ["delay", "images"]
"""Columns of `drifts` that follow from how long watching took."""


def same_tables(one: Explanation, other: Explanation) -> None:
    tables, others = one.tables(), other.tables()
    assert set(tables) == set(others)
    for name, table in tables.items():
        drop = TIMES if name == "drifts" else []
        pd.testing.assert_frame_equal(table.drop(columns=drop), others[name].drop(columns=drop))


# -- killed ----------------------------------------------------------------------------------------


def result_of(home: Path) -> Explanation:
    found = load_result(result_file(home).parent)
    assert isinstance(found, Explanation)
    return found


def tables(home: Path) -> dict[str, pd.DataFrame]:
    found = result_of(home).tables()
    return {name: table.drop(columns=TIMES, errors="ignore") for name, table in found.items()}


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_tables(home: Path, lenet: Path) -> None:
    words = [
        *("explain", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--probes", "clean"),
        *("--data", "Digits", "--data.limit", "64", "--limit", "40", "--forwards", "400"),
        *("--train_limit", "64", "--window", "8", "--chunk", "32"),
    ]
    goes_on(home, words, 10, tables)
    (run,) = finished_runs(home)
    assert len(store(home).get_metric_history(run.info.run_id, "summary/monitorability")) == 1


# -- asked from Python -----------------------------------------------------------------------------


def asked(lenet: Path, root: Path, limit: int = 40, **more: object) -> Explanation:
    options = {
        "probes": ["clean"], "forwards": 400, "train_limit": 64, "window": 8, "chunk": 32,
        "arch": "lenet", "root": root, "tracking": Tracking(enabled=False), **more,
    }  # fmt: skip
    data = Digits(limit=64)
    return explain(f"checkpoint:{lenet}", data, limit=limit, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def explained(
    lenet: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Explanation, Explanation, Path]:
    """With other images as outliers, and the same with other settings; drawn in a test alone."""
    root = tmp_path_factory.mktemp("explained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.study.study.save_png", lambda *_: None)
        patch.setattr("pipelines.study.study.write_page", lambda *_: None)
        one = asked(lenet, root, outliers=Digits(limit=64))
        other = asked(lenet, root, 48, outliers=Digits(limit=64))
    return one, other, root


def test_the_same_images_are_no_outliers(explained: tuple[Explanation, Explanation, Path]) -> None:
    """With the same data as outliers: they cannot be told apart, the closed form of chance."""
    table = explained[0].tables()["outliers"]
    same = table.loc[table["outliers"] == "Digits", "auroc"]
    assert same.tolist() == pytest.approx([0.5] * 7, abs=1e-9)
    assert explained[0].to_frame()["part"].tolist()[-1] == "monitorability"
    assert "Monitorability" in explained[0]._repr_html_()


def test_other_settings_have_a_folder_of_their_own_and_share_what_they_can(
    explained: tuple[Explanation, Explanation, Path],
) -> None:
    one, other, root = explained
    folders = sorted((root / "mlruns" / "results").iterdir())
    assert len(folders) == 2
    stored = {load_result(folder).parameters()["limit"]: folder for folder in folders}
    same_tables(load_result(stored[40]), one)  # type: ignore[arg-type]
    same_tables(load_result(stored[48]), other)  # type: ignore[arg-type]
    stages = [
        json.loads(file.read_text())["of"]["stage"]
        for file in (root / "mlruns" / "cells").glob("*/cell.json")
    ]
    assert stages.count("outliers") == 2
    for once in ("monitor", "tree", "features", "score: choice of the explainer"):
        assert stages.count(once) == 1, "what the other limit does not change"


def test_it_saves_and_loads_itself(
    explained: tuple[Explanation, Explanation, Path], tmp_path: Path
) -> None:
    one = explained[0]
    again = load_result(save_result(one, tmp_path))
    same_tables(one, again)  # type: ignore[arg-type]
    assert str(again.headline()) == str(one.headline())  # as text, where NaN is NaN
    assert again.sentences() == one.sentences()
    assert again.metrics() == one.metrics()
    assert again.figures().keys() == one.figures().keys()
    parts, others = one.parts(), again.parts()
    assert strict_json(parts.facts) == strict_json(others.facts)
    assert all((parts.arrays[name] == array).all() for name, array in others.arrays.items())
    assert again.about.notes == one.about.notes


def test_two_side_by_side_show_what_both_were_asked(
    explained: tuple[Explanation, Explanation, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for drawing in ("as_svg", "_png"):
        monkeypatch.setattr(page_module, drawing, lambda figure, name, of: f"[{name}]")
    folders = sorted((explained[2] / "mlruns" / "results").iterdir())
    results = report([str(folder) for folder in folders], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "The stage &#39;score&#39; is left out: the two were not asked alike." in page
    assert "At a glance" in page
    assert page.count("[drift]") == page.count("[tree]") == 2
    assert "[score]" not in page, "it was asked with other limits"
    alone = as_html(results[:1])
    assert "[score]" in alone
    assert "At a glance" not in alone


def test_an_interrupted_pass_keeps_its_rows_and_measures_no_stage(
    lenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = command.measure

    def interrupted(*args: object) -> object:
        whole = real(*args)  # type: ignore[arg-type]
        return replace(whole, about=replace(whole.about, interrupted=True))

    monkeypatch.setattr(command, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked(lenet, tmp_path)
    found = result_of(tmp_path)
    assert found.stages == {}
    assert len(found.evaluation.results[0].rows) == 64
    assert "Interrupted" in as_html([found])


def test_probes_of_one_s_own_join_the_pass(lenet: Path, tmp_path: Path) -> None:
    from callbacks.interpretability import ExplanationProbe

    probe = ExplanationProbe(Gradient(), ["sparseness"], limit=8, chunk=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "measure_stages", lambda *_: {})
        found = asked(lenet, tmp_path, probes=[probe])
    assert found.failure["setting"].tolist() == ["clean", "explain_gradient"]
    assert "interpretability/explain_gradient_sparseness" in {key for key, *_ in found.metrics()}
