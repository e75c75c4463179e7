"""`assay assess`: what each question's command gives, under one run and on one page."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from killing import finished_runs, runs
from PIL import Image

from pipelines.assess import command, questions
from pipelines.assess.part import AssessedPart
from pipelines.assess.plan import corrected, seconds_in_all
from pipelines.assess.presets import PRESETS, AssessmentPreset
from pipelines.assess.result import Assessment
from pipelines.assess.subject import Subject, small_student
from pipelines.recover.repair import Effort
from pipelines.report.result import Result, load_result
from pipelines.tracking import TrackingError

Assay = Callable[..., tuple[int, str, str]]
TINY = AssessmentPreset(
    "nearly nothing",
    {
        "data": {},
        "robustness": {
            "preset": "quick", "probes": ["clean", "fgsm"], "adversarials": 0, "masking": False,
        },
        "recoverability": {
            "severities": [0.5], "draws": 1, "limit": 30, "strategies": ["retrain_last"],
            "effort": Effort(steps=2, images=8, points=1),
        },
        "variability": {"modes": ["probe"], "fractions": ["2/class"], "limit": 30},
        "distillation": {"controls": [], "evaluation": "quick"},
        "monitorability": {"preset": "quick", "forwards": 2, "limit": 8, "train_limit": 40},
    },
    epochs=1,
)  # fmt: skip
TWO = ("--questions", "robustness", "variability")


@pytest.fixture
def words(lenet: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setitem(command.PRESETS, "quick", TINY)
    line = f"assess --model checkpoint:{lenet} --arch lenet --data Digits --data.limit 48"
    return [*line.split(), "--trainer.accelerator", "cpu"]


def loaded(home: Path) -> Assessment:
    (file,) = (home / "mlruns" / "results").glob("assess-*/result.json")
    result = load_result(file.parent)
    assert isinstance(result, Assessment)
    return result


def result_of(home: Path, room: str) -> Result:
    (file,) = (home / "mlruns" / "results").glob(f"{room}-*/result.json")
    return load_result(file.parent)


def test_two_questions_under_one_run(assay: Assay, words: list[str], home: Path) -> None:
    code, out, err = assay(*words, *TWO)
    assert code == 0, err
    assert "Plan: about" in out
    assert "it is moved to" in out
    assert "it teaches" not in out, "that is not asked"
    assessment, made = loaded(home), finished_runs(home)
    by_question = {run.data.tags["question"]: run for run in made}
    parent = by_question["assessment"]
    children = [run for run in made if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    for room in ("evaluate", "transfer"):
        for name, number in result_of(home, room).headline().items():
            assert assessment.headline()[name].interval == pytest.approx(
                number.interval, nan_ok=True
            )
            logged = parent.data.metrics.get(f"summary/{name}", math.nan)
            assert logged == pytest.approx(number.interval.value, nan_ok=True)
    page = (home / "mlruns" / "results").glob("assess-*/report.html")
    html = next(page).read_text()
    for said in ("What was not tested", "Not asked: data, recoverability, distillation", "Profile"):
        assert said in html
    assert not list((home / "mlruns" / "resume" / "runs").glob("*.json")), "all are forgotten"


def test_only_the_plan(assay: Assay, words: list[str], home: Path) -> None:
    code, out, err = assay(*words, "--plan_only", "true")
    assert code == 0, err
    for question in questions.QUESTIONS.values():
        assert question.title in out
    assert not (home / "mlruns" / "results").exists()


def test_a_question_that_goes_wrong_leaves_the_others(
    assay: Assay, words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    broken_one = questions.QUESTIONS["robustness"]._replace(ask=broken)
    with monkeypatch.context() as patch:
        patch.setitem(questions.QUESTIONS, "robustness", broken_one)
        code, out, err = assay(*words, *TWO)
    assert code == 1
    assert "Traceback" not in out + err
    assessment = loaded(home)
    assert [part.told for part in assessment.asked] == ["failed: RuntimeError a defect", "answered"]
    assert [*assessment.answers] == ["variability"]
    assert "a defect" in " ".join(assessment.sentences())


def test_stopped_between_two_questions(
    assay: Assay, words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    held = questions.QUESTIONS["variability"]._replace(ask=stopped)
    with monkeypatch.context() as patch:
        patch.setitem(questions.QUESTIONS, "variability", held)
        code, _, _ = assay(*words, *TWO)
    assert code == 130
    assert {run.info.status for run in runs(home)} == {"FINISHED", "KILLED"}
    partial = loaded(home)
    assert partial.about.interrupted
    assert [part.status for part in partial.asked] == ["answered", "not yet"]

    def again(*_: Any) -> None:
        raise AssertionError("it was answered")

    held = questions.QUESTIONS["robustness"]._replace(ask=again)
    with monkeypatch.context() as patch:
        patch.setitem(questions.QUESTIONS, "robustness", held)
        code, out, err = assay(*words, *TWO)
    assert code == 0, err
    assert "answered before it was stopped" in out
    assert len(finished_runs(home)) == 3
    assert not loaded(home).about.interrupted


def test_a_store_that_is_gone_in_the_middle(
    assay: Assay, words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise TrackingError("The store does not take what the run logs (connection refused).")

    with monkeypatch.context() as patch:
        patch.setattr(
            "pipelines.tracking.run.Run.log_folder", lambda self, _: self.store and gone()
        )
        code, out, err = assay(*words, *TWO)
    assert code == 1
    assert "connection refused" in out + err
    assert "run the same command again" in err
    assert [*loaded(home).answers] == ["robustness", "variability"]
    code, _, err = assay(*words, *TWO)
    assert code == 0, err
    assert len(finished_runs(home)) == 3


@pytest.mark.parametrize(
    ("differentiable", "fit"),
    [(True, {"data", "robustness", "distillation", "monitorability"}),
     (False, {"data", "robustness", "distillation"})],
)  # fmt: skip
def test_a_black_box_is_not_asked_what_needs_layers_or_gradients(
    differentiable: bool, fit: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = SimpleNamespace(differentiable=differentiable)
    monkeypatch.setattr(questions, "black_box_in", lambda _: box)
    classifier: Any = SimpleNamespace(tasks=())
    asked = {name for name, one in questions.QUESTIONS.items() if not one.unfit(classifier, 9)}
    assert asked == fit


def test_test_images_alone_are_enough_for_robustness() -> None:
    classifier: Any = SimpleNamespace(tasks=())
    asked = {name for name, one in questions.QUESTIONS.items() if not one.unfit(classifier, 0)}
    assert asked == {"data", "robustness"}


def test_what_a_user_may_get_wrong(assay: Assay, words: list[str]) -> None:
    code, _, err = assay("assess", "--data", "Digits")
    assert code == 2
    assert "`model` with `data`" in err
    code, _, err = assay(*words, "--transfer_to", "Digit")
    assert code == 2
    assert "Did you mean 'Digits'" in err
    code, _, err = assay(*words, "--questions", "robustness", "--student", "lenet")
    assert code == 2
    assert "leave it out, or ask that too, by --questions robustness distillation" in err


def test_a_plan_is_corrected_by_what_was_measured() -> None:
    parts = [
        AssessedPart("robustness", "answered", predicted=10, seconds=20),
        AssessedPart("variability", predicted=30),
        AssessedPart("distillation", "not tested", "a reason", predicted=5),
    ]
    anew = corrected(parts)
    believed = 20  # seconds of the plan beside what was measured
    longer = 30 * (20 + believed) / (10 + believed)
    assert [part.predicted for part in anew] == pytest.approx([10, longer, 5])
    assert seconds_in_all(anew) == pytest.approx(20 + longer)


@pytest.mark.parametrize(
    ("channels", "side", "name"), [(1, 28, "lenet"), (3, 32, "cifar_resnet20"), (3, 224, "self")]
)
def test_students_that_fit(channels: int, side: int, name: str) -> None:
    assert small_student(channels, side) == name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_five(assay: Assay, words: list[str], home: Path) -> None:
    code, _, err = assay(*words)
    assert code == 0, err
    assessment = loaded(home)
    assert [*assessment.answers] == [*questions.QUESTIONS]
    assert len(assessment.sentences()) == 5
    assert len([n for n in assessment.headline().values() if n.card]) == 5


def test_other_data_under_the_same_name_are_another_assessment(home: Path) -> None:
    def contents() -> dict[str, Any]:
        return Subject("lenet", "Digits", ["ImageFolder:moved"], "checkpoint:s.pt").contents

    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (home / "moved" / name).mkdir(parents=True)
        for number in range(10):
            pixels = draw.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "moved" / name / f"{number}.png")
    (home / "s.pt").write_bytes(b"weights")
    before = contents()
    assert contents() == before
    one, other = home / "moved" / "cat" / "0.png", home / "moved" / "dog" / "0.png"
    bits = one.read_bytes(), other.read_bytes()
    one.write_bytes(bits[1])
    other.write_bytes(bits[0])
    assert contents()["transfer_to"] != before["transfer_to"]
    (home / "s.pt").write_bytes(b"others")
    assert contents()["student"] != before["student"]


@pytest.mark.parametrize(("images", "forwards"), [(20, 2000), (200, 200), (5000, 200)])
def test_few_images_are_explained_with_the_same_budget(images: int, forwards: int) -> None:
    classifier: Any = SimpleNamespace(model=torch.nn.Identity())
    asked = questions.settings_for(classifier, PRESETS["quick"].settings, images)
    assert asked["monitorability"]["forwards"] == forwards
