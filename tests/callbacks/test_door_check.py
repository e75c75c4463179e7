"""The check at the door: what it must tell, what it must not, and how often it is wrong."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from callbacks.class_check import check_classes
from callbacks.door_check import check_door, is_unstated
from callbacks.input_check import Reading, check_input
from lightning_modules import Classifier
from lightning_modules.input_contract import NORMALISATIONS, InputContract
from lightning_modules.sources import load_classifier

CONVENTIONS = ("none", "half", "bytes", "inverted")


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    image = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    return image, torch.tensor(data.target)


@pytest.fixture(scope="module")
def networks(digits: tuple[Tensor, Tensor]) -> dict[str, nn.Module]:
    """The same network, trained with each convention on the first 900 digits; 90 % and more."""
    image, label = digits[0][:900], digits[1][:900]
    trained = {}
    for name in CONVENTIONS:
        torch.manual_seed(0)
        body = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
        network = nn.Sequential(*body, nn.Linear(288, 10))
        mean, std = (values[0] for values in NORMALISATIONS[name])
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(3):
            for rows in torch.randperm(900).split(64):
                optimizer.zero_grad()
                F.cross_entropy(network((image[rows] - mean) / std), label[rows]).backward()
                optimizer.step()
        trained[name] = network.eval()
    return trained


def shown(network: nn.Module, name: str) -> Classifier:
    made = copy.deepcopy(network)
    return load_classifier(made, said=InputContract(name), data_classes="0123456789").eval()


@pytest.mark.parametrize("trained", CONVENTIONS)
@pytest.mark.parametrize("now", CONVENTIONS)
def test_tells_what_a_model_was_trained_with(
    trained: str, now: str, networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    image, label = digits[0][900:], digits[1][900:]
    classifier = shown(networks[trained], now)
    before = copy.deepcopy(classifier.state_dict())
    found = check_door(classifier, image, label)
    if trained == now:
        assert found.sentences == []
        return
    flags = (
        [found.input.better.flag, *(one.flag for one in found.input.as_good)]
        if found.input.better
        else []
    )
    wrong = float((classifier(image).argmax(1) != label).float().mean())
    if flags or wrong > 0.15:  # what hardly matters need not be told
        assert f"--mean {trained}" in flags
        assert found.sentences[0].startswith("The model is right for ")
        assert f"`--mean {trained}`" in found.sentences[0]
    assert all(torch.equal(t, before[k]) for k, t in classifier.state_dict().items())
    assert classifier.preprocessing.mean == NORMALISATIONS[now][0], "it never chooses by itself"


def test_tells_blue_from_red(digits: tuple[Tensor, Tensor]) -> None:
    """A digit in red, mirrored in blue: what colour a channel has decides."""
    image, label = digits[0][:600], digits[1][:600]
    coloured = torch.cat([image, torch.zeros_like(image), image.flip(3)], 1)

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x[:, 2].flatten(1))  # red comes last

    torch.manual_seed(0)
    reads = Reads()
    optimizer = torch.optim.Adam(reads.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(reads(coloured.flip(1)), label).backward()
        optimizer.step()
    for order, told in (("rgb", True), ("bgr", False)):
        said = InputContract("none", channels=order)  # type: ignore[arg-type]
        found = check_door(load_classifier(reads, said=said), coloured, label)
        flags = [found.input.better.flag] if found.input.better else []
        assert any("--channels bgr" in flag for flag in flags) == told


READINGS = [Reading(f"reading {i}", (float(i),), (1.0,), flag=str(i)) for i in range(7)]


def simulated(rates: Sequence[float], seed: int, n: int = 512) -> bool:
    """Whether anything is told of readings that are right independently, at these rates."""
    generator = torch.Generator().manual_seed(seed)
    right = torch.rand(len(rates), n, generator=generator) < torch.tensor(rates)[:, None]
    image = (torch.arange(n) / n + 0.5 / n).view(n, 1, 1, 1)

    def network(seen: Tensor) -> Tensor:
        """What was subtracted tells the reading, the rest the image."""
        reading = -seen.flatten().floor()
        row = (seen.flatten() + reading) * n
        hit = right[reading.long(), row.long()].float()
        return torch.stack([hit, 1 - hit], 1)

    held, *others = READINGS[: len(rates)]
    label = torch.zeros(n, dtype=torch.long)
    return check_input(network, held, others, image, label).better is not None


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.9, 0.99])
def test_false_alarms(accuracy: float) -> None:
    """Nominal .01 over the family: 13 of 600 runs would have p < .01."""
    assert sum(simulated([accuracy] * 7, seed) for seed in range(600)) <= 12


@pytest.mark.slow
@pytest.mark.parametrize(("held", "other", "least"), [(0.883, 0.933, 0.5), (0.8, 0.9, 0.95)])
def test_power(held: float, other: float, least: float) -> None:
    """Of independent answers, which is the hardest case: those of one network are paired."""
    assert sum(simulated([held, other], seed) for seed in range(200)) / 200 >= least


def test_is_it_known(networks: dict[str, nn.Module]) -> None:
    assert is_unstated(load_classifier(networks["none"]))
    assert not is_unstated(shown(networks["none"], "none"))


def test_a_sound_model_is_asked_little(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    image, label = digits[0][900:], digits[1][900:]
    asked = []
    classifier = shown(networks["half"], "half")
    classifier.model.register_forward_hook(lambda part, given, out: asked.append(len(out)))
    check_door(classifier, image, label)
    assert sum(asked) < 512 * 4, "of seven readings"


def answers(
    permutation: Sequence[int], accuracy: float, n: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    label = np.arange(n) % len(permutation)
    wrong = generator.integers(0, len(permutation), n)
    answer = np.where(generator.random(n) < accuracy, np.asarray(permutation)[label], wrong)
    return answer, label


def test_permuted_answers_are_told_with_the_order() -> None:
    prediction, label = answers([2, 0, 1], 0.95)
    found = check_classes(prediction, label, ["cat", "dog", "bird"])
    assert found.order == (2, 0, 1)
    assert found.permuted > 0.9
    # Output 0 answers for dogs, output 1 for birds, output 2 for cats.
    assert "say `--classes dog bird cat`" in found.sentences[0]


def test_the_order_to_type_is_that_of_the_network_itself() -> None:
    """Where `--classes dog cat bird` was said wrongly, and the outputs were ordered by it."""
    prediction, label = answers([1, 0, 2], 0.95)
    found = check_classes(prediction, label, ["cat", "dog", "bird"], outputs=[1, 0, 2])
    assert "say `--classes cat dog bird`" in found.sentences[0]
    found = check_classes(prediction, label, ["cat", "dog", "bird"], outputs=[7, 0, 2])
    assert "--classes" not in found.sentences[0], "others of its outputs have no name here"


def test_the_order_of_text_is_recognised() -> None:
    numbers = [str(i) for i in range(12)]
    outputs = sorted(numbers)
    prediction, label = answers([outputs.index(number) for number in numbers], 0.9, 600)
    found = check_classes(prediction, label, numbers)
    assert "which is the order of text" in found.sentences[0]
    assert "--classes 0 1 10 11 2 3" in found.sentences[0]


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (answers([0, 1, 2], 0.9)[0], None),
        (answers([0, 1, 2], 0.4)[0], None),  # bad, but better than chance
        (np.zeros(300, int), "All answers for 300 images are 'cat'."),
        (np.random.default_rng(1).integers(0, 3, 300), "which guessing among 3 classes"),
    ],
)
def test_other_answers(prediction: np.ndarray, said: str | None) -> None:
    found = check_classes(prediction, np.arange(300) % 3, ["cat", "dog", "bird"])
    assert len(found.sentences) == (said is not None)
    assert said is None or said in found.sentences[0]
    assert found.order is None


def test_few_images_tell_nothing() -> None:
    assert check_classes([0] * 10, [1] * 10, ["a", "b"]).sentences == []


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_random_weights_are_not_permuted_classes(classes: int) -> None:
    """What random features answer can be permuted too; that is no mistake of order."""
    told = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        centre = torch.randn(classes, 20, generator=generator)
        label = torch.arange(400) % classes
        feature = centre[label] + torch.randn(400, 20, generator=generator)
        weight = torch.randn(20, classes, generator=generator)
        found = check_classes((feature @ weight).argmax(1), label, [str(i) for i in range(classes)])
        told += found.order is not None
    assert told <= (
        10 if classes == 2 else 1
    )  # of two classes, random is often the other way round


def test_where_the_input_is_stated_only_classes_are_checked(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    image, label = digits[0][900:], digits[1][900:]
    swapped = label.where(label > 1, 1 - label)
    classifier = shown(networks["half"], "half")
    found = check_door(classifier, image, swapped, readings=False)
    assert list(found.input.table["reading"]) == ["mean 0.5, std 0.5 (said)"]
    assert len(found.input.logits) == 512
    assert found.classes.order == (1, 0, *range(2, 10))
    assert found.sentences == found.classes.sentences


def test_permuted_classes_are_not_taken_for_a_wrong_input(
    networks: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    """One class too far, every answer is wrong, and a spoiled input is right more often by luck."""
    image, label = digits[0][900:], digits[1][900:]
    classifier = shown(networks["none"], "none")
    found = check_door(classifier, image, (label + 1) % 10)
    by_hand = float((classifier(image).argmax(1) == label).float().mean())
    assert found.input.better is None
    assert found.classes.order == (9, *range(9))
    assert abs(found.classes.permuted - by_hand) < 0.05  # on half of 512 of the 897
    assert [text.split(":")[0] for text in found.sentences] == [
        "The outputs stand in another order than the classes"
    ]
