"""A sweep: the choice by hand, and one command from the first training to the page."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules import UserError
from lightning_modules import Regularisation, Tuning
from lightning_modules.robust import RobustRecipe
from pipelines.fine_tune.front import Point, chosen, in_front
from pipelines.fine_tune.result import SweepResult
from pipelines.fine_tune.sweep import Recipe, Sweep, swept_option
from pipelines.report.result import load_result, save_result

Assay = Callable[..., tuple[int, str, str]]
N = 400


def point(value: float, clean: int, robust: int, n: int = N) -> Point:
    """So many right of N, the first ones."""
    at = np.arange(n)
    rows = {"index": at, "clean": (at < clean).astype(int), "robust": (at < robust).astype(int)}
    return Point(value, pd.DataFrame(rows))


POINTS = [point(0, 396, 0), point(1, 390, 300), point(3, 384, 349), point(6, 380, 351)]


def test_the_choice_by_hand() -> None:
    """6 is the most robust by 2 of 400 images, which is noise; 3 is more accurate; 1 is worse."""
    choice = chosen(POINTS)
    assert (choice.value, choice.most_robust, list(choice.as_robust)) == (3, 6, [3, 6])
    assert chosen(POINTS[:1]).value == 0
    # Of equal ones the smaller weight.
    assert chosen([point(2, 9, 5, 10), point(1, 9, 5, 10)]).value == 1
    assert chosen([POINTS[0], POINTS[1]]).as_robust == [1]


def test_what_is_in_front() -> None:
    assert in_front(POINTS) == [True] * 4
    assert in_front([*POINTS, point(9, 380, 349)]) == [True] * 4 + [False]


PLAIN = Recipe(Tuning(), RobustRecipe(), Regularisation())


def test_which_weight_is_meant() -> None:
    trades = PLAIN._replace(robust=RobustRecipe(loss="trades"))
    assert swept_option(Sweep((1.0,)), trades) == "robust.beta"
    assert trades.at("robust.beta", 3.0).robust.weight == 3.0
    one = PLAIN._replace(regulariser=Regularisation(input_gradient=1))
    assert swept_option(Sweep((1.0,)), one) == "regulariser.input_gradient"
    assert swept_option(Sweep((1.0,), "tuning.weight_decay"), trades) == "tuning.weight_decay"
    for recipe, said in ((PLAIN, "none is added"), (one._replace(robust=trades.robust), "several")):
        with pytest.raises(UserError, match=f"sweep.of.*{said}"):
            swept_option(Sweep((1.0,)), recipe)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lambdas": (1, 1)}, "different"),
        ({"of": "robust.beta"}, "without `sweep.lambdas`"),
        ({"lambdas": (1,), "of": "robust.bata"}, "Did you mean 'robust.beta'"),
        ({"lambdas": (1,), "images": 0}, "sweep.images"),
    ],
)
def test_mistakes(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sweep(**options)


def swept(assay: Assay, words: str, *more: str) -> tuple[int, str, str]:
    rest = "--model lenet --data Digits --data.limit 120 --trainer.max_epochs 1 --sweep.images 40"
    quiet = "--sweep.steps 2 --trainer.enable_progress_bar false"
    return assay("fine-tune", *words.split(), *rest.split(), *quiet.split(), *more)


TRADES = "--config trades --perturb.init_args.steps 1 --sweep.lambdas 0 6 --evaluation none"


def test_one_command_draws_the_front(assay: Assay, home: Path) -> None:
    code, out, err = swept(assay, TRADES, "--tracking.enabled", "false")
    assert code == 0, err
    assert "sweep    robust.beta over 0 6" in out
    assert out.count("train    robust.beta") == 2
    assert "robust %, PGD-2, L∞ 0.2" in out
    (folder,) = (home / "mlruns" / "results").iterdir()
    result = load_result(folder)
    assert isinstance(result, SweepResult)
    assert [point.value for point in result.points] == [0, 6]
    assert all(len(point.rows) == 40 for point in result.points)
    told = json.loads((folder / "result.json").read_text())["sentences"][0]
    assert f"Chosen: robust.beta {result.choice.value:g}" in told
    assert (folder / "figures" / "front.png").is_file()
    read = load_result(save_result(result, home / "again"))
    assert isinstance(read, SweepResult)
    pd.testing.assert_frame_equal(read.to_frame(), result.to_frame())
    assert read.sentences() == result.sentences()
    one, two, sections = result.beside(read)
    assert len(one.points) == len(two.points) == 2
    assert str(sections[0].sheets[0].cells[0][1]).startswith("+0.0")


@pytest.mark.slow
def test_the_same_command_trains_nothing_again(assay: Assay, home: Path) -> None:
    import mlflow

    assert swept(assay, TRADES)[0] == 0
    code, again, _ = swept(assay, TRADES)
    assert code == 0
    assert "measure  " not in again
    assert "results are from an earlier run" in again.replace("\n", " ")
    # Every value has a run of its own below the sweep's.
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlruns/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    parent, _ = [run for run in runs if "sweep.chosen" in run.data.params]  # the last one first
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.data.tags["stage"] for run in children} == {"robust.beta 0", "robust.beta 6"}
    (folder,) = (home / "mlruns" / "results").iterdir()
    result = load_result(folder)
    assert isinstance(result, SweepResult)
    for name in ("clean", "robust"):
        logged = parent.data.metrics[f"summary/chosen_{name}_acc"]
        assert logged == result.taken.rows[name].mean()
    history = mlflow.MlflowClient().get_metric_history(parent.info.run_id, "sweep/robust_acc")
    assert {point.step for point in history} == {0, 1}


def test_a_value_that_makes_no_sense_is_told_before_any_training(assay: Assay) -> None:
    words = "--sweep.lambdas 0 2 --sweep.of tuning.label_smoothing --evaluation none"
    code, out, err = swept(assay, words)
    assert code == 2
    assert "tuning.label_smoothing" in err
    assert "train " not in out


@pytest.mark.slow
def test_the_chosen_one_is_measured_on_test_images(assay: Assay) -> None:
    words = "--sweep.of tuning.weight_decay --sweep.lambdas 0 0.1 --evaluation quick"
    code, out, err = swept(assay, words, "--tracking.enabled", "false")
    assert code == 0, err
    assert "On test images, which chose nothing:" in out.replace("\n", " ")
