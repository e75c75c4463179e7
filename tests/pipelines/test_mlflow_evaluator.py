"""Through the real `mlflow.models.evaluate`: numbers against the model asked by hand."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import infer_signature
from mlflow.models.evaluation import evaluator_registry
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import nn

from datamodules.errors import UserError
from pipelines.mlflow_evaluator import AssayEvaluator
from pipelines.mlflow_rows import check_order, labels_of
from pipelines.report.command import load_run

DIGITS = load_digits()
ROWS = np.rint(DIGITS.data[:100] / 16 * 255).astype(np.uint8)
LABELS = DIGITS.target[:100]
CONFIG = {"pixels": "0..255", "shape": [8, 8, 1], "chunk": 100}


class Scores(mlflow.pyfunc.PythonModel):
    """Answers of a regression to rows in [0, 1]."""

    def __init__(self, model: LogisticRegression) -> None:
        self.model = model

    def predict(self, context: Any, model_input: pd.DataFrame) -> np.ndarray:
        return self.model.predict_proba(model_input.to_numpy())


@pytest.fixture(scope="module")
def fitted() -> LogisticRegression:
    return LogisticRegression(max_iter=400).fit(DIGITS.data[100:] / 16, DIGITS.target[100:])


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(
        evaluator_registry._model_evaluation_registry._registry, "assay", AssayEvaluator
    )
    before, uri = mlflow.get_tracking_uri(), f"sqlite:///{home / 'mlruns' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before)


def scores(model: LogisticRegression) -> Callable[[Any], np.ndarray]:
    return lambda rows: model.predict_proba(np.asarray(rows) / 255)


def evaluated(of: Any, data: Any, targets: Any, /, **config: Any) -> Any:
    return mlflow.models.evaluate(
        of, data, targets=targets, model_type="classifier", evaluators="assay",
        evaluator_config={**CONFIG, **config},
    )  # fmt: skip


def test_a_function_that_only_answers(fitted: LogisticRegression, store: str, home: Path) -> None:
    with mlflow.start_run() as run:
        found = evaluated(scores(fitted), ROWS, LABELS, corruption=["gaussian_noise"])
    right = (fitted.predict(ROWS / 255) == LABELS).mean()
    assert found.metrics["summary/clean_acc"] == pytest.approx(right)
    assert "<svg" in found.artifacts["report.html"].content
    logged = mlflow.MlflowClient().get_run(run.info.run_id)
    assert logged.data.metrics["summary/clean_acc"] == pytest.approx(right)
    assert 0 <= logged.data.metrics["corruption/gaussian_noise_acc"] <= right
    again = load_run(run.info.run_id, home, store, home / "scratch")
    assert again.headline()["clean_acc"].interval.value == pytest.approx(right)
    assert again.about.run_id == run.info.run_id
    files = [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    assert {"report.html", "result.json"} <= {*files}


def test_a_table_with_a_column_a_pixel(fitted: LogisticRegression, store: str) -> None:
    table = pd.DataFrame(ROWS / 255).add_prefix("p").assign(digit=LABELS)
    seen = []

    def answer(rows: pd.DataFrame) -> np.ndarray:
        seen.append(rows)
        return fitted.predict_proba(rows.to_numpy())

    found = evaluated(answer, table, "digit", pixels="0..1")
    right = (fitted.predict(ROWS / 255) == LABELS).mean()
    assert found.metrics["summary/clean_acc"] == pytest.approx(right)
    assert "summary/adversarial_acc" not in found.metrics
    assert list(seen[-1].columns) == [f"p{i}" for i in range(64)]
    assert seen[-1].dtypes.unique() == [np.float64]


def test_a_column_of_images(fitted: LogisticRegression, store: str) -> None:
    images = [row.reshape(1, 8, 8) for row in ROWS[:60]]
    table = pd.DataFrame({"image": images, "digit": LABELS[:60]})

    def answer(rows: pd.DataFrame) -> np.ndarray:
        assert rows["image"][0].dtype == np.uint8
        return fitted.predict_proba(np.stack(rows["image"].tolist()).reshape(-1, 64) / 255)

    found = evaluated(answer, table, "digit", layout="CHW", shape=None)
    right = (fitted.predict(ROWS[:60] / 255) == LABELS[:60]).mean()
    assert found.metrics["summary/clean_acc"] == pytest.approx(right)


def test_a_network_of_the_configuration_has_gradients(
    fitted: LogisticRegression, store: str
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    network[1].weight.data = torch.tensor(fitted.coef_, dtype=torch.float32)
    network[1].bias.data = torch.tensor(fitted.intercept_, dtype=torch.float32)
    options = {"model": network, "attack": "pgd", "epsilon": [0.05], "masking": False}
    found = evaluated(None, ROWS, LABELS, **options)
    # Of a linear network no attack is stronger than the sign of the difference of two rows, up to
    # the box: it bounds the accuracy from below.
    image, margin = ROWS / 255, []
    for row, label in zip(image, LABELS, strict=True):
        apart = fitted.coef_[label] - fitted.coef_
        moved = np.clip(row - 0.05 * np.sign(apart), 0, 1)
        margin.append(np.delete((apart * moved).sum(1) + fitted.intercept_[label]
                                - fitted.intercept_, label).min())  # fmt: skip
    exact = (np.array(margin) > 0).mean()
    assert exact <= found.metrics["summary/adversarial_acc"] <= exact + 0.02


def test_metrics_are_tied_to_a_logged_model_once(fitted: LogisticRegression, store: str) -> None:
    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return np.eye(10)[np.asarray(model_input).sum(1).astype(int) % 10]

    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(name="model", python_model=Model(), pip_requirements=[])
        evaluated(info.model_uri, ROWS, LABELS)
    client = mlflow.MlflowClient()
    assert len(client.get_metric_history(run.info.run_id, "summary/clean_acc")) == 1
    tied = client.get_logged_model(info.model_id).metrics or []
    assert "summary/clean_acc" in {metric.key for metric in tied}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"pixels": "bytes"}, "`pixels` of the images, but got 'bytes'"),
        ({"pixels": "0..1"}, "`pixels` 0..1, but they go from 0 to 255"),
        ({"shape": [8, 8, 3]}, "64 numbers in all, but got \\[8, 8, 3\\]"),
        ({"shape": None}, "`shape` as \\[H, W, C\\]"),
        ({"layout": "NHWC"}, "HWC or CHW"),
        ({"prob": ["clean"]}, "no 'prob' in `evaluator_config`. Did you mean 'probes'"),
        ({"tracking": 1}, "no `tracking`"),
        ({"model": "lenet"}, "Expected one model"),
    ],
)
def test_mistakes(fitted: LogisticRegression, store: str, config: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluated(scores(fitted), ROWS, LABELS, **config)


def test_more_mistakes(fitted: LogisticRegression, store: str) -> None:
    with pytest.raises(UserError, match="labels alone have no loss"):
        evaluated(lambda rows: fitted.predict(rows / 255), ROWS, LABELS)
    with pytest.raises(UserError, match="give the names as `classes`"):
        evaluated(scores(fitted), ROWS, LABELS.astype(str))
    with pytest.raises(UserError, match="no gradient"):
        evaluated(scores(fitted), ROWS, LABELS, probes=["pgd"], masking=False)


def test_names_of_classes_are_looked_up(fitted: LogisticRegression, store: str) -> None:
    names = [f"digit {i}" for i in range(10)]
    found = evaluated(scores(fitted), ROWS, np.array(names)[LABELS], classes=names)
    right = (fitted.predict(ROWS / 255) == LABELS).mean()
    assert found.metrics["summary/clean_acc"] == pytest.approx(right)


def test_numbers_as_names_of_classes_are_no_places() -> None:
    targets = np.array([1, 2, 1])
    assert labels_of(targets, ["1", "2", "3"]).tolist() == [0, 1, 0]
    assert labels_of(targets, ["0", "1", "2"]).tolist() == [1, 2, 1]
    assert labels_of(targets, ["cat", "dog", "bird"]).tolist() == [1, 2, 1]
    with pytest.raises(UserError, match="There is no class '3'"):
        labels_of(np.array([3]), ["0", "1", "2"])


def test_scores_are_those_of_the_classes_that_they_name(
    fitted: LogisticRegression, store: str
) -> None:
    names = [f"digit {number}" for number in range(10)]
    turned = names[::-1]

    def answer(rows: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(fitted.predict_proba(rows / 255), columns=names)

    targets = np.array([names[label] for label in LABELS])
    right = (fitted.predict(ROWS / 255) == LABELS).mean()
    found = evaluated(answer, ROWS, targets, classes=turned)
    assert found.metrics["summary/clean_acc"] == pytest.approx(right)
    with pytest.raises(UserError, match="names its scores digit 0, digit 1"):
        evaluated(answer, ROWS, LABELS)


@pytest.mark.parametrize("classes", [None, ["2", "0", "3"]])
def test_the_order_that_a_model_tells_is_kept_to(classes: list[str] | None) -> None:
    model = SimpleNamespace(get_raw_model=lambda: SimpleNamespace(classes_=np.array([0, 2, 3])))
    with pytest.raises(UserError, match="scores are of 0, 2, 3, in this order"):
        check_order(model, classes)
    check_order(model, ["0", "2", "3"])
    by_place = SimpleNamespace(get_raw_model=lambda: SimpleNamespace(classes_=np.arange(3)))
    check_order(by_place, ["cat", "dog", "bird"])
    check_order(by_place, None)


def test_columns_in_another_order_than_the_signature(
    fitted: LogisticRegression, store: str
) -> None:
    """A blur of a scrambled picture is another blur, whatever order the model gets it in."""
    table = pd.DataFrame(ROWS / 255).add_prefix("p")
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="rows",
            python_model=Scores(fitted),
            signature=infer_signature(table),
            pip_requirements=[],  # which MLflow would look for by a process of its own
        )
    blurred = [
        evaluated(
            logged.model_uri, one.assign(digit=LABELS), "digit", pixels="0..1",
            corruption=["gaussian_blur"],
        ).metrics["summary/corruption_loss"]
        for one in (table, table[table.columns[::-1]])
    ]  # fmt: skip
    assert blurred[0] == blurred[1]


def test_other_evaluators_are_left_alone() -> None:
    for kind, config in (("classifier", {}), ("classifier", None), ("regressor", CONFIG)):
        assert not AssayEvaluator.can_evaluate(model_type=kind, evaluator_config=config)
    assert AssayEvaluator.can_evaluate(model_type="classifier", evaluator_config=CONFIG)


def test_the_entry_point_names_it() -> None:
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["mlflow.model_evaluator"]["assay"].partition(":")
    assert getattr(importlib.import_module(module), name) is AssayEvaluator
