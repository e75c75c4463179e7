"""`assay explain` on models that are not like the ones it was built with, and on wrong options."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from callbacks.monitoring import PARTS
from callbacks.monitoring.noise_images import NOISE
from callbacks.rows import outcome_columns
from datamodules import Digits, ImageFolder, Preprocessing, UserError, open_data
from datamodules.pictures import Pictures
from lightning_modules import Classifier
from lightning_modules.features import extract
from pipelines.explain.cell import Stages
from pipelines.explain.inputs import Inputs, batches, in_runs
from pipelines.explain.monitoring import _where, measure_monitor
from pipelines.explain.outlier_sets import (
    adapt,
    as_shown,
    folder_or_data,
    named_sets,
    opened_outliers,
)
from pipelines.explain.outliers import head_of, measure_outliers
from pipelines.explain.plan import Plan
from pipelines.explain.score import check_budget, measure_score
from pipelines.explain.summary import chosen_outlier_scores
from pipelines.study import Study
from pipelines.study.cells import Cells
from pipelines.tracking import Tracking

GREY = Preprocessing(channels=1, mean=(0.3,), std=(0.4,))


class Reused(nn.Module):
    """In-place, reused and functional activations, one convolution asked twice, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.both, self.act = nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(inplace=True)
        self.norm, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.one(x)))
        y = self.act(self.two(x))
        z = self.two(F.relu_(self.both(torch.cat([x, y], 1)))).relu()
        return self.fc(F.adaptive_avg_pool2d(z, 1).flatten(1))


class ByHeart(nn.Module):
    """Answers what the nearest test image is labelled; its linear layer is never asked."""

    bank: Tensor
    label: Tensor

    def __init__(self, off: int = 0) -> None:
        super().__init__()
        test = Digits().taken("test", 540)
        self.register_buffer("bank", ((test.image - 0.3) / 0.4).flatten(1))
        self.register_buffer("label", (test.label + off) % 10)
        self.unused = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = (-3 * torch.cdist(x.flatten(1), self.bank)).softmax(1)
        return (near @ F.one_hot(self.label, 10).float() + 1e-6).log()


class NoGradient(nn.Module):
    """A lookup table of the image's brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return F.one_hot((x.flatten(1) * 100).long().sum(1) % 10, 10).float()


class NoHead(nn.Module):
    """A bare matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


class Scale(nn.Module):
    """A temperature behind the head."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def mlp(scale: float = 1.0) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with torch.no_grad():
        net[3].weight.mul_(scale)
    return net


def transformer() -> nn.Module:
    net = VisionTransformer(
        image_size=8, patch_size=2, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
        num_classes=10,
    )  # fmt: skip
    nn.init.normal_(net.heads.head.weight)  # torchvision begins with zeros
    return nn.Sequential(nn.Conv2d(1, 3, 1), net)


@dataclass(frozen=True)
class Case:
    """A network, and which parts are no number on it."""

    make: Callable[[], nn.Module]
    undefined: frozenset[str] = frozenset()
    said: str = ""


CASES = {
    "no layer with places": Case(mlp),
    "vision transformer": Case(transformer),
    "reused and in place": Case(Reused),
    "no head": Case(NoHead),
    "always right": Case(
        ByHeart,
        frozenset({"failure"}),
        "none of 60 test images is misclassified, hence at most 4.9 % are",
    ),
    "always wrong": Case(
        lambda: ByHeart(1), frozenset({"failure"}), "all of 60 test images are misclassified"
    ),
    "constant": Case(
        lambda: mlp(0), frozenset({"stability", "randomisation", "surrogate"}), "every map is zero"
    ),
}


def load_classifier(net: nn.Module) -> Classifier:
    made = Classifier(net, classes=10, preprocessing=GREY, architecture="python:x:net", chunk=32)
    return made.eval().requires_grad_(False)


def rows_of(classifier: Classifier, data: Digits) -> pd.DataFrame:
    test = data.taken("test", 10_000)
    with torch.no_grad():
        columns = outcome_columns(classifier(test.image), test.label)
    rows = pd.DataFrame({name: column.numpy() for name, column in columns.items()})
    return rows.assign(index=test.index.numpy())


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Classifier, Case]:
    torch.manual_seed(0)
    one = CASES[request.param]
    return load_classifier(one.make()), one


def inputs_of(classifier: Classifier, images: int, **options: Any) -> Inputs:
    """With at most so many images of each split."""
    data = Digits(limit=images)
    return Inputs(classifier, data, Plan(**options), 0, rows_of(classifier, data))


def test_parts_are_measured_or_said_to_be_undefined(
    case: tuple[Classifier, Case], tmp_path: Path
) -> None:
    classifier, expected = case
    inputs = inputs_of(classifier, 60, limit=24, train_limit=60, forwards=700, window=8)
    check(inputs)
    stage = measure_score(Stages(Cells(tmp_path), {}, tmp_path), inputs)
    table = stage.tables["parts"].set_index("part")["value"]
    undefined = set(table.index[table.isna()]) - {"monitorability"}
    assert undefined == expected.undefined
    assert (table["monitorability"] != table["monitorability"]) == bool(undefined)
    twin = stage.tables["twin"].set_index("part")
    assert list(twin.index) == list(stage.tables["parts"]["part"])
    said = " ".join(stage.notes)
    assert expected.said in said
    assert all(f"{name} is undefined" in said for name in undefined)
    assert set(table.index) == {*PARTS, "monitorability"}
    again = measure_score(Stages(Cells(tmp_path), {}, tmp_path), inputs)
    pd.testing.assert_frame_equal(again.tables["parts"], stage.tables["parts"])


def test_outliers_are_scored(case: tuple[Classifier, Case], tmp_path: Path) -> None:
    classifier, _ = case
    stage = measure_outliers(inputs_of(classifier, 60, limit=24, train_limit=60), {}, tmp_path)
    assert stage.tables["outliers"]["auroc"].between(0, 1).all()
    headless = isinstance(classifier.model, ByHeart | NoHead)
    assert any("no last layer" in note for note in stage.notes) == headless
    rows = stage.tables["outlier_rows"]
    same = np.allclose(rows["vim"], rows["energy"], rtol=1e-9)
    assert any("ViM equals energy" in note for note in stage.notes) == same
    own = rows.loc[rows["outliers"] == ""]
    assert len(own) == 24
    for line in stage.tables["outliers"].to_dict("records"):
        kind = rows.loc[rows["outliers"] == line["outliers"], line["score"]]
        wins = np.subtract.outer(own[line["score"]].to_numpy(), kind.to_numpy())
        assert line["auroc"] == pytest.approx(float(((wins > 0) + 0.5 * (wins == 0)).mean()))


def test_the_headlines_outlier_score_is_chosen_on_other_kinds() -> None:
    """Score b is by far the best on the last kind alone, and must not be credited for it."""
    auroc = {"noise": (0.9, 0.5), "blobs": (0.8, 0.6), "photos": (0.5, 1.0)}
    lines = [
        {"outliers": kind, "score": score, "auroc": value}
        for kind, values in auroc.items()
        for score, value in zip("ab", values, strict=True)
    ]
    chosen = dict(chosen_outlier_scores(pd.DataFrame(lines)))
    assert chosen == {"noise": "b", "blobs": "b", "photos": "a"}


def test_features_without_a_head_are_the_answers() -> None:
    classifier, data = load_classifier(ByHeart()), Digits(limit=20)
    features = extract(classifier, batches(data, "test", 20, 8), chunk=8)
    assert torch.equal(features.feature, features.logits)
    assert head_of(classifier, features) is None


def test_a_head_that_is_scaled_behind_is_not_taken_for_the_answers() -> None:
    data = Digits(limit=20)
    plain, scaled = mlp(), nn.Sequential(mlp(), Scale())
    found = [
        head_of(one, extract(one, batches(data, "test", 20, 8)))
        for one in (load_classifier(plain), load_classifier(scaled))
    ]
    assert found[0] is not None
    assert torch.equal(found[0][0], plain[3].weight.detach())
    assert found[1] is None


def painted(folder: Path, count: int = 5) -> Path:
    """Pictures of different sizes in colour, without labels, and a file that is none."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (20 + i, 30), (40 * i, 9, 9)).save(folder / f"{i}.png")
    (folder / "broken.png").write_text("no picture")
    return folder


def test_several_sets_of_any_size_with_and_without_labels(tmp_path: Path) -> None:
    for label in "ab":
        painted(tmp_path / "sorted" / label)
    flat, other = painted(tmp_path / "flat", 7), painted(tmp_path / "elsewhere" / "flat", 3)
    inputs = inputs_of(load_classifier(mlp()), 60, limit=24, train_limit=60)
    sources = [f"ImageFolder:{tmp_path / 'sorted'}", str(flat), f"ImageFolder:{other}", "Digits"]
    opened = [open_data(folder_or_data(source)) for source in sources]
    opened[0].on_corrupt = "skip"
    sets = named_sets(opened, NOISE)
    for name, images in sets.items():
        adapt(name, images, as_shown(inputs.classifier, inputs.data))
    table = measure_outliers(inputs, sets, tmp_path).tables["outliers"]
    counts = dict(zip(table["outliers"], table["n_out"], strict=True))
    del counts["Digits"]
    assert counts == {**dict.fromkeys(NOISE, 24), "ImageFolder:sorted": 2, "flat": 7, "flat 2": 3}
    assert opened[1].skipped == ("broken.png",)


def test_files_that_are_left_out_of_pictures_are_told(tmp_path: Path) -> None:
    options: Any = {"root": tmp_path, "tracking": Tracking(enabled=False)}
    study = Study("explain", "monitorability", options)
    (pictures,) = opened_outliers(study, [str(painted(tmp_path / "flat", 7))])
    assert len(pictures.images("test")) == 7
    with study.running("pictures", {}):
        assert "1 file that is no image was left out of flat." in study.about().notes


def test_pictures_that_cannot_be_cropped_are_one_sentence(tmp_path: Path) -> None:
    data = Pictures(painted(tmp_path / "flat"))
    with pytest.raises(UserError, match=r"The outliers 'flat'.* at least 64 pixels .*--resize 64"):
        adapt("flat", data, replace(GREY, crop=64))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are none"):
        adapt("empty", Pictures(tmp_path / "empty"), GREY)


class Masked(nn.Module):
    """Rules two classes out, behind the head."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).index_fill(1, torch.tensor([3, 7]), -torch.inf)


def test_masked_classes_have_the_scores_of_the_others(tmp_path: Path) -> None:
    """As if the logits of the other classes were all there is."""
    torch.manual_seed(0)
    network = mlp()
    inputs = inputs_of(load_classifier(Masked(network)), 60, limit=24, train_limit=60)
    stage = measure_outliers(inputs, {}, tmp_path)
    rows = stage.tables["outlier_rows"].query("outliers == ''").sort_values("index")
    test = inputs.data.images("test")
    with torch.no_grad():
        image = inputs.images_at(rows["index"].to_numpy())[0]
        logits = inputs.classifier(image).double()[:, [0, 1, 2, 4, 5, 6, 8, 9]]
    assert len(test) == 60
    # float32 logits
    np.testing.assert_allclose(rows["msp"], logits.softmax(1).amax(1), rtol=1e-5)
    np.testing.assert_allclose(rows["energy"], logits.logsumexp(1), rtol=1e-5)
    np.testing.assert_allclose(rows["max_logit"], logits.amax(1), rtol=1e-5)
    assert np.isfinite(rows.drop(columns="outliers").to_numpy(float)).all()


class NotANumber(nn.Module):
    """Answers nothing to images that are bright in a corner, as no digit is."""

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).masked_fill(x[:, :, 0, 0] > 0.5, torch.nan)


def test_images_without_an_answer_have_no_score_and_are_counted(tmp_path: Path) -> None:
    inputs = inputs_of(load_classifier(NotANumber()), 60, limit=24, train_limit=60)
    stage = measure_outliers(inputs, {}, tmp_path)
    table = stage.tables["outliers"]
    noise = table.loc[table["outliers"] == "uniform noise"]
    assert (noise["n_out"] < 24).all()
    assert noise["auroc"].notna().all()
    (told,) = [note for note in stage.notes if "of uniform noise" in note]
    assert told.startswith(f"To {24 - noise['n_out'].iloc[0]} image(s)")


def check(inputs: Inputs) -> None:
    """What `explain` checks before anything runs."""
    inputs.plan.check(inputs.data)
    check_budget(inputs)


USUAL: dict[str, Any] = {"limit": 40, "train_limit": 100, "forwards": 900.0, "window": 8}
WRONG = {
    "limit": (0, "Expected `limit` to be at least 1, but got 0"),
    "window": (0, "Expected `window` to be at least 1, but got 0"),
    "train_limit": (5, "Expected `train_limit` to be at least 16, but got 5"),
    "forwards": (5.0, "forwards an image as budget for 40 images, but got 5"),
    "forwards ": (float("nan"), "Expected `forwards` to be a number above 0, but got nan"),
    "false_alarms": (2.0, r"Expected `false_alarms` in \(0, 1\), but got 2"),
    "false_alarms ": (1e-5, "Expected `false_alarms` to be at least 0.0005"),
}


@pytest.mark.parametrize("option", WRONG)
def test_wrong_options_are_refused_first(option: str) -> None:
    value, message = WRONG[option]
    options = USUAL | {option.strip(): value}
    with pytest.raises(UserError, match=message):
        check(inputs_of(load_classifier(mlp()), 300, **options))


def test_too_few_images_and_no_gradient_are_refused_first() -> None:
    with pytest.raises(UserError, match="at least 16 train images in Digits"):
        check(inputs_of(load_classifier(mlp()), 8, **USUAL))
    with pytest.raises(UserError, match="lets no gradient through to the image"):
        check(inputs_of(load_classifier(NoGradient()), 60, **USUAL))


def test_outliers_that_are_not_there_are_refused_first(tmp_path: Path) -> None:
    away = ImageFolder(root=tmp_path / "nowhere")
    with pytest.raises(UserError, match="The outliers 'mine': There is no folder"):
        adapt("mine", away, GREY)


def test_a_window_too_large_is_shortened_and_said_to_be(tmp_path: Path) -> None:
    inputs = inputs_of(load_classifier(mlp()), 60, train_limit=60, false_alarms=0.05)
    stage = measure_monitor(inputs, tmp_path)
    assert stage.facts["window"] == 7
    assert "windows of 7 images, not 64" in stage.notes[0]


@pytest.mark.parametrize(("length", "count", "run"), [(100, 30, 10), (100, 33, 10), (30, None, 7)])
def test_a_stream_is_taken_in_runs_of_neighbours(length: int, count: int | None, run: int) -> None:
    place = in_runs(length, count, run).tolist()
    assert len(set(place)) == len(place) == (count or length)
    assert place == sorted(place)
    assert (place[0], place[-1]) == (0, length - 1)
    seams = sum(after - before > 1 for before, after in pairwise(place))
    assert seams <= -(-(count or length) // run) - 1


@pytest.mark.parametrize(("order", "learnt"), [("shuffled", "val"), ("stream", "train")])
def test_a_stream_is_learnt_from_neighbours(order: str, learnt: str) -> None:
    """Validation images that were drawn from training images are none."""
    plan = Plan(window=4, train_limit=300, false_alarms=0.05, order=order)  # type: ignore[arg-type]
    split, available, window = plan.learning_split(Digits(limit=300))
    assert (split, available, window) == (learnt, available, 4)


def test_alarms_in_one_half_of_a_stream_are_told_as_such() -> None:
    windows = [SimpleNamespace(alarm=place > 3) for place in range(6)]
    said = _where(SimpleNamespace(windows=windows))  # type: ignore[arg-type]
    assert said == " (alarms in 0 of 3 windows of the first half served, 2 of 3 of the second)"


def test_the_budget_is_known_before(tmp_path: Path) -> None:
    """What is accepted beforehand is enough afterwards, to the forward."""
    classifier, least = load_classifier(Reused()), 1
    try:
        check(inputs_of(classifier, 60, **USUAL | {"forwards": least}))
    except UserError as error:
        least = int(str(error).split("at least ")[1].split()[0])
    enough = inputs_of(classifier, 60, **USUAL | {"forwards": least})
    check(enough)
    with pytest.raises(UserError):
        check(inputs_of(classifier, 60, **USUAL | {"forwards": least - 1}))
    measure_score(Stages(Cells(tmp_path), {}, tmp_path), enough)
