"""Advice follows from what was broken on purpose, and stays away where nothing was."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from callbacks.monitoring.redundancy import redundant
from callbacks.results import ProbeResult
from datamodules import Digits
from lightning_modules import Classifier, load_classifier
from pipelines.explain.advice import Advice, bottleneck, fragile_layer, idle_units, weak_classes
from pipelines.explain.cell import Stage
from pipelines.explain.depth import measure_depth
from pipelines.explain.inputs import Inputs
from pipelines.explain.plan import Plan

NOWHERE = Path()
CLASSES = [f"c{k}" for k in range(10)]


@pytest.fixture(scope="module")
def data() -> Digits:
    return Digits()


@pytest.fixture
def classifier(lenet: Path, data: Digits) -> Classifier:
    return load_classifier(
        f"checkpoint:{lenet}", arch="lenet", data_classes=data.classes,
        preprocessing=data.preprocessing,
    ).eval()  # fmt: skip


def depth_of(classifier: Classifier, data: Digits) -> Stage:
    data.adopt(classifier.preprocessing)
    plan = Plan(limit=360, train_limit=500)
    return measure_depth(Inputs(classifier, data, plan, 0, pd.DataFrame()), NOWHERE)


def test_a_broken_head_is_to_be_retrained(classifier: Classifier, data: Digits) -> None:
    """A head drawn anew loses what its last layer knows, which scikit-learn reads as well."""
    torch.manual_seed(0)
    layers = [part for part in classifier.model.modules() if isinstance(part, nn.Linear)]
    layers[-1].reset_parameters()
    stage = depth_of(classifier, data)
    (advice,) = bottleneck(stage.tables["depth"])
    last = stage.tables["depth"].iloc[-1]
    assert last["probe"] > 0.8
    assert "%" in advice.finding
    assert advice.advice.startswith("Retrain")
    best = stage.tables["depth"].loc[stage.tables["depth"]["gain"].idxmax(), "layer"]
    assert advice.about == f"layer {best.removeprefix('model.')}"


def test_a_probe_reads_what_scikit_learn_reads(classifier: Classifier, data: Digits) -> None:
    from sklearn.linear_model import LogisticRegression

    table = depth_of(classifier, data).tables["depth"].set_index("layer")
    layer = classifier.model.get_submodule(table.index[-1])
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _m, _i, output: seen.append(output.flatten(1)))
    parts = {}
    for split, count in (("train", 500), ("test", 360)):
        batch = data.taken(split, count)
        with torch.no_grad():
            classifier(batch.image)
        parts[split] = (seen.pop().numpy(), batch.label.numpy())
    handle.remove()
    other = LogisticRegression(C=1.0, max_iter=2000).fit(*parts["train"]).score(*parts["test"])
    # Other penalties: two of a hundred answers may differ.
    assert table["probe"].iloc[-1] == pytest.approx(other, abs=0.02)
    assert table["n"].iloc[-1] == 360


def by_layer(right: dict[str, int], n: int = 100) -> ProbeResult:
    """Damage of one layer at a time, which leaves so many of `n` images right."""
    rows = pd.concat(
        pd.DataFrame({"index": range(n), "severity": step, "value": float(step), "draw": 0,
                      "correct": [float(place < count) for place in range(n)]})
        for step, count in enumerate(right.values(), 1)
    )  # fmt: skip
    places = {f"{step}": name for step, name in enumerate(right, 1)}
    about = ("noise_by_layer", "damage", "Noise by layer", "layer", "Noise()", None)
    return ProbeResult(*about, rows, places=places)


def test_the_layer_whose_damage_costs_most_is_to_be_protected() -> None:
    (advice,) = fragile_layer(by_layer({"conv 1": 90, "conv 2": 40, "head": 80}))
    assert (advice.about, advice.advice.split(",")[0]) == ("layer conv 2", "Protect conv 2 first")
    assert "40.0 " in advice.finding
    assert "in head, the next one" in advice.finding
    assert not list(fragile_layer(by_layer({"a": 90, "b": 78, "c": 80}))), "78 is not told from 80"
    assert not list(fragile_layer(by_layer({"only": 10})))


def test_nothing_stands_out_of_a_network_that_uses_what_it_knows() -> None:
    lines = [("a", 0.5, -0.4, 0.3), ("b", 0.91, 0.01, 0.4)]
    columns = ["layer", "probe", "gain", "p"]
    table = pd.DataFrame(lines, columns=columns).assign(units=4, redundant=0, n=100)
    assert list(bottleneck(table)) == []
    assert list(bottleneck(table.drop(columns="p"))) == []
    assert list(bottleneck(pd.DataFrame())) == []


def test_what_is_lost_in_the_head_alone_is_for_the_head() -> None:
    lines = [("conv", 0.9, 0.3, 0.001), ("head", 0.6, 0.0, 1.0)]
    ends = {f"{name}_{end}": 0.5 for name in ("probe", "gain") for end in ("low", "high")}
    table = pd.DataFrame(lines, columns=["layer", "probe", "gain", "p"]).assign(n=100, **ends)
    (advice,) = bottleneck(table, "head")
    assert advice.advice.startswith("Retrain the head (assay fine-tune")
    (advice,) = bottleneck(table)
    assert advice.advice == "Retrain what follows conv, head first"


def rows(wrong: dict[int, int], n: int = 100) -> pd.DataFrame:
    """`n` images of ten classes each; some of a class are taken for class 0."""
    label = np.repeat(np.arange(10), n)
    place = np.tile(np.arange(n), 10)
    missed = place < np.array([wrong.get(k, 2) for k in range(10)])[label]
    prediction = np.where(missed, np.where(label == 0, 1, 0), label)
    correct = (~missed).astype(float)
    return pd.DataFrame(
        {"label": label, "prediction": prediction, "correct": correct, "loss": 1 - correct}
    )


def test_a_class_that_is_missed_more_often_lacks_images() -> None:
    (advice,) = weak_classes(rows({7: 30}), CLASSES, [50] * 10)
    assert advice.about == "class c7"
    assert "70.0 [60.4, 78.1] % of its 100 images are right, 50 for training" in advice.finding
    assert advice.finding.endswith("of the other classes 98.0 %; 30 of 30 errors take it for c0")
    assert list(weak_classes(rows({7: 5}), CLASSES)) == [], "5 of 100 beside 2 of 100 are chance"
    assert list(weak_classes(rows({}), CLASSES)) == []


def test_images_do_not_help_a_class_that_is_ruled_out() -> None:
    closed = rows({7: 100})
    closed.loc[closed["label"] == 7, "loss"] = np.inf
    (advice,) = weak_classes(closed, CLASSES)
    assert advice.advice == "Let the model answer c7, whose logit is minus infinity"
    constant = closed.assign(prediction=0, correct=(closed["label"] == 0).astype(float))
    assert list(weak_classes(constant, CLASSES)) == [], "no class is to blame"


def test_what_was_not_answered_is_taken_for_no_class() -> None:
    silent = rows({7: 30})
    silent.loc[(silent["label"] == 7) & (silent["correct"] == 0), "prediction"] = -1
    (advice,) = weak_classes(silent, CLASSES)
    assert "take it for" not in advice.finding


def test_units_that_repeat_another_are_counted_and_chance_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(300, 4, 6, generator=generator)
    values[..., 3], values[..., 5] = 1 - 2 * values[..., 1], 0.0
    values[..., 4] = values[..., 0] + values[..., 2]  # correlated at .7
    assert redundant(values).tolist() == [False, False, False, True, False, False]
    assert not redundant(values[:5]).any(), "five images prove nothing"


def test_idle_units_are_told_with_both_counts() -> None:
    lines = [("fc", 10, 1), ("conv", 40, 1)]
    depth = pd.DataFrame(lines, columns=["layer", "units", "redundant"])
    layers = pd.DataFrame({"layer": ["fc", "conv"], "silent": [3, 1], "bound": [0.003, 0.003]})
    (advice,) = idle_units(Stage({"depth": depth}, {"images": 1000}), layers)
    assert advice.about == "layer fc"
    assert advice.finding.startswith("3 of 10 units of fc were always zero")
    assert "1 of 10 repeat another" in advice.finding
    unsure = layers.assign(bound=0.3)
    (advice,) = idle_units(Stage({"depth": depth}, {"images": 9}), unsure)
    assert "always zero" not in advice.finding


def test_advice_is_a_sentence() -> None:
    assert str(Advice("class a", "x is low", "Give more")) == "Give more: x is low."


def test_a_network_without_such_layers_has_no_table(data: Digits) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(64, 10))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ self.weight

    plain = Digits(limit=60)
    network = load_classifier(Bare(), data_classes=plain.classes).eval()
    stage = depth_of(network, plain)
    assert len(stage.tables["depth"]) == 0
    assert list(bottleneck(stage.tables["depth"])) == []
