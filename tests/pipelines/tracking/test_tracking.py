"""Runs in a real store: how they end, what is in them, and that nothing is in them twice."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from datamodules import Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier, build
from lightning_modules.sources import load_classifier
from pipelines.evaluate.result import Evaluation
from pipelines.report.figures import save_png
from pipelines.report.page import write_page
from pipelines.report.result import save_result, summary_metrics
from pipelines.study.log import log_result
from pipelines.tracking import started
from pipelines.tracking.logger import RunLogger
from pipelines.tracking.run import Run, checked
from pipelines.tracking.store import Store, TrackingError, open_store

MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    opened = open_store(None, home, "assay")
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: opened.uri)
    mlflow.set_tracking_uri(opened.uri)
    return opened


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    network, shown = build("lenet", 10, 1), Preprocessing(1, 28, mean=(0.5,), std=(0.5,))
    return Classifier(network, classes=10, preprocessing=shown, architecture="builtin:lenet")


def runs(store: Store) -> list[Any]:
    return list(store.client.search_runs([store.experiment_id]))


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    raise RuntimeError("a defect")


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("end", "error", "status"),
    [
        (lambda: None, None, "FINISHED"),
        (fail, RuntimeError, "FAILED"),
        (interrupt, KeyboardInterrupt, "KILLED"),
        (terminate, KeyboardInterrupt, "KILLED"),
        (lambda: sys.exit(3), SystemExit, "KILLED"),
    ],
)
def test_how_runs_end(
    store: Store, end: Callable[[], None], error: type[BaseException] | None, status: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def both() -> None:
        with started(store, "parent", {}) as parent, started(store, "child", {}, parent):
            end()

    if error is None:
        both()
    else:
        with pytest.raises(error):
            both()
    assert [run.info.status for run in runs(store)] == [status] * 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_children_know_their_parent(store: Store) -> None:
    tags = {"model": "lenet", "question": "robustness"}
    with started(store, "parent", tags) as parent, started(store, "child", tags, parent):
        pass
    child, made = runs(store)
    assert made.info.run_id == parent.run_id
    assert child.data.tags["mlflow.parentRunId"] == parent.run_id
    assert child.data.tags["question"] == "robustness"
    assert "mlflow.user" in child.data.tags


def test_no_git_no_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with started(store, "run", {}):
        pass
    assert "mlflow.source.git.commit" not in runs(store)[0].data.tags


def test_a_kept_run_is_reopened_until_it_is_finished(store: Store, tmp_path: Path) -> None:
    keep = tmp_path / "kept" / "run.json"
    with pytest.raises(KeyboardInterrupt), started(store, "run", {}, keep=keep) as first:
        raise KeyboardInterrupt
    with started(store, "run", {}, keep=keep) as second:
        assert second.run_id == first.run_id
        assert second.reopened
        assert runs(store)[0].info.status == "RUNNING"
    assert not keep.exists()
    with started(store, "run", {}, keep=keep) as third:
        assert third.run_id != first.run_id


@pytest.mark.parametrize(
    "text", ["", "{", '{"run_id": "x"}', '{"run_id": "no such run", "uri": "sqlite:///x"}']
)
def test_a_spoiled_memory_makes_a_new_run(store: Store, tmp_path: Path, text: str) -> None:
    keep = tmp_path / "run.json"
    keep.write_text(text)
    with started(store, "run", {}, keep=keep) as run:
        assert not run.reopened


def test_deleted_runs_are_not_reopened(store: Store, tmp_path: Path) -> None:
    keep = tmp_path / "run.json"
    with pytest.raises(RuntimeError), started(store, "run", {}, keep=keep) as run:
        raise RuntimeError
    store.client.delete_run(str(run.run_id))
    with started(store, "run", {}, keep=keep) as other:
        assert other.run_id != run.run_id


@pytest.mark.parametrize("key", ["acc", "a/b/c", "/acc", "a/", "a/eps=3", "a/ü", "a/b\n", "a//b"])
def test_metric_keys_that_are_refused(key: str) -> None:
    with pytest.raises(UserError, match=re.escape(repr(key))):
        checked(key)


def test_one_batch_for_any_number_of_metrics(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    kept = store.client.log_batch
    monkeypatch.setattr(store.client, "log_batch", lambda *a, **k: (calls.append(1), kept(*a, **k)))
    with started(store, "run", {}) as run:
        run.log_batch([("a/b", 0.5, step) for step in range(1100)], {"p": 1}, {"t": "x"})
        history = store.client.get_metric_history(str(run.run_id), "a/b")
    assert len(calls) == 1
    assert sorted(point.step for point in history) == list(range(1100))


def test_a_reopened_run_takes_only_what_it_lacks(store: Store) -> None:
    with started(store, "run", {}) as run:
        run.log_batch([("a/b", 0.5, 1), ("a/b", 0.6, 2)], {"p": "first"})
        again = Run(store, run.run_id, reopened=True)
        again.log_batch([("a/b", 0.5, 1), ("a/b", 0.6, 2), ("a/b", 0.7, 3)], {"p": "2", "q": "3"})
    points = store.client.get_metric_history(str(run.run_id), "a/b")
    assert sorted((point.step, point.value) for point in points) == [(1, 0.5), (2, 0.6), (3, 0.7)]
    assert runs(store)[0].data.params == {"p": "first", "q": "3"}


def test_a_model_is_kept_once_and_loads_through_every_run(
    store: Store, classifier: Classifier
) -> None:
    with started(store, "parent", {}) as parent:
        with started(store, "training", {}, parent) as training:
            made = training.log_model(classifier)
        with started(store, "evaluation", {}, parent) as evaluation:
            assert evaluation.log_model(classifier) == made
            assert Run(store, evaluation.run_id, reopened=True).log_model(classifier) == made
        classifier.classes = tuple("abcdefghij")  # the same weights with other names
        with started(store, "other", {}) as other:
            assert other.log_model(classifier) != made
    digits, letters = "0123456789", "abcdefghij"
    named = [(training, digits), (evaluation, digits), (parent, digits), (other, letters)]
    for run, classes in named:
        loaded = load_classifier(f"mlflow:runs:/{run.run_id}")
        assert "".join(loaded.classes) == classes
        for name, tensor in classifier.model.state_dict().items():
            assert torch.equal(tensor, loaded.model.state_dict()[name])
    found = store.client.get_run(str(evaluation.run_id))
    assert [one.model_id for one in found.inputs.model_inputs] == [made]


def test_a_run_without_model_says_so(store: Store) -> None:
    with started(store, "run", {}) as run:
        pass
    with pytest.raises(UserError, match="has no model"):
        load_classifier(f"mlflow:runs:/{run.run_id}")


def test_half_a_model_is_not_taken_for_one(
    store: Store, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(store, "run", {}) as run:
        with monkeypatch.context() as broken:
            broken.setattr(store.client, "log_model_artifacts", raise_mlflow)
            with pytest.raises(TrackingError, match="the disk is full"):
                run.log_model(classifier)
        made = run.log_model(classifier)
    assert made is not None
    assert load_classifier(f"mlflow:runs:/{run.run_id}").num_classes == 10


def raise_mlflow(*_: object, **__: object) -> None:
    raise MlflowException("the disk is full")


@pytest.fixture
def saved(made_evaluation: MakeEvaluation, tmp_path: Path) -> tuple[Evaluation, Path]:
    evaluation, folder = made_evaluation(notes=["a note"]), tmp_path / "evaluation"
    save_result(evaluation, folder)
    write_page([evaluation], folder / "report.html")
    for name, figure in evaluation.figures().items():
        save_png(figure, folder / "figures" / f"{name}.png")
    return evaluation, folder


def test_everything_of_an_evaluation(
    store: Store, saved: tuple[Evaluation, Path], classifier: Classifier
) -> None:
    evaluation, folder = saved
    with started(store, "run", {}) as opened:
        log_result(opened, evaluation, folder, classifier)
    (run,) = runs(store)
    metrics = [*evaluation.metrics(), *summary_metrics(evaluation)]
    assert len(run.data.metrics) == len({key for key, _, _ in metrics})
    assert run.data.metrics["summary/adversarial_acc"] < run.data.metrics["summary/clean_acc"]
    assert run.data.params["model.source"] == "builtin:lenet"
    assert all("/" not in name for name in run.data.params)
    files = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert files == {"figures", "report.html", "result.json", "rows", "tables"}
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("Digits", "e" * 32)
    table = store.client.load_table(store.experiment_id, "tables/by_class.json", [run.info.run_id])
    pd.testing.assert_frame_equal(table, evaluation.tables()["by_class"], check_dtype=False)
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"])[0]["type"] == "table"
    assert "- a note" in run.data.tags["mlflow.note.content"]
    (model,) = store.client.search_logged_models([store.experiment_id])
    numbers = {metric.key: metric for metric in model.metrics or []}
    assert numbers["summary/clean_acc"].dataset_name == "Digits"


def test_a_store_that_fails_midway_loses_nothing(
    store: Store, saved: tuple[Evaluation, Path], classifier: Classifier, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    evaluation, folder = saved
    keep = tmp_path / "run.json"

    def attempt() -> None:
        with started(store, "run", {}, keep=keep) as run:
            log_result(run, evaluation, folder, classifier)

    for method in (
        "log_artifacts",
        "log_inputs",
        "log_model_artifacts",
        "log_outputs",
        "log_batch",
    ):
        with monkeypatch.context() as broken:
            broken.setattr(store.client, method, raise_mlflow)
            with pytest.raises(TrackingError) as caught:
                attempt()
        assert "(the disk is full). The results are in" in str(caught.value)
        assert f"'{folder}'; run the same command again to log them" in str(caught.value)
    attempt()
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert len(run.inputs.dataset_inputs) == 1
    for key in run.data.metrics:
        steps = [point.step for point in store.client.get_metric_history(run.info.run_id, key)]
        assert len(steps) == len(set(steps))


def test_an_interrupted_evaluation_leaves_no_curve(
    store: Store, saved: tuple[Evaluation, Path], classifier: Classifier
) -> None:
    evaluation, folder = saved
    with started(store, "run", {}) as run:
        about = replace(evaluation.about, interrupted=True)
        log_result(run, replace(evaluation, about=about), folder, classifier)
    assert runs(store)[0].data.metrics == {}
    assert runs(store)[0].data.tags["interrupted"] == "true"


def test_without_a_store_nothing_is_logged(
    saved: tuple[Evaluation, Path], classifier: Classifier
) -> None:
    evaluation, folder = saved
    with started(None, "run", {}) as run:
        log_result(run, evaluation, folder, classifier)
        assert run.run_id is None
        assert run.log_model(classifier) is None


def test_training_curves_outlive_a_lost_server(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(store, "run", {}) as run:
        logger = RunLogger(run)
        logger.log_metrics({"train/loss": 0.5, "epoch": 0.0, "val/acc": float("nan")}, 1)
        with monkeypatch.context() as broken:
            broken.setattr(store.client, "log_batch", raise_mlflow)
            logger.log_metrics({"train/loss": 0.4}, 2)
            logger.log_metrics({"train/loss": 0.3}, 3)
    assert runs(store)[0].data.metrics == {"train/loss": 0.5}
    assert capsys.readouterr().err.count("The training goes on without curves.") == 1


def test_a_run_that_was_made_and_not_written_down_is_found_again(
    store: Store, tmp_path: Path
) -> None:
    """As after a SIGKILL between the two: no run stays RUNNING for ever."""
    keep = tmp_path / "run.json"
    with pytest.raises(KeyboardInterrupt), started(store, "run", {}, keep=keep) as first:
        raise KeyboardInterrupt
    assert first.run_id is not None
    store.client.update_run(first.run_id, "RUNNING")
    keep.unlink()
    with started(store, "run", {}, keep=keep) as second:
        assert second.run_id == first.run_id
    assert store.client.get_run(first.run_id).info.status == "FINISHED"


def test_a_child_is_not_reopened_below_another_parent(store: Store, tmp_path: Path) -> None:
    keep = tmp_path / "parent.child.json"
    with started(store, "one", {}) as one, started(store, "child", {}, one, keep) as first:
        pass
    with started(store, "two", {}) as two, started(store, "child", {}, two, keep) as second:
        pass
    assert second.run_id != first.run_id
