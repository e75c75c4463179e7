"""`assay transfer` from the words on the command line to the passport."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from datamodules.fractions import Fraction
from lightning_modules import DivergedError, FineTuning
from pipelines.transfer import cell as cells
from pipelines.transfer import command, transfer, work
from pipelines.transfer.recipe import MODES, Recipe
from pipelines.transfer.result import Matrix
from pipelines.transfer.source import with_head_of
from pipelines.transfer.subject import Subject, subject
from pipelines.transfer.tasks import made_models, made_tasks
from pipelines.transfer.training import train

Assay = Callable[..., tuple[int, str, str]]
QUICK = "--seeds 0 --limit 60 --min_steps 4 --trainer.max_epochs 2 --trainer.accelerator cpu"


def words(lenet: Path, more: str) -> list[str]:
    return f"transfer --models checkpoint:{lenet} --arch lenet {QUICK} {more}".split()


def test_from_words_to_a_passport(assay: Assay, home: Path, lenet: Path) -> None:
    modes = " ".join(MODES)
    line = f"--data Digits --sources Digits --modes {modes} --fractions 1/class --probes fgsm"
    code, out, err = assay(*words(lenet, line))
    assert (code, err) == (0, ""), out
    assert "Plan: 6 cells, 0 known, about" in out
    page = next(home.rglob("passport.html")).read_text()
    assert "http" not in page.replace("http://www.w3.org", ""), "self-contained"
    for text in (
        "Where it can go",
        "Before and after",
        "forgotten, old head",
        "Predicted transfer",
    ):
        assert text in page
    tables = {file.stem: file for file in home.rglob("lenet/tables/*.json")}
    assert {"cells", "comparison", "by_class", "variability", "predicted"} <= set(tables)
    found = json.loads(tables["comparison"].read_text())
    table = pd.DataFrame(found["data"], columns=found["columns"]).set_index(["mode", "fraction"])
    assert len(table) == 6
    assert table.loc["untouched", "all"]["acc"] > 0.6, "the fixture knows digits fairly well"
    assert table.loc["probe", "1/class"]["forgot_old_head"] == 0
    assert table.loc["full", "1/class"]["distance"] > 0
    assert table["fgsm_linf_acc"].notna().all()
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    runs = {run.info.run_name: run for run in client.search_runs([_experiment(client)])}
    parent = next(run for name, run in runs.items() if name.startswith("transfer-"))
    child = runs["variability-lenet"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert child.data.metrics["transfer/Digits_full_acc"] == pytest.approx(
        table.loc["full", "1/class"]["acc"]
    )
    assert "summary/lenet_probe_mean_acc" in parent.data.metrics


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name("assay")
    assert found is not None
    return found.experiment_id


def test_an_interrupted_matrix_goes_on(
    assay: Assay, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real = cells.measured

    def watched(cell: cells.Cell, *rest: Any) -> cells.Outcome:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(str(cell))
        return real(cell, *rest)

    monkeypatch.setattr(work, "measured", watched)
    line = words(
        lenet, "--data Digits --modes probe --fractions 1/class 60 --tracking.enabled false"
    )
    code, _, err = assay(*line)
    assert (code, "the same command goes on" in err) == (130, True)
    monkeypatch.setattr(work, "measured", lambda c, *r: done.append(str(c)) or real(c, *r))
    assert assay(*line)[0] == 0
    assert len(done) == len(set(done)) == 3
    code, out, _ = assay(*line)
    assert (code, len(done), "3 known" in out) == (0, 3, True)
    assay(*line, "--fresh", "true")
    assert len(done) == 6


def test_a_failing_cell_takes_no_other_down(
    assay: Assay, home: Path, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cells.train

    def broken(one: Subject, mode: str, *rest: Any) -> Any:
        if mode == "last_k":
            raise RuntimeError("no memory left")
        return real(one, mode, *rest)

    monkeypatch.setattr(cells, "train", broken)
    line = words(lenet, "--data Digits --modes last_k full --fractions 20 --tracking.enabled false")
    code, out, _ = assay(*line)
    assert code == 0
    assert "last_k 20 s0: RuntimeError: no memory left" in out
    page = next(home.rglob("passport.html")).read_text()
    assert "Failed cells" in page
    assert page.count("no memory left") == 1
    monkeypatch.setattr(cells, "train", real)
    code, out, _ = assay(*line)
    assert (code, "2 known" in out, "failed" in out) == (0, True, False), "it is tried again"


@pytest.fixture
def one(lenet: Path) -> Subject:
    tasks = made_tasks(["Digits"])
    (model,) = made_models([f"checkpoint:{lenet}"], tasks, ["lenet"])
    return subject(model, tasks[0], [Fraction("200")], [0], torch.device("cpu"), limit=100)


RECIPE = Recipe(epochs=3, min_steps=1, flags={"accelerator": "cpu"})


def test_a_nan_loss_ends_at_the_last_good_checkpoint(
    one: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FineTuning._check

    def bad(self: FineTuning, loss: torch.Tensor) -> None:
        real(self, loss * torch.nan if self.current_epoch == 2 else loss)

    monkeypatch.setattr(FineTuning, "_check", bad)
    found = train(one, "full", Fraction("200"), 0, RECIPE)
    assert "stopped at the last good checkpoint" in found.notes[0]
    assert all(bool(weight.isfinite().all()) for weight in found.classifier.parameters())
    monkeypatch.setattr(FineTuning, "_check", lambda self, loss: real(self, loss * torch.nan))
    with pytest.raises(DivergedError):
        train(one, "full", Fraction("200"), 0, RECIPE)


@pytest.mark.parametrize("mode", ["last_k", "staged", "l2_sp", "full"])
def test_a_training_leaves_the_model_alone_and_repeats(one: Subject, mode: str) -> None:
    before = {k: v.clone() for k, v in one.model.classifier.state_dict().items()}
    first, again = (train(one, mode, Fraction("200"), 0, RECIPE) for _ in range(2))
    for name, weight in one.model.classifier.state_dict().items():
        assert torch.equal(weight, before[name])
    for name, weight in first.classifier.state_dict().items():
        assert torch.equal(weight, again.classifier.state_dict()[name])
    assert first.samples == 200
    assert 0 < first.val_acc <= 1
    assert not first.classifier.training


def test_frozen_blocks_are_bit_equal(one: Subject) -> None:
    found = train(one, "last_k", Fraction("200"), 0, RECIPE).classifier.state_dict()
    before = one.model.classifier.state_dict()
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], found[name])}
    assert moved == {"fc2", "fc3"}


def test_the_old_head_on_the_new_backbone(one: Subject) -> None:
    tuned = train(one, "full", Fraction("200"), 0, RECIPE).classifier
    original = one.model.classifier
    made = with_head_of(tuned, original)
    for name, weight in made.state_dict().items():
        expected = (original if "fc3" in name else tuned).state_dict()[name]
        assert torch.equal(weight, expected), name


def test_classes_that_differ_get_a_new_head_and_are_said(lenet: Path, tmp_path: Path) -> None:
    tasks = made_tasks(["Digits"])
    (model,) = made_models([f"checkpoint:{lenet}"], tasks, ["lenet"])
    model.classifier.classes = tuple("abcdefghij")
    found = subject(model, tasks[0], [Fraction("20")], [0], torch.device("cpu"), limit=50)
    assert not found.own_head
    assert "10 source classes, other than these 10" in found.notes()[-1]
    head = found.copied(0).model.get_submodule("fc3").weight
    assert not torch.equal(head, model.classifier.model.get_submodule("fc3").weight)  # type: ignore[arg-type]
    made = cells.measured(cells.Cell("m", "d", "untouched"), found, None, RECIPE)
    assert made.status == "ok", made.error
    assert made.rows["correct"].mean() > 0.2, "LEEP's conditional reads the old head"


def test_from_python(home: Path, lenet: Path) -> None:
    matrix = transfer(
        [f"checkpoint:{lenet}"], ["Digits"], ["probe"], fractions=["60"], arch=["lenet"], limit=50,
        trainer={"accelerator": "cpu"}, tracking=command.Tracking(enabled=False),
    )  # fmt: skip
    assert isinstance(matrix, Matrix)
    assert not matrix.failed


CASES = {
    "unknown data": ("--data Digitss", "There is no data set 'Digitss'. Did you mean 'Digits'?"),
    "unknown mode": ("--data Digits --modes ful", "There is no mode 'ful'. Did you mean 'full'?"),
    "unknown source": ("--data Digits --sources MNISTT", "Did you mean 'MNIST'?"),
    "unknown probe": ("--data Digits --probes fgsmm", "Did you mean 'fgsm'?"),
    "unknown option": ("--data Digits --fractionss 5", "Did you mean '--fractions'?"),
    "too small": ("--data Digits --fractions 9", "at least one image a class, but got 9 for 10"),
    "too large": (
        "--data Digits --fractions 500/class",
        "for `fractions` 500/class, but one class",
    ),
    "no fraction": ("--data Digits --fractions half", "like 5/class, 1000 or all, but got 'half'"),
    "architectures": ("--data Digits --arch lenet lenet", "`arch` once for all models or 1 times"),
    "no epochs": ("--data Digits --trainer.max_epochs -1", "`epochs` to be at least 1, but got -1"),
    "no steps": ("--data Digits --min_steps 0", "`min_steps` to be at least 1, but got 0"),
    "no such folder": ("--data ImageFolder:nowhere", "There is no folder 'nowhere'"),
    "no seed": ("--data Digits --seeds one", "seeds"),
    "no model": ("--data Digits --models lennet", "Did you mean 'lenet'?"),
}


@pytest.mark.parametrize(("line", "message"), CASES.values(), ids=CASES)
def test_mistakes(assay: Assay, home: Path, line: str, message: str) -> None:
    first = [] if "--models" in line else ["--models", "lenet"]
    code, out, err = assay("transfer", *first, *line.split())
    assert (code, message in err, "Traceback" in out + err) == (2, True, False), err
    assert not list(home.rglob("passport.html"))
