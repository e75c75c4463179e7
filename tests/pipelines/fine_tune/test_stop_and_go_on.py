"""A training that is stopped goes on by the same command, and ends with the same weights."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import Tensor

from pipelines.cli import main
from pipelines.study import training

killing = sys.modules["killing"]
SMALL = (
    "--model lenet --data Digits --data.limit 150 --data.batch_size 32 --trainer.max_epochs 3 "
    "--evaluation none --trainer.enable_progress_bar false --tracking.enabled false"
).split()
FINE_TUNE = ["fine-tune", *SMALL]


class StoppedError(Exception):
    """Stands for a kill: nothing below a training catches it."""


class StopAt(L.Callback):
    """Stops at the n-th call of a hook, before anything else in it."""

    def __init__(self, hook: str, count: int) -> None:
        self.left = count
        setattr(self, hook, self._count)

    def _count(self, *_: object) -> None:
        self.left -= 1
        if not self.left:
            raise StoppedError


def trained(
    home: Path, words: Sequence[str], stops: Sequence[tuple[str, int]], patch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Runs a command, stopped at each place in turn and once to its end: weights and curve."""
    home.mkdir()
    make = training.made_trainer
    with patch.context() as here:
        here.chdir(home)
        for stop in stops:
            own = StopAt(*stop)
            here.setattr(training, "made_trainer", lambda f, o, own=own: make(f, [own, *o]))
            with pytest.raises(StoppedError):
                main([*words])
        here.setattr(training, "made_trainer", make)
        assert main([*words]) == 0
    return weights(home), curve(home)


def weights(home: Path) -> dict[str, Tensor]:
    (file,) = (home / "mlruns" / "checkpoints").glob("*/model.safetensors")
    return safetensors.torch.load_file(file)


def curve(home: Path) -> pd.DataFrame:
    files = (home / "mlruns" / "cells").glob("*/rows.parquet")
    return pd.concat([pd.read_parquet(file) for file in files])


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


def goes_on(tmp_path: Path, words: Sequence[str], patch: pytest.MonkeyPatch, *stops: tuple) -> None:
    reference, points = trained(tmp_path / "reference", words, (), patch)
    state, again = trained(tmp_path / "stopped", words, stops, patch)
    assert same(state, reference)
    # NaN is what a metric that is not measured would be: none is logged.
    pd.testing.assert_frame_equal(again, points)


def test_a_training_goes_on_inside_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in a batch, in the next life in a validation: noise, dropout and crops go on too."""
    words = "--checkpoint.every_n_steps 2 --config noise --data.augment crop --tuning.dropout 0.3"
    stops = ("on_train_batch_start", 9), ("on_validation_start", 1)
    goes_on(tmp_path, [*FINE_TUNE, *words.split()], monkeypatch, *stops)


STEPS = "--checkpoint.every_n_steps 2"
VARIANTS = {
    "the end of an epoch": ("", ("on_train_epoch_start", 2)),
    "after the last epoch": ("", ("on_train_end", 1)),
    "a moving average": (f"{STEPS} --tuning.ema 0.9", ("on_train_batch_start", 9)),
    "gathered gradients": (
        f"{STEPS} --trainer.accumulate_grad_batches 2", ("on_train_batch_start", 10),
    ),
    "attacks": (f"{STEPS} --config fast_at --robust.images 32", ("on_train_batch_start", 9)),
    "free attacks": (
        f"{STEPS} --config free_at --perturb.init_args.replays 2 --robust.images 32",
        ("on_train_batch_start", 9),
    ),
    "corruptions": (f"{STEPS} --config corrupted", ("on_train_batch_start", 9)),
    "a plateau": (
        "--scheduler ReduceLROnPlateau --scheduler.patience 0 --scheduler.threshold 2",
        ("on_train_epoch_start", 3),
    ),
    "momentum and steps": (
        f"{STEPS} --optimizer SGD --optimizer.lr .1 --optimizer.momentum .9 "
        "--scheduler StepLR --scheduler.step_size 1",
        ("on_train_batch_start", 9),
    ),
    "an early end": (
        "--early_stopping.patience 1 --tuning.lr 1e-8 --trainer.max_epochs 5",
        ("on_train_end", 1),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_training_may_have_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, stop = VARIANTS[name]
    goes_on(tmp_path, [*FINE_TUNE, *words.split()], monkeypatch, stop)


@pytest.mark.slow
def test_a_student_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["distill", "--teacher", "lenet_wide", "--student", *SMALL[1:], *STEPS.split()]
    goes_on(tmp_path, words, monkeypatch, ("on_train_batch_start", 9))


@pytest.mark.slow
def test_a_process_killed_at_ten_moments(tmp_path: Path) -> None:
    """One life after the other, each of at least one checkpoint; one run in MLflow."""
    words = (
        "fine-tune --model lenet --data Digits --data.batch_size 8 --trainer.max_epochs 12 "
        "--evaluation none --trainer.enable_progress_bar false --config noise "
        "--checkpoint.every_n_steps 20"
    ).split()
    killing.finished(tmp_path / "reference", [*words, "--tracking.enabled", "false"])
    home, chance, kills = tmp_path / "killed", random.Random(0), 0
    for _ in range(10):
        process, before = killing.begun(home, words), last_written(home)
        kills += killing.killed(
            process, lambda before=before: last_written(home) > before, chance.uniform(0, 0.4)
        )
    assert kills == 10
    killing.finished(home, words)
    assert same(weights(home), weights(tmp_path / "reference"))
    pd.testing.assert_frame_equal(curve(home), curve(tmp_path / "reference"))
    (run,) = killing.finished_runs(home)
    history = killing.store(home).get_metric_history(run.info.run_id, "train/loss")
    assert len({point.step for point in history}) == len(history) == 12


def last_written(home: Path) -> int:
    return max(
        (file.stat().st_mtime_ns for file in home.glob("mlruns/checkpoints/*/last.ckpt")), default=0
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_go_on(tmp_path: Path) -> None:
    """Killed with all its processes; each has random numbers of its own."""
    words = "--trainer.devices 2 --trainer.accelerator cpu --trainer.strategy ddp"
    more = f"{words} {STEPS} --config noise --data.augment crop".split()
    reference, home = tmp_path / "reference", tmp_path / "killed"
    assert started(reference, [*FINE_TUNE, *more]).wait() == 0
    process = started(home, [*FINE_TUNE, *more])
    while not last_written(home) and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert started(home, [*FINE_TUNE, *more]).wait() == 0
    assert same(weights(home), weights(reference))


def started(home: Path, words: Sequence[str]) -> subprocess.Popen:
    """A command in a session of its own, because Lightning starts the second process by it."""
    home.mkdir(exist_ok=True)
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "pipelines.cli", *words]
    return subprocess.Popen(run, cwd=home, env=here, start_new_session=True)


def test_a_training_is_made_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the checkpoint of the shorter one; what was never begun does not go on."""
    monkeypatch.chdir(tmp_path)
    constant = ["--tuning.schedule", "constant", "--tuning.warmup", "0"]
    assert main([*FINE_TUNE, *constant, "--ckpt_path", "last"]) == 2
    assert "this training was never begun" in capsys.readouterr().err
    assert main([*FINE_TUNE, *constant, "--trainer.max_epochs", "2"]) == 0
    (last,) = tmp_path.glob("mlruns/checkpoints/*/last.ckpt")
    words = [*FINE_TUNE, *constant, "--ckpt_path", str(last)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"goes on  from {last}" in said
    folder = Path(said.rpartition("weights  ")[2].splitlines()[0])
    longer = safetensors.torch.load_file(folder / "model.safetensors")
    whole, _ = trained(tmp_path / "whole", [*FINE_TUNE, *constant], (), monkeypatch)
    assert same(longer, whole)
    capsys.readouterr()
    for more, told in (
        (["--tuning.mode", "lora"], "of another training: it "),
        (["--model", "lenet_wide"], "of another training: "),
        (["--trainer.max_epochs", "1"], "has been through 2 epochs already"),
    ):
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err
    torch.save({"weight": torch.zeros(1)}, tmp_path / "bare.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickled.pt")
    for file, told in (("bare.pt", "it holds weights alone"), ("pickled.pt", "cannot be read")):
        assert main([*words[:-1], str(tmp_path / file)]) == 2
        assert told in capsys.readouterr().err
