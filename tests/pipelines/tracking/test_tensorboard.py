"""TensorBoard's event files, read back by TensorBoard, against what the same run has in MLflow."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn

from datamodules.errors import UserError
from pipelines.tracking import Tracking, started
from pipelines.tracking.logger import RunLogger
from pipelines.tracking.run import Run
from pipelines.tracking.store import Store, TrackingError, open_store
from pipelines.tracking.tensorboard import TensorBoard, folder_name

Assay = Callable[..., tuple[int, str, str]]
Points = dict[str, dict[int, float]]
ALL = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}  # 0: keep everything
FLOAT32 = 1e-6
"""TensorBoard stores values in 32 bits, MLflow in 64."""
TINY = "--data Digits --data.limit 40 --chunk 32 --tracking.tensorboard true".split()


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), ALL).Reload()


def points(folder: Path) -> Points:
    """Every point of a folder; a doubled one fails."""
    read, found = events(folder), {}
    for tag in read.Tags()["scalars"]:
        steps = [point.step for point in read.Scalars(tag)]
        assert len(steps) == len(set(steps)), f"{tag} is doubled"
        found[tag] = {point.step: point.value for point in read.Scalars(tag)}
    return found


def text(folder: Path, tag: str) -> str:
    (only,) = events(folder).Tensors(f"{tag}/text_summary")
    return only.tensor_proto.string_val[0].decode()


def parameters(folder: Path) -> dict[str, Any]:
    content = events(folder).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(one, one.WhichOneof("kind")) for name, one in found.items()}


def folders(home: Path) -> dict[str, Path]:
    """Folders with event files, by the beginning of the run id."""
    files = (home / "mlruns").rglob("events.out.tfevents*")
    return {file.parent.name.rpartition("-")[2]: file.parent for file in files}


def agree(home: Path) -> dict[str, Path]:
    """Every run of the store has the same points in TensorBoard; returns folders by run name."""
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    named, boards = {}, folders(home)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    for run in runs:
        if not run.data.metrics:
            continue
        folder = boards[run.info.run_id[:8]]
        assert folder.name == folder_name(run.info.run_name, run.info.run_id)
        histories = {k: client.get_metric_history(run.info.run_id, k) for k in run.data.metrics}
        mlflow = {key: {one.step: one.value for one in all_} for key, all_ in histories.items()}
        found = points(folder)
        assert found.keys() == mlflow.keys()
        for key, curve in mlflow.items():
            assert found[key] == pytest.approx(curve, rel=FLOAT32)
        named[run.info.run_name] = folder
    assert named
    return named


def evaluate(lenet: Path, *more: str) -> list[str]:
    return ["evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *TINY, *more]


def test_an_evaluation_is_the_same_in_both(assay: Assay, lenet: Path, home: Path) -> None:
    code, out, err = assay(*evaluate(lenet, "--probes", "fgsm"))
    assert code == 0, err
    assert f"tensorboard --logdir {home.resolve() / 'mlruns' / 'tensorboard'}" in out
    named = agree(home)
    (board,) = named.values()
    assert board.parent == home.resolve() / "mlruns" / "tensorboard"
    assert points(board)["adversarial/fgsm_linf_acc"].keys() == {0, 50, 100, 200}
    read = events(board).Tags()
    assert read["images"]
    assert all(tag.startswith(("figures/", "adversarials/")) for tag in read["images"])
    assert len(read["histograms"]) == 10, "five layers with weight and bias"
    shown = parameters(board)
    assert shown["data.name"] == "Digits"
    assert shown["question"] == "robustness"
    assert shown["model.parameters"] == 44_426
    assert "| Clean accuracy: on 40 images |" in text(board, "note")


def test_training_curves_flow_through(assay: Assay, home: Path) -> None:
    code, _, err = assay(
        "fine-tune", "--model", "lenet", *TINY, "--trainer.max_epochs", "2", "--evaluation", "none",
        "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
        "--trainer.log_every_n_steps", "1",
    )  # fmt: skip
    assert code == 0, err
    (folder,) = agree(home).values()
    assert folder.name.startswith("fine-tune-lenet-Digits-s0-")
    assert len(points(folder)["train/loss"]) > 1
    assert len(points(folder)["val/acc"]) == 2
    assert parameters(folder)["tuning.mode"] == "full"


@pytest.mark.slow
def test_a_recovery_has_its_curve(assay: Assay, lenet: Path, home: Path) -> None:
    """It is logged after the run has ended."""
    code, _, err = assay(
        "recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *TINY,
        "--damage", "zero", "--severities", "[0.6]", "--strategies", "[retrain_all]",
        "--effort.steps", "2", "--effort.images", "40",
    )  # fmt: skip
    assert code == 0, err
    named = agree(home)
    assert {"original", "damaged zero 0.6", "repaired zero 0.6 retrain_all"} <= named.keys()
    assert "recovery/acc" in points(named["repaired zero 0.6 retrain_all"])


def test_alone(assay: Assay, lenet: Path, home: Path) -> None:
    store = (home / "mlruns" / "mlflow.db").read_bytes()
    command = evaluate(lenet, "--probes", "clean", "--tracking.enabled", "false")
    code, out, err = assay(*command)
    assert code == 0, err
    assert "MLflow" not in out
    assert (home / "mlruns" / "mlflow.db").read_bytes() == store
    (board,) = folders(home).values()
    assert points(board)["test/clean_acc"][0] > 0.5
    assert parameters(board)["seed"] == 0
    assay(*command)
    assert len(folders(home)) == 2, "two runs"
    assert not any((home / "mlruns" / "resume" / "runs").glob("*")), "nothing left to resume"


def test_off_by_default(assay: Assay, lenet: Path, home: Path) -> None:
    words = [*evaluate(lenet, "--probes", "clean"), "--tracking.tensorboard", "false"]
    code, out, err = assay(*words)
    assert code == 0, err
    assert not Tracking().tensorboard
    assert "tensorboard" not in out
    assert not (home / "mlruns" / "tensorboard").exists()
    assert not folders(home)


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_missing_package_is_told_first(
    assay: Assay, lenet: Path, home: Path, monkeypatch: pytest.MonkeyPatch, enabled: str
) -> None:
    for name in [one for one in sys.modules if one.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # what import makes an ImportError of
    code, out, err = assay(*evaluate(lenet, "--tracking.enabled", enabled))
    assert code == 2
    assert "`--tracking.tensorboard true`" in err
    assert "pip install 'assay[tensorboard]'" in err
    assert "Traceback" not in err
    assert "model" not in out, "before anything is loaded"
    assert not (home / "mlruns" / "results").exists()


@pytest.mark.parametrize("tracked", [True, False])
def test_what_is_resumed_is_not_doubled(home: Path, tracked: bool) -> None:
    store = open_store(None, home, "assay") if tracked else None
    keep, board, shown = home / "run.json", home / "boards", home / "shown"
    picture(shown / "figures" / "curve.png", 10)

    def attempt(steps: range) -> Path:
        with started(store, "a run", {}, keep=keep, board=board) as run:
            assert run.board is not None
            run.log_folder(shown)
            run.log_batch([("a/b", step / 2, step) for step in steps], {"p": 1})
            run.board.log_weights(nn.Linear(3, 2))
            if steps.stop < 5:
                raise KeyboardInterrupt
        return run.board.folder

    with pytest.raises(KeyboardInterrupt):
        attempt(range(3))
    first = attempt(range(5))
    assert points(first) == {"a/b": {step: step / 2 for step in range(5)}}
    assert len(list(first.glob("events*"))) == 2
    assert [one.step for one in events(first).Images("figures/curve")] == [0]
    assert len(events(first).Histograms("weights/weight")) == 1
    assert attempt(range(5)) != first, "a finished run is not reopened"


def test_a_memory_of_mlflow_is_left_to_it(home: Path) -> None:
    """A run that was killed with MLflow and goes on without keeps its place in the store."""
    store, keep, board = open_store(None, home, "assay"), home / "run.json", home / "boards"
    with pytest.raises(KeyboardInterrupt), started(store, "run", {}, keep=keep, board=board):
        raise KeyboardInterrupt
    with started(None, "run", {}, keep=keep, board=board):
        pass
    with started(store, "run", {}, keep=keep, board=board) as run:
        assert run.reopened
    assert len(list(board.iterdir())) == 1


def picture(file: Path, width: int) -> bytes:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(width).integers(0, 255, (7, width, 3), np.uint8)
    Image.fromarray(noise).save(file)
    return file.read_bytes()


def test_pictures_are_the_very_files(tmp_path: Path) -> None:
    shown, board = tmp_path / "shown", TensorBoard(tmp_path / "board")
    old = picture(shown / "figures" / "units" / "conv1.png", 10)
    other = picture(shown / "figures" / "gallery.png", 31)
    (shown / "figures" / "no.png").write_text("no picture")
    run = Run(board=board)
    run.log_folder(shown)
    run.log_folder(shown)
    new = picture(shown / "figures" / "units" / "conv1.png", 12)
    run.log_folder(shown)
    run.end("FINISHED")
    read = events(board.folder)
    assert set(read.Tags()["images"]) == {"figures/gallery", "figures/units/conv1"}
    (only,) = read.Images("figures/gallery")
    assert (only.encoded_image_string, only.width, only.height) == (other, 31, 7)
    versions = read.Images("figures/units/conv1")
    assert [one.encoded_image_string for one in versions] == [old, new]
    assert [one.step for one in versions] == [0, 1], "a picture that changed is the next step"


def test_histograms_count_the_weights(tmp_path: Path) -> None:
    board, model = TensorBoard(tmp_path), nn.Linear(400, 300)
    with torch.no_grad():
        model.weight.uniform_(-1, 1)
        model.bias.fill_(float("nan"))
    board.log_weights(model)
    board.end("FINISHED")
    assert events(tmp_path).Tags()["histograms"] == ["weights/weight"], "no finite bias, no picture"
    (drawn,) = events(tmp_path).Histograms("weights/weight")
    found = drawn.histogram_value
    assert found.num == 10_000, "a sample of the 120,000"
    # uniform on [-1, 1]: variance 1/3; 10,000 draws: 3 standard errors are 0.009
    assert found.sum_squares / found.num == pytest.approx(1 / 3, abs=0.01)


def test_what_comes_after_the_end_is_there_at_once(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "board")
    board.log_batch([("a/b", 0.5, 0)])
    board.end("FINISHED")
    board.log_batch([("a/b", 1.5, 1)])
    board.log_weights(nn.Linear(2, 2))
    picture(tmp_path / "shown" / "one.png", 5)
    board.log_folder(tmp_path / "shown")
    assert points(board.folder) == {"a/b": {0: 0.5, 1: 1.5}}
    assert events(board.folder).Tags()["images"] == ["one"]
    assert len(events(board.folder).Tags()["histograms"]) == 2


def test_a_run_of_which_nothing_is_logged_has_no_file(tmp_path: Path) -> None:
    with started(None, "run", {}, board=tmp_path):
        pass
    assert not list(tmp_path.rglob("events*"))


def test_metric_keys_are_checked_alone_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exactly one slash"):
        Run(board=TensorBoard(tmp_path)).log_batch([("acc", 0.5, 0)])


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UserError, match="leave out"),
        started(None, "run", {}, board=tmp_path / "file"),
    ):
        pass


def test_curves_go_on_without_the_server(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store: Store = open_store(None, home, "assay")

    def gone(*_: object, **__: object) -> None:
        raise TrackingError("gone")

    with started(store, "run", {}, board=home / "boards") as run:
        logger = RunLogger(run)
        monkeypatch.setattr(store.client, "log_batch", gone)
        for step in range(3):
            logger.log_metrics({"train/loss": 1 / (step + 1), "epoch": 0.0}, step)
    assert run.board is not None
    assert list(points(run.board.folder)["train/loss"]) == [0, 1, 2]
    assert capsys.readouterr().err.count("without curves") == 1
