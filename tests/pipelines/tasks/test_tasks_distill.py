"""A teacher with several heads teaches all of them, or is refused by what cannot be done."""

from pathlib import Path
from typing import Any

import pytest

from datamodules import Digits
from datamodules.errors import UserError
from datamodules.tasks import read_tasks
from lightning_modules import Classifier, build, load_saved
from lightning_modules.distillation import Search
from lightning_modules.saved_model import save_classifier
from lightning_modules.tasks import head_names
from pipelines import distill
from pipelines.cli import main
from pipelines.distill_tasks.result import TaskDistillationResult
from pipelines.report.result import load_result, summary_metrics
from pipelines.tracking import Tracking


@pytest.fixture
def two_heads(home: Path) -> Classifier:
    """Untrained, with a head for the digit and one for its parity."""
    (home / "tasks.yaml").write_text(
        "digit: same\nparity: {even: [0, 2, 4, 6, 8], odd: [1, 3, 5, 7, 9]}\n"
    )
    tasks = read_tasks(home / "tasks.yaml", [str(digit) for digit in range(10)])
    names = head_names(tasks)
    made = Classifier(
        build("lenet", len(names), 1), classes=names, preprocessing=Digits.native,
        architecture="builtin:lenet", source="two heads",
    )  # fmt: skip
    made.tasks = tasks
    return made


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"labelled": 20}, "no `labelled`"),
    ({"auto": Search(trials=2)}, "no `auto.trials`"),
    ({"controls": ["pruned"]}, "label_only and single_task for a teacher with several tasks"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED, ids=[next(iter(o)) for o, _ in REFUSED])
def test_what_would_be_ignored_is_refused(
    two_heads: Classifier, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        distill(two_heads, "lenet", Digits(limit=60), tracking=Tracking(enabled=False), **options)


def test_second_teacher_is_refused(two_heads: Classifier) -> None:
    teachers: Any = ["lenet", two_heads]
    with pytest.raises(UserError, match="Expected one teacher where it has several tasks"):
        distill(teachers, "lenet", Digits(limit=60), tracking=Tracking(enabled=False))


def test_single_task_of_a_teacher_with_one_head_is_refused(home: Path) -> None:
    options: Any = {"controls": ["single_task"], "tracking": Tracking(enabled=False)}
    with pytest.raises(UserError, match="the teacher has one head"):
        distill("lenet", "lenet", Digits(limit=60), **options)


@pytest.mark.slow
@pytest.mark.timeout(900)  # 140 s of CPU time
def test_student_learns_every_head_beside_its_controls(
    two_heads: Classifier, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_classifier(two_heads, home / "saved")
    said = ["distill", "--teacher", f"checkpoint:{folder}", "--student", "self", "--data", "Digits",
            "--data.limit", "30", "--controls", "label_only", "single_task", "--seeds", "0", "1",
            "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false",
            "--evaluation", "quick"]  # fmt: skip
    assert main(said) == 0
    first = capsys.readouterr().out
    assert "Against the labels alone the teacher brings" in first
    assert first.count("measure  ") == 3  # of teacher, student and label only one seed
    (saved,) = (home / "mlruns" / "results").glob("distill-*/")
    result = load_result(saved)
    assert isinstance(result, TaskDistillationResult)
    clean = result.rows.loc[result.rows["setting"] == "clean"]
    seeds = clean.groupby("model")["seed"].nunique().to_dict()
    assert seeds == {"teacher": 1, "student": 2, "label only": 2, "single task": 2}
    assert set(clean.groupby(["model", "seed", "task"]).size()) == {30}
    assert {"joint_sum", "itself"} <= set(result.rows["attacked"])
    assert clean.loc[clean["model"] == "teacher", "kl"].abs().max() < 1e-6
    keys = [key for key, *_ in [*result.metrics(), *summary_metrics(result)]]
    assert {key.count("/") for key in keys} == {1}
    assert "distillation/single_task_parity_acc" in keys
    (weights,) = (home / "mlruns" / "checkpoints").glob("*-student-s0-*")
    assert [task.name for task in load_saved(weights).tasks] == ["digit", "parity"]
    assert len(result.beside(result)[2]) == 1
    assert main(said) == 0  # nothing is trained or measured again
    assert "measure  " not in capsys.readouterr().out
    assert len([*(home / "mlruns" / "checkpoints").iterdir()]) == 8
