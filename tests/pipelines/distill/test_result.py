"""A result on disk, as a page, and beside another of its kind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.report.page import as_html, glance
from pipelines.report.result import load_result, save_result
from pipelines.report.terminal import print_result


def test_what_is_saved_is_read_again(
    made_result: Any, made_evaluation: Any, tmp_path: Path
) -> None:
    models = list(made_result().models)
    models[0] = replace(models[0], evaluation=made_evaluation())
    models[1] = replace(models[1], evaluation=made_evaluation(strength=1.5), run_id="abc")
    result = made_result(models=models, failed={"label only s2": "The loss became nan."})
    again: Any = load_result(save_result(result, tmp_path))
    for name, table in result.tables().items():
        pd.testing.assert_frame_equal(again.tables()[name], table)
    assert set(result.tables()) == {"models", "paired"}
    np.testing.assert_equal(again.headline(), result.headline())
    assert again.sentences() == result.sentences()
    assert again.metrics() == result.metrics()
    assert again.parameters() == result.parameters()
    assert again.failed == result.failed
    assert [(m.title, m.run_id, m.source) for m in again.models] == [
        (m.title, m.run_id, m.source) for m in models
    ]
    assert as_html([again]) == as_html([result])
    assert {file.stem for file in (tmp_path / "rows").iterdir()} >= {"student-s2", "teacher"}


def test_the_page_has_its_numbers(made_result: Any) -> None:
    result = made_result(failed={"random teacher s0": "The training loss became nan."})
    page = as_html([result])
    assert "<h1>lenet from lenet_wide by kd on Digits</h1>" in page
    for number in result.headline().values():
        if number.card:
            assert number.title.replace("'", "&#39;") in page
            assert f"{100 * number.interval.value:.1f}" in page
    assert "random teacher s0</th>" in page
    assert "failed" in page
    assert page.count("<svg") >= 2
    assert "<script" not in page
    assert "nan" not in page.replace("became nan", "").lower().replace("finance", "")


def test_the_terminal_fits_and_cuts_nothing(
    made_result: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(made_result())
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 5, "a heading and four models"
    assert max(map(len, table)) <= 100
    assert not any("…" in line for line in table)


def test_metrics_have_one_slash_and_end_in_numbers(made_result: Any) -> None:
    metrics = made_result().metrics()
    assert {key.count("/") for key, *_ in metrics} == {1}
    assert len({(key, step) for key, _, step in metrics}) == len(metrics)
    assert [step for key, _, step in metrics if key == "distillation/student_acc"] == [0, 1, 2]
    assert ("summary/student_bytes", 1_000_000.0, 0) in metrics
    assert np.isfinite([value for _, value, _ in metrics]).all()


def test_side_by_side_only_what_both_have(made_result: Any) -> None:
    """The second has no seed 2, no pruned teacher, and a student that errs more."""
    one, two = made_result(), made_result(right=0.90)
    two = replace(two, models=[m for m in two.models if m.seed != 2 and m.name != "pruned teacher"])
    mine, its, (section,) = one.beside(two)
    titles = [model.title for model in mine.models]
    assert titles == [model.title for model in its.models]
    assert titles == ["teacher", "student s0", "student s1", "label only s0", "label only s1"]
    assert any("student s2 is left out" in note for note in section.notes)
    (sheet,) = section.sheets
    points = {str(line[0]): line[2] for line in sheet.cells}
    assert set(points) == {"teacher", "student", "label only"}
    expected = 100 * np.mean([
        its.models[i].rows["correct"].mean() - mine.models[i].rows["correct"].mean()
        for i in (1, 2)
    ])  # fmt: skip
    assert points["student"].text == f"{expected:+.1f}"
    assert points["student"].tone == "worse"
    page = as_html([one, two])
    assert "student s2 is left out" in page
    assert glance([mine, its]).lines, "numbers of either"


def test_other_images_are_not_paired(made_result: Any) -> None:
    one, two = made_result(), made_result(n=3000)
    (other,) = [
        {**data, "splits": {"test": {"samples": 3000, "digest": "f" * 64}}}
        for data in two.about.data
    ]
    two = replace(two, about=replace(two.about, data=[other]))
    *_, (section,) = one.beside(two)
    assert not section.sheets
    assert "no test can pair them" in section.notes[0]
    sheet = glance([one, two])
    assert all("asked otherwise" in str(cell) for line in sheet.cells for cell in line[1:])


def test_a_notebook_shows_it(made_result: Any) -> None:
    result = made_result()
    shown = result._repr_html_()
    accuracy = result.comparison.number("student", "acc").value
    assert f"<b>{100 * accuracy:.1f} %</b>" in shown
    assert list(result.to_frame()["model"]) == result.comparison.names
