"""Every method on the same images, and the same images before and after a change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from callbacks.digests import weights_digest
from callbacks.interpretability import CONTROLS, EXPLAINERS, IntegratedGradients
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier, load_classifier, save_classifier
from pipelines.explain.changes import Changes, changes, others
from pipelines.explain.layer_views import layer_maps
from pipelines.explain.methods import methods

EXPLAINERS_BY_CLASS = {kind: name for name, kind in EXPLAINERS.items()}
CPU = torch.device("cpu")
Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data() -> Digits:
    return Digits(limit=300)


@pytest.fixture(scope="module")
def classifier(lenet: Path, data: Digits) -> Classifier:
    found = load_classifier(
        f"checkpoint:{lenet}", arch="lenet", data_classes=data.classes,
        preprocessing=data.preprocessing,
    ).eval()  # fmt: skip
    found.chunk = 32
    data.adopt(found.preprocessing)
    return found


@pytest.fixture(scope="module")
def found(classifier: Classifier, data: Digits, lenet: Path) -> tuple[Changes, str]:
    before = weights_digest(classifier)
    beside = others({"copy": f"checkpoint:{lenet}"}, classifier, "lenet", False)
    return changes(classifier, beside, data, IntegratedGradients(8), 0, CPU, 0), before


def test_every_change_stands_beside_its_controls(found: tuple[Changes, str]) -> None:
    table = found[0].table.set_index("version")
    assert table["kind"].tolist() == ["before", "attack", "control", "damage", "model", "control"]
    assert (table["agreement_low"] <= table["agreement"]).all()
    assert (table["n"] == 16).all()


def test_nothing_changed_agrees_exactly(found: tuple[Changes, str]) -> None:
    """The same weights loaded once more are the closed form: 1, and no other answer."""
    table = found[0].table.set_index("version")
    for name in ("before", "copy"):
        assert table.loc[name, "agreement"] == 1
        assert table.loc[name, "changed"] == 0
        assert table.loc[name, "srg"] == table.loc["before", "srg"]


def test_attack_and_random_weights_change_it(found: tuple[Changes, str]) -> None:
    table = found[0].table.set_index("version")
    assert table.loc["attacked", "changed"] > 0.9, "PGD at the usual radius breaks this network"
    assert table.loc["attacked", "agreement"] < 0.9
    # 16 maps of 784 pixels: the mean of rank correlations has a standard error below .05.
    assert abs(table.loc["random weights (control)", "agreement"]) < 0.2


def test_the_model_is_left_alone(found: tuple[Changes, str], classifier: Classifier) -> None:
    assert weights_digest(classifier) == found[1]


def test_a_larger_budget_takes_more_images(classifier: Classifier, data: Digits) -> None:
    assert (
        changes(classifier, {}, data, IntegratedGradients(8), 130_000, CPU, 0).table["n"] > 16
    ).all()


def test_a_model_that_sees_other_images_is_refused(
    lenet: Path, classifier: Classifier, tmp_path: Path
) -> None:
    smaller = replace(classifier.preprocessing, resize=(16, 16))
    other = Classifier(
        classifier.model, classes=classifier.classes, preprocessing=smaller, architecture="lenet"
    )
    save_classifier(other, tmp_path)
    with pytest.raises(UserError, match=r"--compare\.mine.*same images"):
        others({"mine": f"checkpoint:{tmp_path}"}, classifier, "lenet", False)


def test_a_missing_model_to_compare_is_told_before_anything_runs(
    assay: Assay, lenet: Path, home: Path
) -> None:
    words = f"explain --model checkpoint:{lenet} --arch lenet --data Digits --compare.b".split()
    code, out, err = assay(*words, "checkpoint:nowhere.pt")
    assert code == 2
    assert "nowhere.pt" in err
    assert "Traceback" not in err
    assert "clean" not in out


def test_every_method_stands_beside_its_controls(classifier: Classifier, data: Digits) -> None:
    found = methods(classifier, data, 10**7 / 8, CPU, 0)
    table = found.table.set_index("method")
    assert set(table.index) == {*EXPLAINERS, *CONTROLS}
    assert found.notes == []
    assert table["srg"].is_monotonic_decreasing
    assert table.loc["random", "srg_low"] < 0.05 < 0.2 < table.loc["integrated_gradients", "srg"]
    assert table["srg"].to_numpy() == pytest.approx(table["least"] - table["most"], abs=1e-6)
    assert set(found.figures) == {"gallery", "agreement"}
    assert "Kendall's tau" in found.fact
    assert table.loc[EXPLAINERS_BY_CLASS[type(found.best())], "forwards"] <= 100


def test_a_small_budget_names_what_it_leaves_out(classifier: Classifier, data: Digits) -> None:
    found = methods(classifier, data, 6 * 4 * 300, CPU, 0)
    assert (found.table["n"] == 6).all()
    assert "rise: left out, raise --forwards." in found.notes
    assert {"gradient", "random"} <= set(found.table["method"]), "the cheap ones are always there"


def test_layers_are_pictured_where_they_answer_in_maps(
    classifier: Classifier, data: Digits
) -> None:
    figure = layer_maps(classifier, data, CPU)
    assert figure is not None
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) > 8, "the image and its busiest channels, layer by layer"


def test_a_network_without_maps_has_no_such_picture(data: Digits) -> None:
    pixels = data.taken("test", 1).image.numel()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8), nn.ReLU(), nn.Linear(8, 10))
    mlp = Classifier(flat, classes=10, preprocessing=data.preprocessing, architecture="mlp")
    assert layer_maps(mlp.eval(), data, CPU) is None


class Bare(nn.Module):
    """Weights in no layer that damage knows."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(pixels, 10, generator=generator))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1) @ self.matrix


def test_what_cannot_be_damaged_is_told(data: Digits) -> None:
    network = Bare(data.taken("test", 1).image.numel())
    bare = Classifier(network, classes=10, preprocessing=data.preprocessing, architecture="bare")
    found = changes(bare.eval(), {}, data, IntegratedGradients(2), 0, CPU, 0)
    assert "damaged" not in set(found.table["version"])
    assert [note.partition(":")[0] for note in found.notes] == ["damaged"]
