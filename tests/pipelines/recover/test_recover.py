"""`assay recover` as a user types it: runs, tables, page, and mistakes."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from callbacks.damage import Zero
from callbacks.words import number, percent
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import load_classifier
from pipelines import recover
from pipelines.recover import cell, row
from pipelines.recover.atlas import ATLASES, Atlas
from pipelines.recover.cell import Experiment
from pipelines.recover.damages import DATA_DAMAGES, Spoil, damaged_by
from pipelines.recover.original import Original
from pipelines.recover.plan import Plan
from pipelines.recover.repair import Effort
from pipelines.recover.result import Recoverability
from pipelines.recover.strategies import STRATEGIES, Strategy
from pipelines.recover.table import DRAW
from pipelines.report.result import load_result
from pipelines.study import Study
from pipelines.study import study as study_module
from pipelines.tracking import Tracking

Assay = Callable[..., tuple[int, str, str]]
FEW_DIGITS = ["--data", "Digits", "--data.batch_size", "64", "--data.limit", "300"]
DIGITS = [*FEW_DIGITS, "--limit", "100"]
FEW = ["--effort.steps", "3", "--effort.points", "2", "--effort.images", "32", "--draws", "1"]
UNTRACKED = ["--tracking.enabled", "false"]


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing pages takes most of the time; one test looks at them."""
    monkeypatch.setattr(study_module, "write_page", lambda *_: None)
    monkeypatch.setattr(study_module, "save_png", lambda *_: None)


undrawn = pytest.mark.usefixtures("_undrawn")


def results(home: Path) -> list[Recoverability]:
    folders = sorted((home / "mlruns" / "results").glob("recover-*"))
    return [load_result(folder) for folder in folders]  # type: ignore[misc]


def runs(home: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    return client.search_runs([one.experiment_id for one in client.search_experiments()])


def test_the_runs_the_table_and_the_page(assay: Assay, home: Path, lenet: Path) -> None:
    code, out, err = assay(
        "recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *DIGITS, *FEW,
        "--damage", "zero", "--severities", "0.6",
        "--strategies", "retrain_all", "mend", "reestimate_batch_norm",
    )  # fmt: skip
    assert code == 0, err
    (result,) = results(home)
    rows = result.rows
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()]
    told, *_ = [cells for cells in table if cells[:2] == ["zero 0.6", "Retrain all"]]
    (line,) = result.lines.query("damage == 'zero' and strategy == 'retrain_all'").itertuples()
    assert told[2].startswith(f"{percent(line.acc)} [")
    assert told[3].startswith(number(line.ratio, 2))
    assert set(rows["strategy"]) == {"nothing", "retrain_all", "mend", "reestimate_batch_norm"}
    assert set(rows["damage"]) == {"none", "scratch", "zero"}
    (folder,) = (home / "mlruns" / "results").iterdir()
    page = (folder / "report.html").read_text()
    assert "What came back" in page
    assert "not applicable: The model has no batch norm" in page
    assert (folder / "tables" / "recommendations.json").is_file()
    names = {run.info.run_name: run for run in runs(home)}
    parent = names["recover-lenet-zero-Digits-s0"]
    trained = rows[(rows["strategy"] == "retrain_all") & (rows["damage"] == "zero")]
    accuracy = parent.data.metrics["recovery/zero_retrain_all_acc"]
    assert accuracy == pytest.approx(trained["acc_repaired"].item())
    assert parent.data.metrics["summary/original_acc"] == rows["acc_original"].iloc[0]
    assert parent.data.params["damage.zero"] == "0.6"
    assert [one.dataset.name for one in parent.inputs.dataset_inputs] == ["Digits"]
    stages = {
        "original", "damaged zero 0.6", "repaired zero 0.6 retrain_all", "repaired zero 0.6 mend",
    }  # fmt: skip
    assert set(names) == stages | {parent.info.run_name}
    assert all(names[one].data.tags["mlflow.parentRunId"] == parent.info.run_id for one in stages)
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    run_id = names["repaired zero 0.6 retrain_all"].info.run_id
    curve = client.get_metric_history(run_id, "recovery/acc")
    assert [point.step for point in curve] == [0, 1, 3]


@undrawn
def test_recipes_seeds_and_silent_errors(assay: Assay, home: Path, lenet: Path) -> None:
    code, out, err = assay(
        "recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *DIGITS, *FEW, *UNTRACKED,
        "--damage", "bit_flip", "--severities", "[30]", "--strategies", "[retrain_last]",
        "--recipes", "sgd:0.01", "adamw", "--trainings", "2", "--inject_until", "0.2",
    )  # fmt: skip
    assert code == 0, err
    assert "silent errors %" in out
    (result,) = results(home)
    rows = result.rows.query("strategy == 'retrain_last'")
    assert sorted(rows["optimizer"]) == ["adamw", "adamw", "sgd 0.01", "sgd 0.01"]
    assert rows["training_seed"].nunique() == 2
    assert result.lines.query("strategy == 'retrain_last'")["net"].notna().all()
    (errors,) = result.silent_errors.to_dict("records")
    assert errors["sdc_high"] - errors["sdc_low"] <= 0.4
    assert errors["injections"] >= 30


@undrawn
def test_two_settings_do_not_replace_each_other(home: Path, lenet: Path) -> None:
    """In Python, and a model whose name has a slash: nothing is written beside the user's file."""
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    parts = torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 10)
    torch.save(torch.nn.Sequential(*parts), elsewhere / "net.pt")
    common: dict[str, Any] = {
        "strategies": ["retrain_last"], "draws": 1, "effort": Effort(2, 16, points=1), "limit": 50,
        "tracking": Tracking(enabled=False), "trust_pickle": True,
    }  # fmt: skip
    model = f"checkpoint:{elsewhere / 'net.pt'}"
    made = [
        recover(model, Digits(limit=100, resize=8, crop=8), "zero", [severity] * 2, **common)
        for severity in (0.3, 0.6)
    ]
    assert [len(one.rows) for one in made] == [4, 4], "a severity named twice counts once"
    assert [set(one.rows["severity"]) for one in made] == [{0.0, 0.3}, {0.0, 0.6}]
    kept = results(home)
    assert {float(one.rows["severity"].max()) for one in kept} == {0.3, 0.6}
    assert [file.name for file in elsewhere.iterdir()] == ["net.pt"]


MISTAKES = {
    "nothing to damage": ("recover", "Expected --model and --data (or --atlas quick)"),
    "unknown damage": (
        "recover --model lenet --data Digits --damage zeroo",
        "There is no damage 'zeroo'. Did you mean 'zero'?",
    ),
    "unknown strategy": (
        "recover --model lenet --data Digits --strategies [retrain_al]",
        "There is no strategy 'retrain_al'. Did you mean 'retrain_all'?",
    ),
    "share above one": (
        "recover --model lenet --data Digits --damage zero --severities [1.5]",
        "Expected `severity` to be a share in [0, 1], but got 1.5.",
    ),
    "no such layer": (
        "recover --model lenet --data Digits --layers [conv9]",
        "The model has no layer 'conv9'. Did you mean 'conv2'?",
    ),
    "no recipe": (
        "recover --model lenet --data Digits --recipes [sgdd:0.1]",
        "Expected a recipe like adamw:0.003, of sgd, adam, adamw, but got 'sgdd:0.1'.",
    ),
    "no steps": (
        "recover --model lenet --data Digits --effort.steps 0",
        "Expected `effort.steps` to be at least 1, but got 0.",
    ),
    "no draws": (
        "recover --model lenet --data Digits --draws 0",
        "Expected `draws` to be at least 1, but got 0.",
    ),
    "steps and epochs": (
        "recover --model lenet --data Digits --effort.steps 5 --effort.epochs 1",
        "Expected `effort.steps` or `effort.epochs`, not both.",
    ),
    "a flag that no repair heeds": (
        "recover --model lenet --data Digits --trainer.gradient_clip_val 1",
        "Expected no `trainer.gradient_clip_val`, which no repair would heed",
    ),
    "an atlas chooses itself": (
        "recover --atlas quick --damage noise --draws 7 --effort.steps 5",
        "Expected `atlas` without `damage`, `draws`, `effort`",
    ),
    "a root of one's own data": (
        "recover --model lenet --data Digits --atlas example --atlas_root .",
        "Got `atlas_root`, where the atlas' own data are",
    ),
    "a root without an atlas": (
        "recover --model lenet --data Digits --atlas_root .",
        "Expected `atlas_root` with `atlas` only",
    ),
    "spoilt weights": (
        "recover --model lenet --data Digits --spoil.steps 7",
        "Got `spoil`, but 'zero' damages no training data: leave it out.",
    ),
    "two learning rates": (
        "recover --model lenet --data Digits --recipes [sgd] --effort.tuning.lr 1",
        "Expected `recipes` or `effort.tuning.optimizer` and `effort.tuning.lr`, not both",
    ),
    "injected without chance": (
        "recover --model lenet --data Digits --damage prune --inject_until 0.1",
        "Only random damage of weights can be injected, not 'prune'.",
    ),
    "unknown probe": (
        "recover --model lenet --data Digits --severities 0.3 --probes cleann",
        "There is no probe 'cleann'. Did you mean 'clean'?",
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes(name: str, assay: Assay, home: Path) -> None:
    words, message = MISTAKES[name]
    code, _, err = assay(*words.split())
    assert (code, message in err) == (2, True), err
    assert "Traceback" not in err
    assert not runs(home), "told before a run is made"


@undrawn
def test_an_atlas_goes_on_where_it_stopped(
    assay: Assay, home: Path, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(
        {"zero": (0.6,), "label_noise": (0.4,)}, ("retrain_last", "mend"),
        [Effort(steps=2, images=16, points=2)], 2, 60, for_data=("retrain_last",),
    )  # fmt: skip
    monkeypatch.setitem(ATLASES, "quick", Atlas("a test", plan))
    short = replace(DATA_DAMAGES["label_noise"], spoil=Spoil(2, 2))
    monkeypatch.setitem(DATA_DAMAGES, "label_noise", short)
    words = [
        "recover", "--atlas", "quick", "--model", f"checkpoint:{lenet}", "--arch", "lenet",
        *FEW_DIGITS, *UNTRACKED,
    ]  # fmt: skip
    done: list[str] = []
    repaired = cell.repaired

    def breaking(*args: Any, **options: Any) -> Any:
        if len(done) == 11:
            raise KeyboardInterrupt
        done.append("")
        return repaired(*args, **options)

    monkeypatch.setattr(cell, "repaired", breaking)
    code, out, _ = assay(*words)
    assert code == 130
    assert "Interrupted: these are the rows so far." in out
    (partial,) = results(home)
    assert (len(partial.rows), partial.about.interrupted) == (11, True)
    monkeypatch.setattr(cell, "repaired", repaired)
    code, out, err = assay(*words)
    assert code == 0, err
    (result,) = results(home)
    assert len(result.rows) == 2 * 2 + 2 * (3 + 2)  # controls; draws x repairs of both damages
    first = result.rows.head(11)
    pd.testing.assert_frame_equal(first, partial.rows)  # even their times: not measured again
    assert "zero 0.6" in out
    assert result.title.startswith("Atlas of recovery, quick")
    assert len(result.answers) == 60 * len(result.rows)
    told = result.answers.groupby(DRAW, observed=True)[["label", "repaired"]]
    right = told.apply(lambda part: (part["label"] == part["repaired"]).mean())
    kept = result.rows.set_index(DRAW)["acc_repaired"]
    assert right.to_dict() == pytest.approx(kept.to_dict())
    assert len(result.features) == 2 * 2
    assert result.sentences()[-1].startswith("What a repair will bring back is not predicted")


def test_out_of_memory_halves_the_batch_once(monkeypatch: pytest.MonkeyPatch, lenet: Path) -> None:
    data = Digits(batch_size=64, resize=28)
    one = load_classifier(
        f"checkpoint:{lenet}", arch="lenet", data_classes=data.classes,
        preprocessing=data.preprocessing,
    )  # fmt: skip
    original = Original.of(one, data, "float32", 50, "LeNet")
    hit = damaged_by(original, Zero(), "zero", 0.5, 0, lambda *_: None)
    seen: list[int] = []
    limit = 2

    def hungry(repair: Any) -> None:
        seen.append(repair.batch_size)
        if len(seen) < limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setitem(STRATEGIES, "hungry", Strategy(hungry, "Hungry"))
    assert row.repaired(hit, "hungry", Effort())[1]["status"] == "ok"
    assert seen == [64, 32]
    seen.clear()
    limit = 9
    with pytest.raises(row.OutOfMemoryError) as told:
        row.repaired(hit, "hungry", Effort())
    assert seen == [64, 32]
    assert told.value.row["status"].startswith("out of memory: also with half the batch (32)")
    assert told.value.row["acc_repaired"] == told.value.row["acc_damaged"]


def test_what_ran_out_of_memory_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, home: Path, lenet: Path
) -> None:
    done: list[str] = []

    def hungry(repair: Any) -> None:
        done.append("")
        if len(done) <= 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setitem(STRATEGIES, "hungry", Strategy(hungry, "Hungry"))
    plan = Plan({"zero": (0.6,)}, ("hungry",), [Effort(1, 16)], 1, 50)
    study = Study("recover", "recoverability", {"root": home, "arch": "lenet"})
    data = study.open_data(Digits(limit=100))
    original = Original.of(study.open_model(f"checkpoint:{lenet}", data), data)
    statuses = [[row["status"] for row in Experiment(study, original, plan).rows()] for _ in "123"]
    assert statuses[0][-1].startswith("out of memory")
    assert statuses[1] == statuses[2] == ["ok"] * 4
    assert len(done) == 3


@pytest.mark.parametrize("severity", [1.5, -1.0, math.nan])
def test_half_a_class_cannot_be_lost(severity: float) -> None:
    with pytest.raises(UserError, match="a whole number of classes from 0"):
        DATA_DAMAGES["drop_classes"].make(severity)
