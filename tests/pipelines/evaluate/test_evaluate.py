"""The main job through the command line, into a real store."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result

Assay = Callable[..., tuple[int, str, str]]


def command(lenet: Path, *more: str) -> list[str]:
    model = ["--model", f"checkpoint:{lenet}", "--arch", "lenet"]
    few = ["--data.limit", "40", "--chunk", "32", "--masking", "false"]
    return ["evaluate", *model, "--data", "Digits", *few, *more]


def newest(home: Path) -> Evaluation:
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    result = load_result(file.parent)
    assert isinstance(result, Evaluation)
    return result


def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")


@pytest.fixture
def done(assay: Assay, lenet: Path) -> tuple[int, str, str]:
    return assay(*command(lenet, "--probes", "fgsm", "pgd"))


def test_everything_is_in_the_store(done: tuple[int, str, str], home: Path) -> None:
    code, out, err = done
    assert code == 0, err
    store = client(home)
    experiment = store.get_experiment_by_name("assay")
    (run,) = store.search_runs([experiment.experiment_id])  # one evaluation is one run
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "evaluate-lenet-Digits-s0"
    assert run.data.tags["question"] == "robustness"
    assert run.data.tags["data"] == "Digits"
    assert run.data.params["data.name"] == "Digits"
    # epsilon 0.05, 0.1, 0.2 -> steps 50, 100, 200 behind the undisturbed images: the UI's curve
    history = store.get_metric_history(run.info.run_id, "adversarial/pgd_linf_acc")
    assert sorted(point.step for point in history) == [0, 50, 100, 200]
    assert all(key.count("/") == 1 for key in run.data.metrics)
    assert {"summary/clean_acc", "summary/adversarial_acc"} <= run.data.metrics.keys()
    files = {file.path for file in store.list_artifacts(run.info.run_id)}
    assert {"report.html", "result.json", "config.yaml", "rows", "figures", "tables"} <= files
    saved = {file.path for file in store.list_artifacts(run.info.run_id, "adversarials")}
    assert {f"adversarials/{name}" for name in ("index.json", "clean", "pgd_linf")} <= saved
    loaded = newest(home)
    assert "adversarial_linf_gallery" in loaded.figures(), "also of a result that was read again"
    assert "8-bit PNG" in " ".join(loaded.sentences())
    assert run.inputs.dataset_inputs[0].dataset.name == "Digits"
    assert "assay ui" in out
    assert "accuracy %" in out


def test_the_logged_model_loads_again(done: tuple, home: Path, assay: Assay) -> None:
    run_id = newest(home).about.run_id
    code, _, err = assay(
        "evaluate", "--model", f"mlflow:runs:/{run_id}", "--data", "Digits", "--data.limit", "40",
        "--chunk", "32", "--probes", "clean",
    )  # fmt: skip
    assert code == 0, err
    tables = [
        pd.read_parquet(file) for file in (home / "mlruns" / "results").glob("*/rows/clean.parquet")
    ]
    assert len(tables) == 2
    pd.testing.assert_frame_equal(*(table.drop(columns="seconds") for table in tables))


def test_the_same_command_measures_nothing_twice(
    done: tuple, home: Path, assay: Assay, lenet: Path
) -> None:
    before = newest(home)
    assay(*command(lenet, "--probes", "fgsm", "pgd"))
    after = newest(home)
    assert before.about.run_id != after.about.run_id
    for one, other in zip(before.results[1:], after.results[1:], strict=True):
        # the seconds too: these rows were read, not measured
        pd.testing.assert_frame_equal(one.rows, other.rows)


def test_config_round_trip(assay: Assay, home: Path, lenet: Path) -> None:
    code, printed, err = assay(*command(lenet, "--probes", "fgsm", "--print_config"))
    assert code == 0, err
    (home / "again.yaml").write_text(printed)
    code, _, err = assay("evaluate", "--config", "again.yaml")
    assert code == 0, err
    assert [one.name for one in newest(home).results] == ["clean", "fgsm_linf"]


def test_parameterised_probes_from_yaml(assay: Assay, home: Path, lenet: Path) -> None:
    (home / "probes.yaml").write_text(
        """
        probes:
          - clean
          - class_path: callbacks.AdversarialProbe
            init_args:
              attack: {class_path: callbacks.PGD, init_args: {steps: 2, loss: margin}}
              norm: l2
              epsilons: [0.5, 1.0]
              targeted: next
              limit: 10
        """
    )
    code, _, err = assay(*command(lenet, "--config", "probes.yaml"))
    assert code == 0, err
    result = newest(home).result("pgd_l2_targeted")
    assert result is not None
    assert "steps=2" in result.algorithm
    assert sorted(set(result.rows["value"])) == [0.5, 1.0]
    assert result.rows["index"].nunique() == 10


def test_without_tracking(assay: Assay, home: Path, lenet: Path) -> None:
    code, out, err = assay(*command(lenet, "--probes", "clean", "--tracking.enabled", "false"))
    assert code == 0, err
    assert "MLflow" not in out
    assert newest(home).about.run_id is None


def test_splits_and_config_are_kept(done: tuple, home: Path) -> None:
    (folder,) = [f.parent for f in (home / "mlruns" / "results").glob("*/result.json")]
    assert len(json.loads((folder / "splits.json").read_text())["Digits"]["test"]) == 40
    assert "Digits" in (folder / "config.yaml").read_text()


def test_report_side_by_side(done: tuple, home: Path, assay: Assay, lenet: Path) -> None:
    run_id = newest(home).about.run_id
    code, _, err = assay("report", str(run_id), str(run_id), "--out", "both.html")
    assert code == 0, err
    page = (home / "both.html").read_text()
    assert "on the same images" in page
    assert "http://" not in page.replace("http://www.w3.org", ""), "needs nothing beside it"
    assert "<script" not in page


SOME = {
    "--data.limit first:9": 9,
    "--data.limit [1,1793]": 2,
    "--data.limit 9": 9,
    "--data.batch_size 100 --trainer.limit_test_batches 1": 100,
}


@pytest.mark.parametrize("some", SOME)
def test_some_images_have_a_result_of_their_own(
    assay: Assay, lenet: Path, home: Path, some: str
) -> None:
    line = (
        f"evaluate --model checkpoint:{lenet} --arch lenet --data Digits --probes clean "
        "--tracking.enabled false --masking false"
    )
    for more in (some.split(), []):
        code, _, err = assay(*line.split(), *more)
        assert code == 0, err
    counts = {
        len(load_result(file.parent).parts().rows["clean"])
        for file in (home / "mlruns" / "results").glob("*/result.json")
    }
    assert counts == {540, SOME[some]}
