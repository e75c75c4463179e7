"""The real data beside the project: published counts, published pixels; skipped where it is not."""

import tarfile
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.transforms.functional import pil_to_tensor

from datamodules import CIFAR10, MNIST, Digits, ImageFolder

# LeCun et al.'s and Krizhevsky's; scikit-learn's own for the digits.
MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_mnist_is_complete(shared_data: Path, below: str) -> None:
    data = MNIST(shared_data / below)
    assert data.load("test").label.bincount().tolist() == MNIST_COUNTS["test"]


def test_mnist_equals_torchvisions(shared_data: Path) -> None:
    data = MNIST(shared_data)
    theirs = torchvision.datasets.MNIST(shared_data, train=True)
    train = data.load("train")
    assert torch.equal(train.image[:, 0], theirs.data)
    assert torch.equal(train.label, theirs.targets)
    assert train.label.bincount().tolist() == MNIST_COUNTS["train"]


def test_cifar10_test_archive(shared_data: Path) -> None:
    data = CIFAR10(shared_data / "cifar10")
    test = data.images("test")
    assert test.index.tolist() == list(range(1017)), "the official positions"
    assert test.label.bincount().tolist() == [105, 93, 100, 104, 92, 87, 114, 102, 110, 110]
    # The first ten labels of the official test batch: cat, ship, ship, airplane, frog, ...
    assert test.label[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert data.notes == ["1,017 of the 10,000 official test images."]


def test_cifar10_archive_equals_its_unpacked_folders(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "cifar10" / "cifar10-test-1017-png.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    packed, folders = CIFAR10(shared_data / "cifar10"), CIFAR10(tmp_path)
    assert packed.manifest_digest() == folders.manifest_digest()
    first = pil_to_tensor(Image.open(tmp_path / "test" / "cat" / "00000.png"))
    assert torch.equal(packed.images("test").__getitems__([0]).image[0], first)
    theirs = torchvision.datasets.ImageFolder(tmp_path / "test")
    assert list(packed.classes) == theirs.classes


@pytest.mark.slow
def test_cifar10_training_archive(shared_data: Path) -> None:
    data = CIFAR10(shared_data / "cifar10", val_fraction=0.1)
    train, val = data.images("train"), data.images("val")
    assert train.label.bincount().tolist() == [1800] * 10
    assert val.label.bincount().tolist() == [200] * 10
    assert int(torch.cat([train.index, val.index]).max()) == 20_807


def test_cifar10_jpeg_copies_only_by_name(shared_data: Path) -> None:
    data = CIFAR10(shared_data / "cifar10", test_archive="jpeg75", limit=20)
    assert data.name == "CIFAR10-jpeg75"
    assert data.load("test").label.bincount().tolist() == [1000] * 10
    assert data.notes == ["Test images are JPEG copies (quality 75): not CIFAR-10 test accuracy."]


def test_hymenoptera(shared_data: Path) -> None:
    data = ImageFolder(shared_data / "hymenoptera", resize=64, crop=56, batch_size=32)
    assert data.classes == ("ants", "bees")
    assert data.images("test").label.bincount().tolist() == [70, 83]
    train, val = (data.images(name).label.bincount() for name in ("train", "val"))
    assert (train + val).tolist() == [123, 121]
    assert data.notes == [
        "There is no folder `test`: `val` is the test set.",
        "Validation: 10% of `train` (seed 0).",
    ]
    batch = next(iter(data.test_dataloader()))
    assert batch.image.shape == (32, 3, 56, 56)


def test_digits_are_scikit_learns() -> None:
    pixels, target = load_digits(return_X_y=True)
    data = Digits()
    for split in ("train", "val", "test"):
        images = data.images(split)
        image, label, index = images.__getitems__(list(range(len(images))))
        assert torch.equal(image.flatten(1).double() * 16, torch.from_numpy(pixels)[index])
        assert torch.equal(label, torch.from_numpy(target)[index])
    assert len(data.images("test")) == 540
