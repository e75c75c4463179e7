"""Every method on the same images, and the same images before and after a change."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn

from callbacks.digests import weights_digest
from callbacks.interpretability import CONTROLS, EXPLAINERS, IntegratedGradients
from datamodules import Digits
from datamodules.errors import UserError
from lightning_modules import Classifier, load_classifier, save_classifier
from pipelines.explain.cell import Stage
from pipelines.explain.changes import compared_models, measure_changes
from pipelines.explain.figures import linearity_figure
from pipelines.explain.inputs import Inputs
from pipelines.explain.methods import best_method, explainers_for, measure_methods
from pipelines.explain.picture_figures import feature_figure, gallery_figure
from pipelines.explain.plan import Plan
from pipelines.explain.surrogates import measure_tree
from pipelines.explain.tree_figure import tree_figure
from pipelines.explain.units import measure_feature_maps
from pipelines.study import Study
from pipelines.tracking import Tracking

EXPLAINERS_BY_CLASS = {kind: name for name, kind in EXPLAINERS.items()}
NOWHERE = Path()
"""Where stages write files; these write none."""
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


def inputs_of(classifier: Classifier, data: Digits, budget: float = 0) -> Inputs:
    """One clean image, so that the budget of the score is that of an image."""
    clean = pd.DataFrame({"index": [0]})
    return Inputs(classifier, data, Plan(forwards=budget, train_limit=300), 0, clean)


def opening(tmp_path: Path) -> Study:
    return Study("explain", "", {"root": tmp_path, "tracking": Tracking(enabled=False),
                                 "arch": "lenet"})  # fmt: skip


@pytest.fixture(scope="module")
def found(
    classifier: Classifier, data: Digits, lenet: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Stage, str]:
    before, shown = weights_digest(classifier), data.preprocessing
    study = opening(tmp_path_factory.mktemp("compared"))
    compare = compared_models(study, {"copy": f"checkpoint:{lenet}"}, data)
    assert data.preprocessing == shown, "the data are left as they were found"
    inputs = inputs_of(classifier, data)
    return measure_changes(inputs, compare, IntegratedGradients(8), NOWHERE), before


def test_every_change_stands_beside_its_controls(found: tuple[Stage, str]) -> None:
    table = found[0].tables["changes"].set_index("version")
    assert table["kind"].tolist() == ["before", "attack", "control", "damage", "model", "control"]
    told = table["agreement_low"].notna()
    assert told.tolist() == [False, True, True, True, False, True], "equal values have no ends"
    assert (table["agreement_low"] <= table["agreement"])[told].all()
    assert (table["n"] == 16).all()


def test_nothing_changed_agrees_exactly(found: tuple[Stage, str]) -> None:
    """The same weights loaded once more are the closed form: 1, and no other answer."""
    table = found[0].tables["changes"].set_index("version")
    for name in ("before", "copy"):
        assert table.loc[name, "agreement"] == 1
        assert table.loc[name, "changed"] == 0
        assert table.loc[name, "srg"] == table.loc["before", "srg"]


def test_attack_and_random_weights_change_it(found: tuple[Stage, str]) -> None:
    table = found[0].tables["changes"].set_index("version")
    assert table.loc["attacked", "changed"] > 0.9, "PGD at the usual radius breaks this network"
    assert table.loc["attacked", "agreement"] < 0.9
    # 16 maps of 784 pixels: the mean of rank correlations has a standard error below .05.
    assert abs(table.loc["random weights (control)", "agreement"]) < 0.2


def test_the_model_is_left_alone(found: tuple[Stage, str], classifier: Classifier) -> None:
    assert weights_digest(classifier) == found[1]


def test_a_larger_budget_takes_more_images(classifier: Classifier, data: Digits) -> None:
    inputs = inputs_of(classifier, data, 130_000)
    stage = measure_changes(inputs, {}, IntegratedGradients(8), NOWHERE)
    assert (stage.tables["changes"]["n"] > 16).all()


def test_a_model_that_sees_other_images_is_refused(
    classifier: Classifier, data: Digits, tmp_path: Path
) -> None:
    smaller = replace(classifier.preprocessing, resize=(16, 16))
    other = Classifier(
        classifier.model, classes=classifier.classes, preprocessing=smaller, architecture="lenet"
    )
    save_classifier(other, tmp_path)
    with pytest.raises(UserError, match=r"--compare\.mine.*same images"):
        compared_models(opening(tmp_path), {"mine": f"checkpoint:{tmp_path}"}, data)
    assert data.preprocessing.resize == classifier.preprocessing.resize


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
    inputs = inputs_of(classifier, data, 147_600)  # six images by every method and setting
    stage = measure_methods(inputs, NOWHERE)
    table = stage.tables["methods"].set_index("method")
    assert set(table.index) == {*EXPLAINERS, *CONTROLS}
    assert stage.notes == []
    assert table["srg"].is_monotonic_decreasing
    assert table["srg_low"].isna().all(), "six images are too few for ends"
    assert table.loc["random", "srg"] < 0.2 < table.loc["integrated_gradients", "srg"]
    assert table["srg"].to_numpy() == pytest.approx(table["least"] - table["most"], abs=1e-6)
    assert stage.arrays["agreement"].shape == (len(table), len(table))
    assert stage.arrays["maps"].shape[:2] == (len(stage.facts["captions"]), 6)
    assert "Kendall's tau" in stage.method["methods"]
    best = best_method(stage.tables["methods"], explainers_for(inputs))
    assert table.loc[EXPLAINERS_BY_CLASS[type(best)], "forwards"] <= 100


def test_a_small_budget_names_what_it_leaves_out(classifier: Classifier, data: Digits) -> None:
    stage = measure_methods(inputs_of(classifier, data, 6 * 4 * 300), NOWHERE)
    table = stage.tables["methods"]
    assert (table["n"] == 6).all()
    (note,) = [note for note in stage.notes if note.endswith(": left out, raise --forwards.")]
    assert "rise" in note.partition(":")[0].split(", ")
    assert {"gradient", "random"} <= set(table["method"]), "the cheap ones are always there"


def test_layers_are_pictured_where_they_answer_in_maps(
    classifier: Classifier, data: Digits
) -> None:
    stage = measure_feature_maps(inputs_of(classifier, data), NOWHERE)
    figure = feature_figure(stage.facts["channels"], stage.arrays)
    assert len(figure.axes[0].images) > 8, "the image and its busiest channels, layer by layer"


def test_a_network_without_maps_has_no_such_picture(data: Digits) -> None:
    pixels = data.taken("test", 1).image.numel()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8), nn.ReLU(), nn.Linear(8, 10))
    mlp = Classifier(flat, classes=10, preprocessing=data.preprocessing, architecture="mlp")
    assert measure_feature_maps(inputs_of(mlp.eval(), data), NOWHERE).facts["channels"] == {}


def test_a_constant_model_has_a_figure_that_says_so() -> None:
    """No answer changes, so that no R² is defined at any radius."""
    columns = [f"{name}{end}" for name in ("r2", "first_order") for end in ("", "_low", "_high")]
    table = pd.DataFrame({"radius": [0.01, 0.1], **dict.fromkeys(columns, np.nan)})
    figure = linearity_figure(table)
    FigureCanvasAgg(figure).draw()
    assert "undefined" in figure.axes[0].texts[0].get_text()


def test_a_tree_can_be_read(classifier: Classifier, data: Digits) -> None:
    """No text lies on another one, and it stands on the page at its own size."""
    nodes = measure_tree(inputs_of(classifier, data), NOWHERE).tables["tree_nodes"]
    figure = tree_figure(nodes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    assert len(boxes) == 2 * len(nodes) + (nodes["parent"] >= 0).sum()
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    assert figure.get_figwidth() * 96 <= 1120, "wider ones are made smaller by the page"
    assert nodes["question"].str.match(r"(patch \(\d, \d\) . \d[\d.e-]*)?$").all()


class Bare(nn.Module):
    """Weights that are no parameters."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("matrix", torch.randn(pixels, 10, generator=generator))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1) @ self.matrix


def test_what_cannot_be_damaged_is_told(data: Digits) -> None:
    network = Bare(data.taken("test", 1).image.numel())
    bare = Classifier(network, classes=10, preprocessing=data.preprocessing, architecture="bare")
    stage = measure_changes(inputs_of(bare.eval(), data), {}, IntegratedGradients(2), NOWHERE)
    assert "damaged" not in set(stage.tables["changes"]["version"])
    assert [note.partition(":")[0] for note in stage.notes] == ["damaged"]


@pytest.mark.parametrize(("low", "cmap", "least"), [(0.0, "Reds", 0.0), (-1.0, "RdBu_r", -1.0)])
def test_positive_maps_start_at_0(low: float, cmap: str, least: float) -> None:
    saliency = np.linspace(low, 1, 64).reshape(1, 1, 8, 8)
    image = np.zeros((1, 8, 8, 3), np.uint8)
    figure = gallery_figure(image, saliency, {"rise": ["+0.10"]}, ["bee"])
    bar, _, shown = figure.axes[0].images
    assert bar.get_cmap().name == cmap, "the scale is shown"
    assert shown.get_cmap().name == cmap
    # The 99th percentile of sizes is the end of the scale.
    assert shown.get_clim() == pytest.approx((least, 1.0), abs=0.03)
