"""What a recovery amounts to: its numbers, page, files and metrics, and two side by side."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from callbacks.statistics import rate, student
from callbacks.words import DASH
from pipelines.recover.result import Recoverability
from pipelines.recover.sections import brief_sheets
from pipelines.report.command import report
from pipelines.report.page import as_html, glance, restricted
from pipelines.report.result import load_result, save_result, summary_metrics
from pipelines.report.terminal import as_table, plain_console

Make = Callable[..., Recoverability]
INJECTED = pd.DataFrame(
    [{
        "subject": "lenet/Digits", "damage": "zero", "severity": 0.3, "sdc": 0.2, "sdc_low": 0.1,
        "sdc_high": 0.3, "injections": 120, "needed": 380,
    }]
)  # fmt: skip


def text_of(page: str) -> str:
    body = re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("\N{NO-BREAK SPACE}", " ")


def other(rows: list[dict], **changes: object) -> list[dict]:
    return [{**row, **changes} for row in rows]


def rows_of(result: Recoverability) -> list[dict]:
    return result.rows.to_dict("records")  # type: ignore[return-value]


CASES = {
    "one draw": {"draws": 1, "severities": (0.3,)},
    "no damage at all": {"severities": ()},
    "silent errors": {"silent_errors": INJECTED, "severities": (0.3,)},
    "unknown damage and strategy": {
        "damage": "custom",
        "strategies": ("mine",),
        "severities": (1.0,),
    },
    "quantised": {"damage": "quantise", "severities": (4.0, 3.0)},
}


@pytest.mark.parametrize("case", CASES)
def test_a_result_is_the_same_after_the_disk(
    case: str, made_recoverability: Make, tmp_path: Path
) -> None:
    result = made_recoverability(**CASES[case])
    loaded = load_result(save_result(result, tmp_path))
    assert isinstance(loaded, Recoverability)
    pd.testing.assert_frame_equal(loaded.rows, result.rows)
    assert loaded.parts().facts == result.parts().facts
    assert repr(loaded.headline()) == repr(result.headline())
    assert loaded.sentences() == result.sentences()
    assert "nan" not in text_of(as_html([loaded]))


def test_headline_numbers(made_recoverability: Make) -> None:
    """By hand: .6 is the hardest; draws are damaged to .30 and .29 and come back to .80, .78."""
    headline = made_recoverability().headline()
    assert headline["original_acc"].interval == rate(180, 200)
    assert headline["damaged_acc"].interval == pytest.approx(student([0.30, 0.29]))
    assert headline["repaired_acc"].interval.value == pytest.approx(0.79)
    ratio = headline["recovery_ratio"].interval
    assert ratio.value == pytest.approx((0.5 / 0.6 + 0.49 / 0.61) / 2)
    assert ratio.high <= (0.7 / 0.6 + 0.71 / 0.61) / 2 + 1e-9, "not even if all were right"
    best = made_recoverability(better=0.19).headline()["repaired_acc"].interval
    assert best.high == 1.0, "not 1.11, which student says"
    assert headline["repair_seconds"].interval.value == pytest.approx(0.55)
    flips = [headline[f"{sign}_flips"].interval.value for sign in ("negative", "positive")]
    assert flips == pytest.approx([0.05, 0.02])
    told = "After it 5.0\xa0% of the images are wrong that were right before the damage"
    assert any(told in sentence for sentence in made_recoverability().sentences())
    told = made_recoverability(rows=other(rows_of(made_recoverability()), optimizer="sgd 0.01"))
    assert any(" (sgd 0.01)”: " in sentence for sentence in told.sentences())
    keys = {key for key, _, _ in summary_metrics(made_recoverability())}
    assert {"summary/recovery_ratio", "summary/recovery_ratio_low"} <= keys


def test_the_page_has_its_numbers(made_recoverability: Make) -> None:
    result = made_recoverability(silent_errors=INJECTED)
    text = text_of(as_html([result]))
    for line in result.lines.itertuples():
        shown = f"{100 * line.acc:.1f} {100 * line.acc_low:.1f}{DASH}{100 * line.acc_high:.1f}"
        assert shown in text
    for words in (
        "What to do", "What came back", "What it took", "Controls", "Silent errors", "25G",
        "knows signatures", "lenet on Digits after weights set to zero", "assay recover",
        f"10.0{DASH}30.0 120 380",
    ):  # fmt: skip
        assert words in text


def test_terminal_tables_fit_and_cut_nothing(made_recoverability: Make) -> None:
    strategies = ("retrain_all", "rebuild_pretrained", "zero_suspects_batch_norm", "distil")
    result = made_recoverability(strategies=strategies)
    console = plain_console()
    with console.capture() as captured:
        for sheet in brief_sheets(result.lines):
            console.print(as_table(sheet, console))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 104, "100 and the frame"
    assert "…" not in text


def test_metrics_have_one_step_a_severity_and_one_key_a_recipe(made_recoverability: Make) -> None:
    metrics = made_recoverability().metrics()
    points = {(key, step): value for key, value, step in metrics}
    assert len(points) == len(metrics)
    assert points["recovery/zero_retrain_all_acc", 600] == pytest.approx(0.79)
    assert points["recovery/zero_nothing_acc", 300] == pytest.approx(0.595)
    assert all(key.count("/") == 1 and math.isfinite(value) for key, value, _ in metrics)
    rows = rows_of(made_recoverability())
    trained = [row for row in rows if row["strategy"] == "retrain_all"]
    twice = made_recoverability(rows=rows + other(trained, optimizer="sgd 0.01"))
    keys = {key for key, _, _ in twice.metrics()}
    assert {"recovery/zero_retrain_all_adamw_acc", "recovery/zero_retrain_all_sgd-0.01_acc"} <= keys


def test_several_models_do_not_mix(made_recoverability: Make, tmp_path: Path) -> None:
    rows = rows_of(made_recoverability(severities=(0.6,), strategies=("mend",)))
    result = made_recoverability(rows=rows + other(rows, subject="ResNet-20/CIFAR-10"))
    headline, keys = result.headline(), [key for key, _, _ in result.metrics()]
    assert "lenet-Digits_recovery_ratio" in headline
    assert "ResNet-20-CIFAR-10_recovery_ratio" in headline
    assert "recovery/ResNet-20-CIFAR-10_zero_mend_acc" in keys
    part = result.of("ResNet-20/CIFAR-10")
    assert list(part.headline()) == list(made_recoverability().headline())
    assert "recovery/zero_mend_acc" in [key for key, _, _ in part.metrics()]
    save_result(result, tmp_path)
    assert "ResNet-20/CIFAR-10" in text_of(as_html([load_result(tmp_path)]))


def test_failures_are_told(made_recoverability: Make) -> None:
    rows = rows_of(made_recoverability(severities=(0.6,)))
    broken = [
        {**row, "status": "diverged: the loss"} if row["strategy"] == "retrain_all" else row
        for row in rows
    ]
    result = made_recoverability(rows=broken)
    assert "Retrain all: diverged: the loss" in text_of(as_html([result]))
    line = result.lines[result.lines["strategy"] == "retrain_all"].iloc[-1]
    assert (line["failed"], line["status"], math.isnan(line["acc"])) == (
        2, "diverged: the loss", True,
    )  # fmt: skip


def test_a_backdoor_is_told(made_recoverability: Make) -> None:
    rows = rows_of(made_recoverability(severities=(0.6,), strategies=("mend",)))
    rows = other(rows, asr_damaged=0.99, asr_repaired=0.25)
    result = made_recoverability(rows=rows)
    assert result.headline()["backdoor_rate"].interval.value == 0.25
    text = text_of(as_html([result]))
    assert "The backdoor then turns 25.0 % of the images with its trigger" in text
    assert "instead of 99.0 %." in text
    (shown,) = [
        sheet
        for section in result.sections()
        for sheet in section.sheets
        if sheet.title == "What came back"
    ]
    assert "backdoor %" in shown.columns
    assert {line[-1].text for line in shown.cells} == {"25.0"}


def test_side_by_side_only_what_both_were_asked(made_recoverability: Make) -> None:
    one = made_recoverability()
    two = made_recoverability("better", severities=(0.6,), better=0.05)
    (mine, its), (section,) = restricted([one, two])
    assert set(mine.rows["severity"]) == set(its.rows["severity"]) == {0.0, 0.6}
    (sheet,) = section.sheets
    line = next(cells for cells in sheet.cells if cells[1].text == "Retrain all")
    assert [cell.text for cell in line] == [
        "Weights set to zero 0.6",
        "Retrain all",
        "79.0",
        "84.0",
        "+5.0",
    ]
    assert "zero 0.3 retrain_all" in section.notes[0]
    numbers = {
        cells[0].text: [cell.text for cell in cells[1:]] for cells in glance([mine, its]).cells
    }
    assert numbers["Accuracy after repair"] == ["79.0 %", "84.0 %"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"steps": 50}, "Other effort"), ({"severities": (0.1,)}, "No draw of a damage in common")],
)
def test_what_was_asked_otherwise_is_not_compared(
    changes: dict, reason: str, made_recoverability: Make
) -> None:
    one, two = made_recoverability(), made_recoverability("second", **changes)
    _, (section,) = restricted([one, two])
    assert reason in section.notes[0]
    assert not section.sheets
    if "steps" in changes:
        cells = glance([one, two]).cells
        assert all(cell.small == "asked otherwise" for line in cells for cell in line[1:])


def test_other_images_are_not_compared(made_recoverability: Make) -> None:
    one, two = made_recoverability(), made_recoverability("second")
    manifest = {**two.about.data[0], "splits": {"test": {"samples": 200, "digest": "e" * 64}}}
    two = replace(two, about=replace(two.about, data=[manifest]))
    _, (section,) = restricted([one, two])
    assert section.notes[0] == "Other test images: nothing is compared repair by repair."
    assert not section.sheets


def test_report_of_two_runs(made_recoverability: Make, tmp_path: Path) -> None:
    for name, better in (("first", 0.0), ("second", 0.05)):
        result = made_recoverability(name, better=better, severities=(0.6,))
        save_result(result, tmp_path / name)
    report([str(tmp_path / "first"), str(tmp_path / "second")], tmp_path / "both.html")
    text = text_of((tmp_path / "both.html").read_text())
    assert "first against second" in text
    assert "+5.0" in text


def test_a_notebook_and_a_frame(made_recoverability: Make) -> None:
    result = made_recoverability()
    assert "Came back" in result._repr_html_()
    assert result.to_frame() is result.lines
    assert json.loads(json.dumps(result.parameters()))["damage.zero"] == "0.3 0.6"


def test_failed_draws_count_as_damaged_and_times_are_censored(made_recoverability: Make) -> None:
    """By hand: three draws damaged to .30 .29 .28, repaired to .80, failed, and .76."""
    rows = rows_of(made_recoverability(severities=(0.6,), strategies=("retrain_all",), draws=3))
    curves = [[0.3, 0.89, 0.9], [0.29], [0.28, 0.5, 0.76]]
    for row in rows:
        if row["strategy"] == "retrain_all" and row["damage"] == "zero":
            points = [{"step": 5.0 * i, "acc": a} for i, a in enumerate(curves[row["seed"]])]
            failed = row["seed"] == 1
            row |= {"curve": json.dumps(points), "status": "diverged: x" if failed else "ok"}
            row |= {"acc_repaired": 0.1} if failed else {}
    result = made_recoverability(rows=rows)
    (line,) = result.lines.query("strategy == 'retrain_all' and damage == 'zero'").to_dict(
        "records"
    )
    assert (line["draws"], line["failed"], line["status"]) == (3, 1, "ok")
    assert line["acc"] == pytest.approx((0.80 + 0.29 + 0.76) / 3)
    assert line["ratio"] == pytest.approx((0.5 / 0.6 + 0 + 0.48 / 0.62) / 3)
    assert math.isnan(line["steps_99"]), "two of three never get there: the median is not known"
    assert line["reached_99"] == 1
    areas = [(0.61 / 2 + 0.005) / 1.2, 1.0, (0.62 / 2 + 0.4 + 0.14 / 2) / 1.24]
    assert line["area"] == pytest.approx(sum(areas) / 3)
    text = text_of(as_html([result]))
    assert "2 of 3" in text
    assert "Retrain all: diverged: x" in text
    alone = made_recoverability(rows=other(rows, drop_error=1.0)).lines  # all inside the noise
    assert alone[["ratio", "area"]].isna().all(axis=None)
