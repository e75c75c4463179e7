"""Of several data sets each task's rows are those of a network with that head alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from callbacks.results import ProbeResult
from datamodules import Digits, ImageDataModule, ImageFolder, Joined
from datamodules.errors import UserError
from datamodules.tasks import Task, with_labels
from lightning_modules import Classifier, build
from lightning_modules.tasks import head_names
from pipelines import assess, evaluate
from pipelines.cli import main
from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result
from pipelines.tasks.result import TaskEvaluation
from pipelines.tracking import Tracking

PARTS = Path("digit=Digits,turned=RotatedDigits")
OPTIONS: dict[str, Any] = {"tracking": Tracking(enabled=False), "masking": False}


def two_heads(data: Joined) -> Classifier:
    """Untrained, with a head for each data set."""
    torch.manual_seed(0)
    made = Classifier(
        build("lenet", len(data.classes), 1), classes=head_names(data.tasks),
        preprocessing=Digits.native, architecture="builtin:lenet", source="two heads",
    )  # fmt: skip
    made.tasks = data.tasks
    return made.eval()


def one_head(both: Classifier, place: slice) -> Classifier:
    """A plain LeNet with one of its heads."""
    alone, state = build("lenet", 10, 1), both.model.state_dict()
    head = {f"fc3.{name}": state[f"fc3.{name}"][place] for name in ("weight", "bias")}
    alone.load_state_dict({**state, **head})
    return Classifier(
        alone, classes=Digits.classes, preprocessing=Digits.native, architecture="builtin:lenet"
    ).eval()


def test_rows_are_those_of_one_head_on_its_own_data_set(home: Path) -> None:
    data = Joined(PARTS, limit=40)
    both = two_heads(data)
    attack: dict[str, Any] = {"attack": "pgd", "epsilon": [0.05], "steps": 3}
    found = evaluate(both, data, corruption=["gaussian_noise"], **attack, **OPTIONS)
    assert isinstance(found, TaskEvaluation)
    assert set(found.rows["attacked"]) == {"", "itself"}  # nothing across tasks, which is told
    assert "No test image has labels of two tasks" in " ".join(found.about.notes)
    for p, (task, part) in enumerate(data.parts.items()):
        alone = evaluate(
            one_head(both, slice(10 * p, 10 * p + 10)), part, corruption=["gaussian_noise"],
            **attack, **OPTIONS,
        )  # fmt: skip
        assert isinstance(alone, Evaluation)
        mine = found.rows.loc[found.rows["task"] == task]
        assert set(mine["data"]) == {part.title}
        assert compared(mine, alone.results) == 7  # clean, one radius, five severities


def compared(mine: Any, results: Sequence[ProbeResult]) -> int:
    """How many settings are alike, image by image."""
    count = 0
    for result in results:
        for group, rows in result.rows.groupby(["setting", "value"]):
            setting, value = cast("tuple[str, float]", group)
            own = mine.loc[(mine["setting"] == setting) & (mine["value"] == value)]
            pair = own.merge(rows, on="index", suffixes=("", "_alone"))
            assert len(pair) == len(own) == len(rows) == 40
            assert pair["prediction"].equals(pair["prediction_alone"])
            assert pair["correct"].equals(pair["correct_alone"])
            # The last layer of 20 outputs adds in another order than that of 10.
            assert pair["loss"].to_numpy() == pytest.approx(pair["loss_alone"], abs=1e-5)
            count += 1
    return count


def test_other_commands_and_networks_of_one_head_are_refused(home: Path) -> None:
    data = Joined(PARTS, limit=40)
    with pytest.raises(UserError, match="one data set for `assay assess`"):
        assess("lenet", data, tracking=Tracking(enabled=False))
    with pytest.raises(UserError, match="a head for each of the data sets Digits"):
        evaluate("lenet", data, **OPTIONS)


def test_tasks_of_folders_may_have_other_classes(tmp_path: Path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for name in ("ant", "bee", "fly"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "0.png")
    data: ImageDataModule = ImageFolder(tmp_path)
    task = Task("wings", ("no", "yes"), {"ant": "no", "fly": "yes"})
    part = with_labels(data, "wings", task.classes, task.labels(data.classes))
    assert (part.classes, part.images("test").label.tolist()) == (("no", "yes"), [0, 1])
    assert data.classes == ("ant", "bee", "fly")


@pytest.mark.slow
@pytest.mark.timeout(600)  # 40 s of CPU time
def test_trained_distilled_and_evaluated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", f"Joined:{PARTS}", "--data.limit", "200", "--data.batch_size", "32"]
    quiet = ["--trainer.max_epochs", "10", "--trainer.enable_progress_bar", "false",
             "--evaluation", "none"]  # fmt: skip
    assert not main(["fine-tune", "--model", "lenet", *data, *quiet])
    assert "task     turned: 10 classes" in capsys.readouterr().out
    (folder,) = (home / "mlruns" / "checkpoints").iterdir()
    said = ["distill", "--teacher", f"checkpoint:{folder}", "--student", "self", *data, *quiet]
    assert not main([*said, "--controls", "label_only", "single_task", "--seeds", "0", "1"])
    (saved,) = (home / "mlruns" / "results").glob("distill-*/")
    result: Any = load_result(saved)
    assert result.accuracy("student", "mean").value > 0.5  # learnt: guessing is 0.1
    assert result.change("label only", "mean").low < result.change("label only", "mean").high
    assert set(result.rows["data"]) == {"Digits", "RotatedDigits"}
    assert "Against the labels alone the teacher brings" in capsys.readouterr().out
