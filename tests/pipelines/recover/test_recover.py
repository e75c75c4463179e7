"""`assay recover` as a user types it: runs, tables, page, and mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch

from callbacks.damage import Zero
from pipelines.recover import atlas
from pipelines.recover import cell as case
from pipelines.recover.patient import Effort

Assay = Callable[..., tuple[int, str, str]]
DIGITS = ["--data", "Digits", "--data.batch_size", "64", "--data.limit", "300", "--judged", "100"]
FEW = ["--effort.steps", "3", "--effort.points", "2", "--effort.images", "32", "--draws", "1"]


def test_the_runs_the_table_and_the_page(assay: Assay, home: Path, lenet: Path) -> None:
    code, out, err = assay(
        "recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *DIGITS, *FEW,
        "--damage", "zero", "--severities", "[0.6]",
        "--strategies", "[retrain_all, mend, reestimate_batch_norm]",
    )  # fmt: skip
    assert code == 0, err
    assert "zero 0.6  retrain_all:" in out
    assert "reestimate_batch_norm: not applicable: The model has no batch norm" in out
    folder = home / "mlruns" / "recoveries" / "lenet-Digits-zero-s0"
    rows = pd.read_parquet(folder / "rows.parquet")
    assert set(rows["strategy"]) == {"nothing", "retrain_all", "mend", "reestimate_batch_norm"}
    assert set(rows["damage"]) == {"none", "scratch", "zero"}
    assert "Every repair" in (folder / "report.html").read_text()
    client = mlflow.MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    names = {run.info.run_name: run for run in runs}
    parent = names["recover-lenet-Digits-zero-s0"]
    assert parent.data.metrics["recovery/zero_retrain_all_acc"] == pytest.approx(
        rows[(rows["strategy"] == "retrain_all") & (rows["damage"] == "zero")][
            "acc_repaired"
        ].item()
    )
    stages = {
        "original",
        "damaged zero 0.6",
        "repaired zero 0.6 retrain_all",
        "repaired zero 0.6 mend",
    }
    assert stages <= set(names)
    assert all(names[one].data.tags["mlflow.parentRunId"] == parent.info.run_id for one in stages)
    curve = client.get_metric_history(
        names["repaired zero 0.6 retrain_all"].info.run_id, "recovery/acc"
    )
    assert [point.step for point in curve] == [0, 1, 3]


def test_recipes_seeds_and_silent_errors(assay: Assay, home: Path, lenet: Path) -> None:
    code, out, err = assay(
        "recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *DIGITS, *FEW,
        "--damage", "bit_flip", "--severities", "[30]", "--strategies", "[retrain_last]",
        "--recipes", "[sgd:0.01, adamw]", "--trainings", "2", "--inject_until", "0.2",
    )  # fmt: skip
    assert code == 0, err
    assert "% silent errors" in out
    assert "injections (a fixed sample would take" in out
    folder = home / "mlruns" / "recoveries" / "lenet-Digits-bit_flip-s0"
    rows = pd.read_parquet(folder / "rows.parquet").query("strategy == 'retrain_last'")
    assert sorted(rows["optimizer"]) == ["adamw", "adamw", "sgd 0.01", "sgd 0.01"]
    assert rows["training_seed"].nunique() == 2


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
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_mistakes(name: str, assay: Assay) -> None:
    words, message = MISTAKES[name]
    code, _, err = assay(*words.split())
    assert (code, message in err) == (2, True), err
    assert "Traceback" not in err


def test_an_atlas_goes_on_where_it_stopped(
    assay: Assay, home: Path, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effort = Effort(steps=2, images=16, points=2)
    part = atlas.Part(
        {"zero": (0.3, 0.6), "quantise": (3,)}, ("retrain_last", "mend"), 2, effort, 60
    )
    monkeypatch.setitem(atlas.ATLASES, "quick", atlas.Atlas("a test", {"lenet": part}))
    words = [
        "recover",
        "--atlas",
        "quick",
        "--model",
        f"checkpoint:{lenet}",
        "--arch",
        "lenet",
        *DIGITS,
    ]
    done: list[str] = []
    repaired = case.repaired

    def breaking(*args: object, **options: object) -> object:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append("")
        return repaired(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(atlas, "repaired", breaking)
    assert assay(*words)[0] == 130
    (file,) = (home / "mlruns" / "resume" / "atlas").iterdir()
    before = [json.loads(line)["cell"] for line in file.read_text().splitlines()]
    file.write_text(file.read_text() + '{"cell": "cut off by a ki')
    monkeypatch.setattr(atlas, "repaired", repaired)
    code, out, err = assay(*words)
    assert code == 0, err
    rows = pd.read_parquet(home / "mlruns" / "recoveries" / "atlas-quick" / "rows.parquet")
    assert len(rows) == 2 * 2 + 3 * 2 * 3  # controls, and damages x draws x (nothing + repairs)
    assert len(before) == 7 + 4
    assert "zero 0.6:" in out


def test_out_of_memory_halves_the_batch_once(monkeypatch: pytest.MonkeyPatch, lenet: Path) -> None:
    from datamodules import Digits
    from lightning_modules import load_classifier
    from pipelines.recover.strategies import STRATEGIES, Strategy
    from pipelines.recover.subject import damaged_by, make_subject

    data = Digits(batch_size=64, resize=28)
    one = load_classifier(
        f"checkpoint:{lenet}",
        arch="lenet",
        data_classes=data.classes,
        preprocessing=data.preprocessing,
    )
    subject = make_subject(one.eval(), data, "float32", 50, "LeNet")
    hurt = damaged_by(subject, Zero(), 0.5, 0)
    seen: list[int] = []
    limit = 0

    def hungry(patient: object) -> None:
        seen.append(patient.data.batch_size)  # type: ignore[attr-defined]
        if len(seen) < limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setitem(STRATEGIES, "hungry", Strategy(hungry, "Hungry"))
    for limit, status in (  # noqa: B007  (read by `hungry`)
        (2, "ok"),
        (9, "out of memory: also with half the batch (32)"),
    ):
        seen.clear()
        row = case.repaired(subject, hurt, "hungry", Effort())[1]
        assert row["status"].startswith(status)
        assert seen == [64, 32]
