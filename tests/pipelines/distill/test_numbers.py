"""What is said of a distillation, by rows that were made up."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from callbacks.results import ProbeResult
from callbacks.statistics import crossed_mean
from pipelines.distill.comparison import ModelComparison, difference
from pipelines.distill.figures import apart, comparison_figures, front
from pipelines.distill.numbers import over_seeds
from pipelines.evaluate.result import Evaluation
from pipelines.report.about import About


def test_no_interval_of_impossible_values() -> None:
    """Two seeds that differ: Student's t reaches below 0, the divergence does not."""
    tables = [pd.DataFrame({"kl": np.full(40, kl) + np.arange(40) / 100}) for kl in (0.1, 1.9)]
    free = crossed_mean(np.stack([table["kl"] for table in tables]))
    number = over_seeds(tables, lambda rows: rows["kl"])
    assert free.low < 0
    assert number == (free.value, 0.0, free.high)


def test_sentences_say_what_is_kept(made_result: Any) -> None:
    result = made_result()
    comparison = result.comparison
    accuracy, kept, controls, gain, alike = (
        text.replace("\N{NO-BREAK SPACE}", " ") for text in result.sentences()
    )
    share = comparison.number("student", "kept")
    assert accuracy.startswith(
        f"The student gets {100 * comparison.number('student', 'acc').value:.1f} % of the test"
    )
    assert "its teacher, 9 times as large, 95.0 % (95 % interval 94.3\N{EN DASH}95.6)" in accuracy
    assert kept.startswith(f"It keeps {100 * share.value:.1f} % (")
    assert kept.endswith("of the teacher's accuracy.")
    assert share.low < share.value < share.high
    label_only, pruned = (
        f"{100 * comparison.number(name, 'acc').value:.1f} %"
        for name in ("label only", "pruned teacher")
    )
    assert f"trained on the labels alone gets {label_only} right" in controls
    assert f"pruned to the student's work {pruned}." in controls
    assert "which is beyond chance" in gain
    assert "errs on" in alike
    points = difference(comparison.named("label only"), comparison.named("student"))
    assert points is not None
    assert points[0].value == pytest.approx(0.08, abs=0.01)


def test_noise_is_not_called_a_share(made_result: Any) -> None:
    """Twelve images and three seeds that differ: no share, and no plus-minus."""
    result = made_result(right=0.5, n=12)
    assert not np.isfinite(result.comparison.number("student", "kept").value)
    assert "these images and seeds cannot tell" in result.sentences()[1]
    assert "student_kept" not in result.headline()
    assert not any(key.startswith("summary/student_kept") for key, *_ in result.metrics())
    assert "±" not in " ".join(result.sentences())


def attacked(rates: dict[int, float]) -> Evaluation:
    """An evaluation whose one attack leaves so many of 100 images right, by step."""
    rows = []
    for step, share in rates.items():
        correct = (np.arange(100) < 100 * share).astype(int)
        columns = {
            "setting": "fgsm_linf" if step else "clean", "severity": step, "value": step / 1000,
            "index": np.arange(100), "label": 0, "prediction": 1 - correct, "correct": correct,
            "margin": correct - 0.5, "confidence": 0.5, "loss": 1.0 - correct, "brier": 0.5,
            "worst_loss": 1.0, "forwards": 1.0, "backwards": 1.0, "seconds": 0.0,
        }  # fmt: skip
        rows.append(pd.DataFrame(columns))
    facts = ("FGSM (L∞)", "epsilon (L∞)", "fgsm", None)
    probes = [ProbeResult("fgsm_linf", "adversarial", *facts, pd.concat(rows[1:]))]
    probes.insert(0, ProbeResult("clean", "test", "Clean images", "none", "clean", None, rows[0]))
    about = About(models=[{"name": "a", "classes": ["a", "b"]}], data=[{"name": "Digits"}])
    return Evaluation(about, probes)


def test_robust_numbers_are_at_the_radius_the_teacher_stands(made_result: Any) -> None:
    models = made_result().models
    teacher = replace(models[0], evaluation=attacked({0: 1, 75: 0.9, 150: 0.8, 300: 0.02}))
    student = replace(models[1], evaluation=attacked({0: 0.9, 75: 0.6, 150: 0.2, 300: 0.0}))
    result = made_result(models=[teacher, student])
    assert result.comparison.radii == {"linf": 150}
    assert result.comparison.ball == "L∞ 0.15"
    assert result.comparison.number("student", "kept_robust").value == pytest.approx(0.25)
    assert result.comparison.number("teacher", "robust").value == pytest.approx(0.8)
    assert "25.0" in result.sentences()[1]
    assert result.headline()["student_robust"].interval.value == pytest.approx(0.2)
    assert "at L∞ 0.15" in result.headline()["student_robust"].conditions
    assert set(comparison_figures(result.comparison)) == {"accuracy_size", "robustness_size"}
    assert set(result.comparison.paired["setting"]) == {"clean", "fgsm_linf"}
    hopeless = replace(teacher, evaluation=attacked({0: 1, 75: 0.01, 150: 0}))
    told = made_result(models=[hopeless, student]).sentences()
    assert "there is no robustness to keep" in told[-1]
    assert "under attack" not in told[1]


def test_the_teacher_is_not_compared_with_itself(made_result: Any) -> None:
    table = made_result().tables()["models"].set_index("model")
    relative = ["kept", "agreement", "kl", "flips", "copied"]
    assert table.loc["teacher", relative].isna().all()
    assert table.loc["student", relative].notna().all()
    assert list(table["kind"]) == ["teacher", "student", "control", "control"]
    assert list(table["seeds"]) == [1, 3, 3, 1]


def test_the_front_is_what_nothing_dominates() -> None:
    size = np.array([4.0, 1.0, 2.0, 2.0, 3.0])
    value = np.array([9.0, 5.0, 7.0, 6.0, np.nan])
    assert front(size, value).tolist() == [1, 2, 0]


def test_no_bar_hides_another(made_result: Any) -> None:
    assert apart([1.0, 5.0, 9.0], 1.0) == [1.0, 5.0, 9.0]
    assert apart([5.0, 1.0, 1.0, 1.5], 1.0) == [5.0, 1.0, 2.0, 3.0]
    (axes,) = comparison_figures(made_result().comparison)["accuracy_size"].axes
    at = {bar.get_label(): bar.lines[0].get_xdata()[0] for bar in axes.containers}
    names = ["label only", "pruned teacher", "student", "teacher"]
    assert sorted(at) == names, "every model is named"
    positions = sorted(np.log10(list(at.values())))
    assert min(np.diff(positions)) > 0.02 * np.ptp(positions)
    assert len({bar.lines[0].get_color() for bar in axes.containers}) == len(names)


def test_models_of_two_distillations_are_paired_by_seed(made_result: Any) -> None:
    models = made_result().models
    students = ModelComparison(models).named("student")
    points, p = difference(students[:1], [replace(students[0], rows=models[0].rows)]) or (None, 0)
    assert points is not None
    expected = models[0].rows["correct"].mean() - students[0].rows["correct"].mean()
    assert points.value == pytest.approx(expected)
    assert p < 0.01
    assert difference(students[:1], students[1:]) is None, "no seed in common"
