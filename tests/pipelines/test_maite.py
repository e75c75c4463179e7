"""MAITE's models come in, and Assay's corruptions, attacks and numbers go out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from callbacks.adversarial.fgsm import FGSM
from callbacks.adversarial.pgd import PGD
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.randomness import Draw
from callbacks.statistics.calibration import ece
from datamodules import Digits, UserError
from datamodules.preprocessing import in_unit_range
from lightning_modules.black_box import black_box_in
from lightning_modules.saved_model import load_saved, save_classifier
from lightning_modules.sources import load_classifier
from pipelines.maite import Attacked, Corrupted, Outcomes

maite = pytest.importorskip("maite")
DIGITS = dict(enumerate("abcdefghij"))


class Network(nn.Module):
    """A linear classifier of digits by class means, as a torch module and MAITE model."""

    def __init__(self) -> None:
        super().__init__()
        self.metadata = {"id": "means", "index2label": DIGITS}
        batch = Digits().taken("train", 400)
        flat = batch.image.flatten(1)
        means = torch.stack([flat[batch.label == label].mean(0) for label in range(10)])
        self.linear = nn.Linear(64, 10)
        self.linear.weight.data = 2 * means
        self.linear.bias.data = -means.square().sum(1)

    def forward(self, batch: Sequence[Tensor]) -> Sequence[Tensor]:
        return [
            *self.linear(torch.stack([torch.as_tensor(x) for x in batch]).flatten(1)).softmax(1)
        ]


class Arrays:
    """The same, which only answers arrays."""

    def __init__(self) -> None:
        self.metadata = {"id": "arrays", "index2label": DIGITS}
        self.network = Network()

    def __call__(self, batch: Sequence[Any], /) -> list[np.ndarray]:
        with torch.no_grad():
            image = [in_unit_range(torch.as_tensor(one)) for one in batch]
            return [one.numpy() for one in self.network(image)]


class Items:
    """Test digits by MAITE's protocol."""

    def __init__(self, count: int = 100, whole: bool = False) -> None:
        self.metadata = {"id": "digits", "index2label": DIGITS}
        self.batch = Digits().taken("test", count)
        image = self.batch.image
        self.image = (image * 255).round().to(torch.uint8) if whole else image

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, row: int, /) -> tuple[Any, Any, Any]:
        target = np.eye(10)[int(self.batch.label[row])]
        return self.image[row].numpy(), target, {"id": int(self.batch.index[row])}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own."""
    made: Any = ModuleType("my_maite")
    made.network, made.Arrays, made.number = Network, Arrays, 3
    made.eight = lambda: type("Eight", (Arrays,), {"__init__": _eight})()
    made.broken = lambda: type("Broken", (Arrays,), {"__call__": lambda self, batch: 1 / 0})()
    monkeypatch.setitem(sys.modules, "my_maite", made)
    return made


def _eight(self: Any) -> None:
    Arrays.__init__(self)
    self.metadata = {"id": "eight", "index2label": dict(enumerate("abcdefgh"))}


@pytest.mark.parametrize("name", ["network", "Arrays"])
def test_a_model_answers_as_it_does_alone(name: str, module: ModuleType, tmp_path: Path) -> None:
    data, alone = Digits(), Network().eval()
    classifier = load_classifier(f"maite:my_maite:{name}", preprocessing=data.preprocessing)
    batch = data.taken("test", 40)
    with torch.no_grad():
        logits, scores = classifier.eval()(batch.image), torch.stack([*alone([*batch.image])])
    torch.testing.assert_close(logits.softmax(1), scores)
    assert classifier.classes == tuple(DIGITS.values())
    again = load_saved(save_classifier(classifier, tmp_path / "saved"))
    assert torch.equal(again.eval()(batch.image), logits)
    assert (black_box_in(classifier.model) is None) == (name == "network")
    said = " ".join(classifier.notes)
    assert ("gradients come through" in said) == (name == "network")
    assert ("it gives no gradients" in said) == (name == "Arrays")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "to be a MAITE model, but a int has no `__call__` and no `metadata`"),
        ("absent", "Cannot import maite:my_maite:absent"),
        ("eight", "each of the 8 classes of `index2label`, but maite:my_maite:eight answers 10"),
        ("broken", "which answered no images .*: division by zero"),
    ],
)
def test_a_model_that_is_none(name: str, message: str, module: ModuleType) -> None:
    with pytest.raises(UserError, match=message):
        load_classifier(f"maite:my_maite:{name}", preprocessing=Digits().preprocessing)


def test_the_protocols_hold() -> None:
    from maite.protocols import image_classification as protocols

    logits = nn.Sequential(nn.Flatten(), Network().linear)
    for augmentation in (Corrupted("fog", 1), Attacked(FGSM(), logits, 0.1)):
        assert isinstance(augmentation, protocols.Augmentation)
    assert isinstance(Outcomes(), protocols.Metric)


@pytest.mark.parametrize("whole", [False, True])
def test_a_corruption_in_maites_evaluation(whole: bool) -> None:
    from maite.tasks import evaluate

    items = Items(whole=whole)
    found, predictions, data = evaluate(
        model=Arrays(), metric=Outcomes(), dataset=items, batch_size=7,
        augmentation=Corrupted("gaussian_noise", 5, seed=3), return_preds=True,
        return_augmented_data=True,
    )  # fmt: skip
    image = items.image.float() / 255 if whole else items.image
    expected = CORRUPTIONS["gaussian_noise"]()(image, 5, Draw(3, items.batch.index))
    seen = torch.stack([torch.as_tensor(one) for part in data for one in part[0]])
    assert seen.dtype == items.image.dtype
    assert torch.equal(seen.float() / 255 if whole else seen, expected)
    scores = np.stack([one for part in predictions for one in part])
    right = scores.argmax(1) == items.batch.label.numpy()
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["accuracy_low"] < right.mean() < found["accuracy_high"]
    assert found["ece"] == pytest.approx(ece(scores.max(1), right), abs=1e-6)
    assert (found["n"], found["scale"]) == (100, "probabilities")
    one_hot = np.eye(10)[items.batch.label.numpy()]
    assert found["brier"] == pytest.approx(((scores - one_hot) ** 2).sum(1).mean(), rel=1e-5)


@pytest.mark.parametrize("whole", [False, True])
def test_attacks_in_maites_evaluation_stay_in_the_ball(whole: bool) -> None:
    from maite.tasks import evaluate

    items, network = Items(whole=whole), Network()
    logits = nn.Sequential(nn.Flatten(), network.linear)
    accuracies = []
    for attacks in (FGSM(), [FGSM(), PGD(steps=10)]):
        found, _, data = evaluate(
            model=Arrays(), metric=Outcomes(), dataset=items, batch_size=33,
            augmentation=Attacked(attacks, logits, 16 / 255), return_augmented_data=True,
        )  # fmt: skip
        accuracies.append(found["accuracy"])
        seen = torch.stack([torch.as_tensor(one) for part in data for one in part[0]])
        change = (seen.float() - items.image.float()).abs().amax()
        assert 0 < float(change) <= (16 if whole else 16 / 255 + 1e-6)
        assert data[0][2][0]["assay"].startswith("assay/fgsm")
    clean = evaluate(model=Arrays(), metric=Outcomes(), dataset=items)[0]["accuracy"]
    assert clean > accuracies[0] >= accuracies[1]


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'fog'"):
        Corrupted("fogg", 1)
    with pytest.raises(UserError, match="a score for each class as every target"):
        Corrupted("fog", 1)(([torch.rand(3, 8, 8)], [torch.tensor(1)], [{"id": 0}]))
    with pytest.raises(UserError, match="before `compute`"):
        Outcomes().compute()
