"""`assay explain` on models that are not like the ones it was built with, and on wrong options."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from callbacks.monitoring import PARTS
from callbacks.rows import outcome_columns
from datamodules import Digits, ImageFolder, Preprocessing, UserError
from lightning_modules import Classifier
from pipelines.explain.checks import check_request
from pipelines.explain.features import batches, features_of, head_of
from pipelines.explain.outlier_stage import run_outliers
from pipelines.explain.score_stage import run_score
from pipelines.explain.watch_stage import run_watch

CPU = torch.device("cpu")
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
    "always right": Case(ByHeart, frozenset({"failure"}), "none is misclassified"),
    "always wrong": Case(lambda: ByHeart(1), frozenset({"failure"}), "all are wrong"),
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


def test_parts_are_measured_or_said_to_be_undefined(case: tuple[Classifier, Case]) -> None:
    classifier, expected = case
    data = Digits(limit=60)
    check_request(
        classifier, data, images=24, train_images=60, forwards=700, window=8, false_alarms=0.01,
        seed=0,
    )  # fmt: skip
    stage = run_score(classifier, data, rows_of(classifier, data), 24, 700, CPU, 0)
    undefined = {one.name for one in stage.score.parts if one.value.value != one.value.value}
    assert undefined == expected.undefined
    assert (stage.score.value.value != stage.score.value.value) == bool(undefined)
    said = " ".join(stage.notes)
    assert expected.said in said
    assert all(f"{name} is undefined" in said for name in undefined)
    assert {one.name for one in stage.score.parts} == set(PARTS)


def test_outliers_are_scored(case: tuple[Classifier, Case]) -> None:
    classifier, _ = case
    stage = run_outliers(classifier, Digits(limit=60), None, 60, 24, CPU, 0)
    assert stage.table["auroc"].between(0, 1).all()
    headless = isinstance(classifier.model, ByHeart | NoHead)
    assert bool(stage.notes) == headless


def test_features_without_a_head_are_the_answers() -> None:
    classifier, data = load_classifier(ByHeart()), Digits(limit=20)
    parts = ((one.image, one.label) for one in batches(data, "test", 20, 8))
    found = features_of(classifier, parts, CPU)
    assert torch.equal(found.features, found.logits)
    assert head_of(classifier, found) is None


def test_outliers_of_another_size_are_shown_in_the_datas(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(5):
            Image.new("RGB", (20 + i, 30), (40 * i, 9, 9)).save(tmp_path / label / f"{i}.png")
    classifier = load_classifier(mlp())
    stage = run_outliers(classifier, Digits(limit=60), ImageFolder(root=tmp_path), 60, 24, CPU, 0)
    assert "ImageFolder" in set(stage.table["outliers"])


USUAL: dict[str, Any] = {
    "images": 40, "train_images": 100, "forwards": 900.0, "window": 8, "false_alarms": 0.01,
    "seed": 0,
}  # fmt: skip
WRONG = {
    "images": (0, "Expected `images` to be at least 1, but got 0"),
    "window": (0, "Expected `window` to be at least 1, but got 0"),
    "train_images": (5, "Expected `train_images` to be at least 16, but got 5"),
    "forwards": (5.0, "forwards an image as budget for 40 images, but got 5"),
    "forwards ": (float("nan"), "Expected `forwards` to be a number above 0, but got nan"),
    "false_alarms": (2.0, r"Expected `false_alarms` in \(0, 1\), but got 2"),
    "false_alarms ": (1e-5, "Expected `false_alarms` to be at least 0.0005"),
}


@pytest.mark.parametrize("option", WRONG)
def test_wrong_options_are_refused_first(option: str) -> None:
    value, message = WRONG[option]
    with pytest.raises(UserError, match=message):
        check_request(load_classifier(mlp()), Digits(limit=300), **USUAL | {option.strip(): value})


def test_too_few_images_and_no_gradient_are_refused_first() -> None:
    with pytest.raises(UserError, match="at least 16 train images in Digits"):
        check_request(load_classifier(mlp()), Digits(limit=8), **USUAL)
    with pytest.raises(UserError, match="can be differentiated by the image"):
        check_request(load_classifier(NoGradient()), Digits(limit=60), **USUAL)


def test_outliers_that_are_not_there_are_refused_first(tmp_path: Path) -> None:
    away = ImageFolder(root=tmp_path / "nowhere")
    with pytest.raises(UserError, match="The outliers: There is no folder"):
        check_request(load_classifier(mlp()), Digits(limit=60), away, **USUAL)


def test_a_window_too_large_is_shortened_and_said_to_be() -> None:
    stage = run_watch(load_classifier(mlp()), Digits(limit=60), 60, 64, 0.05, CPU, 0)
    assert stage.monitor.window == 7
    assert "windows of 7 images, not 64" in stage.notes[0]


def test_the_budget_is_known_before() -> None:
    """What is accepted beforehand is enough afterwards, to the forward."""
    classifier, data = load_classifier(Reused()), Digits(limit=60)
    least = 1
    try:
        check_request(classifier, data, **USUAL | {"forwards": least})
    except UserError as error:
        least = int(str(error).split("at least ")[1].split()[0])
    check_request(classifier, data, **USUAL | {"forwards": least})
    with pytest.raises(UserError):
        check_request(classifier, data, **USUAL | {"forwards": least - 1})
    run_score(classifier, data, rows_of(classifier, data), 40, least, CPU, 0)
