"""What an evaluation says of its rows, and that it comes back from disk as it was."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score

from callbacks.adversarial import attack_sets
from callbacks.results import ProbeResult, check_settings, headline_step, unit_slug
from datamodules.errors import UserError
from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result, save_result, summary_metrics

MakeEvaluation = Callable[..., Evaluation]


def changed(result: ProbeResult, **columns: object) -> ProbeResult:
    return replace(result, rows=result.rows.assign(**columns))


def test_metrics_have_one_slash_and_integer_steps(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("fgsm_linf", "pgd_linf", "pgd_l2"))
    metrics = [*evaluation.metrics(), *summary_metrics(evaluation)]
    keys = {key for key, _, _ in metrics}
    assert all(re.fullmatch(r"[a-z]+/[a-z0-9_]+", key) for key in keys)
    assert all(isinstance(step, int) for _, _, step in metrics)
    assert len(metrics) == len({(key, step) for key, _, step in metrics})
    points = {(key, step): value for key, value, step in metrics}
    steps = {step for key, step in points if key == "adversarial/pgd_linf_acc"}
    assert steps == {0, 50, 100, 200}, "a curve begins with the undisturbed images"
    assert points["adversarial/pgd_linf_severity", 50] == 0.05, "a step is only about 1000 epsilon"
    low, value, high = (
        points[f"adversarial/pgd_linf_acc{end}", 100] for end in ("_low", "", "_high")
    )
    assert low < value < high
    assert ("test/clean_loss", 0) in points
    assert ("adversarial/worst_linf_acc", 200) in points
    assert points["summary/adversarial_linf_epsilon", 0] == 0.2


def test_numbers_are_those_of_other_libraries(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation()
    clean = evaluation.results[0].rows
    accuracy = accuracy_score(clean["label"], clean["prediction"])
    interval = stats.binomtest(int(accuracy * 200), 200).proportion_ci(method="wilson")
    assert evaluation.headline()["clean_acc"].interval == pytest.approx((accuracy, *interval))
    worst = np.minimum.reduce(
        [one.rows.query("value == 0.2")["correct"].to_numpy() for one in evaluation.results[1:]]
    )
    assert evaluation.headline()["adversarial_linf_acc"].interval.value == worst.mean()


def test_the_worst_case_is_over_all_attacks_of_a_norm_whatever_their_name(
    made_evaluation: MakeEvaluation,
) -> None:
    evaluation = made_evaluation(probes=("fgsm_linf", "pgd_linf"))
    labelled = changed(replace(evaluation.results[2], name="mine"), setting="mine", correct=0)
    both = replace(evaluation, results=[*evaluation.results[:2], labelled])
    assert both.headline()["adversarial_linf_acc"].interval.value == 0
    assert both.headline()["adversarial_acc"].interval.value == 0
    assert evaluation.headline()["adversarial_linf_acc"].interval.value > 0


def test_norms_are_kept_apart_and_joined(made_evaluation: MakeEvaluation) -> None:
    headline = made_evaluation(probes=("pgd_linf", "pgd_l2")).headline()
    of_one = min(
        headline["adversarial_linf_acc"].interval.value,
        headline["adversarial_l2_acc"].interval.value,
    )
    assert headline["adversarial_acc"].interval.value <= of_one


@pytest.mark.parametrize(
    ("values", "usual", "expected"),
    [
        ({50: 0.05, 100: 0.1, 200: 0.2}, 0.1, 100),
        ({50: 0.05, 100: 0.1}, 0.11, 100),  # never the nearest in disguise: the largest
        ({50: 0.05, 400: 0.4}, 0.1, 400),
        ({8: 2 / 255, 31: 8 / 255}, 0.25 * 4 * 8 / 255, 31),  # equal but for rounding
        ({1: 1.0, 5: 5.0}, None, 5),
    ],
)
def test_which_severity_stands_for_a_curve(
    values: dict[int, float], usual: float | None, expected: int
) -> None:
    assert headline_step(values, usual) == expected


def test_attacks_with_other_radii_do_not_water_the_worst_case_down(
    made_evaluation: MakeEvaluation,
) -> None:
    strong = made_evaluation(probes=("pgd_linf",))
    weak = made_evaluation(probes=("fgsm_linf",), epsilons=(0.01,)).results[1]
    evaluation = replace(strong, results=[*strong.results, replace(weak, headline=0.2)])
    clean, *attacked = evaluation.results
    (attacks,) = attack_sets(attacked, clean)
    assert attacks.radius == 0.2
    assert [one.name for one in attacks.measured(attacks.step)] == ["pgd_linf"]
    assert (
        evaluation.headline()["adversarial_linf_acc"].interval
        == strong.headline()["adversarial_linf_acc"].interval
    )


def test_what_is_not_finite_is_left_out(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    rows = evaluation.results[1]
    results = [evaluation.results[0], changed(rows, worst_loss=np.nan, loss=np.inf)]
    metrics = replace(evaluation, results=results).metrics()
    assert all(np.isfinite(value) for _, value, _ in metrics)
    assert "adversarial/pgd_linf_worst_loss" not in {key for key, _, _ in metrics}
    assert "adversarial/pgd_linf_acc" in {key for key, _, _ in metrics}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([("pgd_linf", 31, 0.0312), ("pgd_linf", 31, 0.0314)], "0.0312 and 0.0314"),
        ([("pgd/linf", 31, 0.0312)], "'pgd/linf'"),
        ([("eps=3", 3, 0.003)], "'eps=3'"),
        ([("", 3, 0.003)], "''"),
    ],
)
def test_settings_that_mlflow_could_not_draw(settings: list, expected: str) -> None:
    with pytest.raises(UserError, match=re.escape(expected)):
        check_settings("pgd_linf", settings)


def test_two_radii_on_one_step_are_refused_with_both(made_evaluation: MakeEvaluation) -> None:
    with pytest.raises(UserError, match=r"0\.05 and 0\.0504"):
        made_evaluation(epsilons=(0.05, 0.0504, 0.2)).metrics()


def test_round_trip(made_evaluation: MakeEvaluation, tmp_path: Path) -> None:
    evaluation = made_evaluation(run_id="abc", notes=["a note"], interrupted=True)
    read = load_result(save_result(evaluation, tmp_path))
    assert isinstance(read, Evaluation)
    assert read.about == evaluation.about
    for one, other in zip(read.results, evaluation.results, strict=True):
        assert replace(one, rows=pd.DataFrame()).algorithm == other.algorithm
        pd.testing.assert_frame_equal(one.rows, other.rows)
    assert read.metrics() == evaluation.metrics()
    assert str(read.headline()) == str(evaluation.headline())  # as text, where NaN is NaN


def test_tables_are_what_mlflow_reads(made_evaluation: MakeEvaluation, tmp_path: Path) -> None:
    evaluation = made_evaluation()
    save_result(evaluation, tmp_path)
    read = json.loads((tmp_path / "tables" / "by_class.json").read_text())
    assert read["columns"] == ["class", "clean", "fgsm_linf 0.2", "pgd_linf 0.2"]
    assert [line[0] for line in read["data"]] == evaluation.classes
    settings = json.loads((tmp_path / "tables" / "by_setting.json").read_text())
    names = [line[0] for line in settings["data"]]
    assert len(names) == len(set(names)), "MLflow compares runs by the first column"
    assert "worst_linf 0.1" in names


def test_the_clean_image_and_smaller_radii_are_points_of_every_ball(
    made_evaluation: MakeEvaluation,
) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    clean, attack = evaluation.results
    lucky = changed(attack, correct=1)  # wrong images that become right under attack
    (attacks,) = attack_sets([lucky], clean)
    assert attacks.at_headline["correct"].mean() == clean.rows["correct"].mean()
    first = attack.rows["severity"] == attack.rows["severity"].min()
    weaker = changed(attack, correct=attack.rows["correct"].where(first, 1))
    (attacks,) = attack_sets([weaker], clean)
    expected = np.minimum(clean.rows["correct"].to_numpy(), attack.rows["correct"][first])
    assert attacks.at_headline["correct"].mean() == expected.mean()


def test_images_that_an_attack_lacks_are_left_out_and_told(
    made_evaluation: MakeEvaluation,
) -> None:
    evaluation = made_evaluation(probes=("fgsm_linf", "pgd_linf"))
    clean, fgsm, pgd = evaluation.results
    fewer = replace(pgd, rows=pgd.rows[pgd.rows["index"] >= 20])
    number = replace(evaluation, results=[clean, fgsm, fewer]).headline()["adversarial_linf_acc"]
    assert "on 180 images, 20 left out that not every attack has" in number.note
    assert "left out" not in evaluation.headline()["adversarial_linf_acc"].note


def test_attacks_on_the_verdict_alone_find_no_worst_loss(made_evaluation: MakeEvaluation) -> None:
    """The loss of the undisturbed images is not the worst one of the ball."""
    evaluation = made_evaluation(probes=("pgd_linf",))
    clean, attack = evaluation.results
    verdict = replace(evaluation, results=[clean, changed(attack, worst_loss=np.nan)])
    assert np.isnan(verdict.headline()["adversarial_linf_loss"].interval.value)
    found = evaluation.headline()["adversarial_linf_loss"].interval
    assert found.value >= clean.rows["loss"].mean()
    assert found.low < found.value < found.high


def test_doubtful_ends_are_marked_with_the_reason(made_evaluation: MakeEvaluation) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",), n=400)
    clean, attack = evaluation.results
    one = changed(clean, loss=clean.rows["loss"].where(clean.rows["index"] > 0, 500.0))
    doubtful = replace(evaluation, results=[one, attack])
    assert "quarter of the spread" in doubtful.headline()["clean_loss"].note
    (section,) = [part for part in doubtful.sections() if part.title == "Every number"]
    assert "† may not hold: one value makes up a quarter" in section.sheets[0].caption
    assert any("†" in cell.small for line in section.sheets[0].cells for cell in line)


def break_json(folder: Path) -> None:
    (folder / "result.json").write_text('{"model": ')


def break_rows(folder: Path) -> None:
    (folder / "rows" / "clean.parquet").write_text("no table")


def remove_rows(folder: Path) -> None:
    (folder / "rows" / "clean.parquet").unlink()


def other_version(folder: Path) -> None:
    facts = json.loads((folder / "result.json").read_text())
    facts["about"]["strange"] = 1
    (folder / "result.json").write_text(json.dumps(facts))


def other_question(folder: Path) -> None:
    facts = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**facts, "room": "../elsewhere"}))


@pytest.mark.parametrize(
    "spoil", [break_json, break_rows, remove_rows, other_version, other_question]
)
def test_spoiled_folders_are_named(
    spoil: Callable[[Path], None], made_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    spoil(save_result(made_evaluation(), tmp_path))
    with pytest.raises(UserError, match=f"Expected a result in '{tmp_path}'"):
        load_result(tmp_path)


def test_an_empty_folder_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="FileNotFoundError"):
        load_result(tmp_path)


@pytest.mark.parametrize("empty", [[], ["clean"], ["clean", "pgd_linf"]])
def test_interrupted_before_the_first_row(
    empty: list[str], made_evaluation: MakeEvaluation
) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    results = [
        replace(one, rows=one.rows.iloc[:0]) for one in evaluation.results if one.name in empty
    ]
    bare = replace(evaluation, results=results)
    assert bare.metrics() == []
    assert bare.tables() == {}


def test_slugs() -> None:
    assert [unit_slug(one) for one in ("epsilon (L∞)", "epsilon (L2)", "flips")] == [
        "linf",
        "l2",
        "flips",
    ]


def test_layers_stand_by_name_in_tables_figures_and_comparisons(
    made_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    evaluation = made_evaluation(probes=("pgd_linf",))
    curve = evaluation.result("pgd_linf")
    assert curve is not None
    steps = {value: i for i, value in enumerate(curve.values.values(), 1)}
    place = curve.rows["value"].map(steps)
    names = {"1": "conv1", "2": "layer1.0.conv2", "3": "fc"}
    layers = replace(
        curve, rows=curve.rows.assign(severity=place, value=place.astype(float)), places=names,
        unit="layer, first to last", title="Bits flipped by layer", headline=None, family="damage",
    )  # fmt: skip
    written = Evaluation(evaluation.about, [evaluation.results[0], layers])
    result = load_result(save_result(written, tmp_path))
    assert isinstance(result, Evaluation)
    tables = [sheet for section in result.sections() for sheet in section.sheets]
    shown = [
        [line[1].text for line in sheet.cells if line[0].text == layers.title]
        for sheet in tables
        if tuple(sheet.columns[:2]) == ("probe", "severity")
    ]
    assert [texts for texts in shown if texts] == [list(names.values())] * 2  # page and terminal
    axes = result.figures()["damage_layer_first_to_last_acc"].axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(names.values())
    assert axes.get_xscale() == "linear"
    sections = result.beside(result)[2]
    (paired,) = (sheet for section in sections for sheet in section.sheets)
    assert [line[1].text for line in paired.cells][1:] == list(names.values())
