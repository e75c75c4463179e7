"""The tasks made of other data sets, and parts of their labelled images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import CIFAR10, DATA, MNIST, Digits, UserError
from datamodules.fractions import Fraction, held_out, labelled, with_images
from datamodules.images import MemoryImages
from datamodules.mnist_variants import InvertedMNIST, MNISTSubset, PermutedMNIST, RotatedMNIST

IMAGE = torch.randint(0, 256, (40, 1, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
LABEL = torch.arange(40) % 10


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> MemoryImages:
    images = MemoryImages(IMAGE, LABEL, torch.arange(40) * 3)
    monkeypatch.setattr(MNIST, "load", lambda self, split: images)
    cifar = MemoryImages(IMAGE[:, :, :4, :4].repeat(1, 3, 8, 8), LABEL)
    monkeypatch.setattr(CIFAR10, "load", lambda self, split: cifar)
    return images


def test_turned_negated_scrambled(few_images: MemoryImages) -> None:
    for angle in (90, 180, 270):
        turned = RotatedMNIST(angle=angle).load("train").image
        expected = np.rot90(IMAGE.numpy(), angle // 90, (2, 3))
        np.testing.assert_array_equal(turned.numpy(), expected)
    assert torch.equal(InvertedMNIST().load("test").image, 255 - IMAGE)
    scrambled = PermutedMNIST().load("train").image
    assert torch.equal(scrambled.flatten(1).sort(1).values, IMAGE.flatten(1).sort(1).values)
    order = [PermutedMNIST(permutation=i).load(s).image for i, s in ((0, "test"), (1, "train"))]
    assert torch.equal(order[0], scrambled), "the same for every split"
    assert not torch.equal(order[1], scrambled)


def test_subsets_keep_indices_and_number_anew(few_images: MemoryImages) -> None:
    part = MNISTSubset(digits="92").load("train")
    assert part.label.tolist() == [1 if i % 10 == 2 else 0 for i in range(40) if i % 10 in (2, 9)]
    assert part.index.tolist() == [3 * i for i in range(40) if i % 10 in (2, 9)]
    for name, own in (("CIFAR10Animals", [2, 3, 4, 5, 6, 7]), ("CIFAR10Vehicles", [0, 1, 8, 9])):
        data = DATA[name]()
        half = data.load("test")
        assert [CIFAR10.classes[i] for i in own] == list(data.classes)
        assert half.label.tolist() == [own.index(i) for i in LABEL.tolist() if i in own]
        assert data.name == name
        assert DATA[name](test_archive="jpeg75").name == f"{name}-jpeg75"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotatedMNIST(angle=45), "90, 180 or 270, but got 45"),
        (lambda: MNISTSubset(digits="11"), "different digits"),
        (lambda: MNISTSubset(digits="1x"), "different digits"),
        (lambda: Fraction("half"), "like 5/class, 1000 or all, but got 'half'"),
        (lambda: Fraction("0"), "but got '0'"),
        (lambda: Fraction("9").choose(LABEL, 10, 0), "one image a class, but got 9 for 10"),
        (lambda: Fraction("5/class").choose(LABEL, 10, 0), "one class has 4"),
    ],
)  # fmt: skip
def test_mistakes(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]


def counts(label: Tensor, rows: Tensor) -> list[int]:
    return label[rows].bincount(minlength=10).tolist()


def test_fractions_are_stratified_and_nested() -> None:
    label = torch.arange(500) % 10
    one, five, fifty = (Fraction(t).choose(label, 10, 3) for t in ("1/class", "5/class", "50"))
    assert (counts(label, one), counts(label, five)) == ([1] * 10, [5] * 10)
    assert set(one.tolist()) <= set(five.tolist()) == set(fifty.tolist())
    assert not torch.equal(five, Fraction("5/class").choose(label, 10, 4))
    assert len(Fraction("all").choose(label, 10, 0)) == 500
    assert len(Fraction("9999").choose(label, 10, 0)) == 500


def test_what_is_held_out() -> None:
    label = torch.arange(1000) % 10
    learn, select = held_out(label, 0)
    assert (len(learn), counts(label, select)) == (800, [20] * 10), "as VTAB does"
    assert not set(learn.tolist()) & set(select.tolist())
    learn, select = held_out(label[:50], 0)
    assert (counts(label, learn), counts(label, select)) == ([4] * 10, [1] * 10)
    assert [len(part) for part in held_out(label[:10], 0)] == [10, 0]
    assert len(held_out(torch.arange(50_000) % 10, 0)[1]) == 2000


def test_other_images_leave_the_data_set_alone() -> None:
    data = Digits()
    test, train = data.images("test"), data.images("train")
    everything = labelled(data)
    assert len(everything) == len(train) + len(data.images("val"))
    assert not set(everything.index.tolist()) & set(test.index.tolist())
    few = with_images(data, train=everything.subset(torch.arange(7)))
    assert (len(few.images("train")), len(data.images("train"))) == (7, len(train))
    assert few.images("test") is test
    assert few.manifest_digest() == data.manifest_digest()
    assert next(iter(few.train_dataloader())).image.shape == (7, 1, 8, 8)
