"""What a file says beside its weights is taken, or told; never dropped without a word."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules import Classifier, load_classifier
from lightning_modules.checkpoint_files.beside import beside_weights
from lightning_modules.checkpoint_inspection import inspect_checkpoint
from lightning_modules.input_contract import NOTHING, SAID, WEIGHTS, InputContract
from lightning_modules.lenet import LeNet

DIGITS = [f"digit {i}" for i in range(10)]
BYTES, CAFFE = [123.675, 116.28, 103.53], [103.939, 116.779, 123.68]
TAKEN: dict[str, tuple[dict[str, Any], float]] = {
    "numbers": ({"mean": 0.1307, "std": 0.3081}, 0.1307),
    "tensors": ({"mean": torch.tensor([0.1307]), "std": torch.tensor([[[0.3081]]])}, 0.1307),
    "a configuration": ({"config": {"img_mean": [0.1307], "img_std": [0.3081]}}, 0.1307),
    "arguments": ({"args": Namespace(mean=0.1307, std=0.3081)}, 0.1307),
    "said twice alike": ({"mean": 0.5, "std": 0.5, "meta": {"mean": [0.5], "std": [0.5]}}, 0.5),
    "of bytes": ({"mean": [127.5], "std": [127.5]}, 0.5),
}
TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "two of them": ({"mean": 0.5, "std": 0.5, "cfg": {"mean": 0.1, "std": 0.2}}, "mean 0.5, std"),
    "of a score": ({"results": {"mean": 0.93, "std": 0.01}}, "results.mean, results.std"),
    "of no image": ({"mean": -3.0, "std": 2.0}, "say --mean, --std"),
    "of colours": ({"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}, "does not fit 1 channel"),
    "blue first": ({"mean": CAFFE, "std": [1, 1, 1]}, "red first"),
    "blue first, as said": ({"cfg": {"mean": BYTES, "std": [1, 1, 1], "to_rgb": False}}, "red"),
    "an average in a list": (
        {"ema": {"decay": 0.9, "shadow_params": [torch.ones(3, 3), torch.ones(3)]}},
        "ema.shadow_params not used: 2 tensors without names",
    ),
    "names of other classes": ({"classes": ["ant", "bee"]}, "its 2 class names are not 10 outputs"),
}


def loaded(folder: Path, beside: dict[str, Any], **options: Any) -> Classifier:
    torch.manual_seed(0)
    file = folder / "model.pt"
    torch.save({"state_dict": LeNet().state_dict(), **beside}, file)
    return load_classifier(f"checkpoint:{file}", arch="lenet", **options)


@pytest.mark.parametrize("case", TAKEN)
def test_a_normalisation_is_taken(case: str, tmp_path: Path) -> None:
    beside, mean = TAKEN[case]
    classifier = loaded(tmp_path, beside)
    assert classifier.preprocessing.mean == pytest.approx((mean,))
    assert classifier.reasons["mean"] == classifier.reasons["std"] == WEIGHTS
    image = torch.rand(4, 1, 28, 28)
    std = classifier.preprocessing.std[0]
    assert torch.allclose(classifier(image), classifier.model((image - mean) / std), atol=1e-5)
    assert any("read there" in note for note in classifier.notes)
    assert any("read there" in note for note in inspect_checkpoint(tmp_path / "model.pt").notes)


@pytest.mark.parametrize("case", TOLD)
def test_what_is_not_clear_is_told(case: str, tmp_path: Path) -> None:
    beside, words = TOLD[case]
    classifier = loaded(tmp_path, beside)
    assert classifier.reasons["mean"] == NOTHING
    assert classifier.preprocessing.mean == (0.0,)
    assert any(words in note for note in classifier.notes), classifier.notes


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    classifier = loaded(tmp_path, {"mean": 0.5, "std": 0.5}, said=InputContract(0.2, 0.3))
    assert classifier.preprocessing.mean == (0.2,)
    assert classifier.reasons["mean"] == SAID


@pytest.mark.parametrize(
    "beside",
    [
        {"classes": DIGITS},
        {"class_to_idx": {name: i for i, name in enumerate(DIGITS)}},
        {"meta": {"id2label": dict(enumerate(DIGITS))}},
        {"idx_to_class": {str(i): name for i, name in enumerate(DIGITS)}},
    ],
    ids=["list", "to number", "to name", "numbers as text"],
)
def test_names_of_classes_are_taken(beside: dict[str, Any], tmp_path: Path) -> None:
    turned = DIGITS[::-1]
    classifier = loaded(tmp_path, beside, data_classes=turned)
    plain = nn.Sequential(LeNet())
    plain.load_state_dict({f"0.{k}": v for k, v in _state(tmp_path).items()})
    image = torch.rand(3, 1, 28, 28)
    assert torch.allclose(classifier(image), plain(image).flip(1), atol=1e-6)
    assert any("Outputs put into the data's order" in note for note in classifier.notes)


def _state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "model.pt", weights_only=True)["state_dict"]


def test_bytes_are_brought_to_unit_range() -> None:
    told = beside_weights({"mean": BYTES, "std": [58.395, 57.12, 57.375]})
    assert told.mean == pytest.approx((0.485, 0.456, 0.406))
    assert told.std == pytest.approx((0.229, 0.224, 0.225))
