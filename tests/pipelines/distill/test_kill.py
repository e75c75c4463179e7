"""A distillation that is killed at any moment goes on where it was and ends with the same table."""

import random
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch
from killing import (
    begun,
    finished,
    finished_runs,
    goes_on,
    killed,
    result_file,
    runs,
    same_tables,
    store,
)
from torch import Tensor

_TIMES = ["latency", "throughput"]


def words(lenet: Path, *more: str) -> list[str]:
    return [
        *("distill", "--teacher", f"checkpoint:{lenet}", "--arch", "lenet", "--student", "lenet"),
        *("--data", "Digits", "--data.limit", "40", "--chunk", "32", "--trainer.max_epochs", "1"),
        *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", *more),
    ]


def tables(home: Path) -> dict[str, pd.DataFrame]:
    files = (result_file(home).parent / "tables").glob("*.json")
    read = {file.stem: pd.read_json(file, orient="split") for file in files}
    return {name: table.drop(columns=_TIMES, errors="ignore") for name, table in read.items()}


def curves_are_whole(home: Path) -> None:
    for run in runs(home):
        history = store(home).get_metric_history(run.info.run_id, "train/loss")
        steps = [point.step for point in history]
        assert len(set(steps)) == len(steps), "no point of a curve is there twice"


@pytest.mark.slow  # the ordinary suite kills recover and explain by the same harness
def test_killed_at_two_moments(home: Path, lenet: Path) -> None:
    goes_on(home, words(lenet, "--evaluation", "none", "--controls", "int8"), 2, tables)
    curves_are_whole(home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_ten_moments(home: Path, lenet: Path) -> None:
    controls = ("--controls", "label_only", "pruned", "int8")
    goes_on(home, words(lenet, "--seeds", "0", "1", *controls), 10, tables)
    curves_are_whole(home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_ten_times_inside_epochs(home: Path, lenet: Path) -> None:
    """Student and label-only control end with the same weights, bit for bit."""
    inside = ("--controls", "label_only", "--evaluation", "none", "--checkpoint.every_n_steps", "2")
    longer = words(
        lenet, *inside, "--data.limit", "150", "--data.batch_size", "8", "--trainer.max_epochs", "3"
    )
    reference, chance, kills = home / "reference", random.Random(0), 0
    finished(reference, [*longer, "--tracking.enabled", "false"])
    whole, lives = steps(reference), [Counter[str]()]
    for number in range(10):
        process, goal = begun(home, longer), number * whole.total() // 11
        delay = chance.uniform(0, 0.1)
        kills += killed(process, lambda goal=goal: steps(home).total() > goal, delay)
        lives.append(steps(home))
        assert lives[-2] <= lives[-1], "it goes on where it was"
    assert kills == 10
    assert lives[5].keys() < lives[-1].keys() == whole.keys(), "killed in one, then in the other"
    assert any(step % (whole[name] // 3) for life in lives for name, step in life.items())
    finished(home, longer)
    state, expected = weights(home), weights(reference)
    assert len(expected) == 2, "the student and its control"
    assert state.keys() == expected.keys()
    for name, tensor in ((f, t) for f in expected for t in expected[f]):
        assert torch.equal(state[name][tensor], expected[name][tensor])
    same_tables(tables(home), tables(reference))
    names = [run.info.run_name for run in finished_runs(home)]
    assert len(set(names)) == len(names), "no run is there twice"
    curves_are_whole(home)


def weights(home: Path) -> dict[str, dict[str, Tensor]]:
    files = (home / "mlruns" / "checkpoints").glob("*/model.safetensors")
    return {file.parent.name: safetensors.torch.load_file(file) for file in files}


def steps(home: Path) -> Counter[str]:
    """How far each training has come, by its name."""
    files = home.glob("mlruns/checkpoints/*/last.ckpt")  # the test's own; more than weights
    return Counter(
        {file.parent.name: torch.load(file, weights_only=False)["global_step"] for file in files}
    )
