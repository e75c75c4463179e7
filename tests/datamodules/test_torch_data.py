"""Plain PyTorch things as a data module; mean and standard deviation of any data."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torchvision.transforms import v2

from datamodules import CIFAR10, DATA, MNIST, Batch, Digits, ImageFolder, UserError
from datamodules.images import MemoryImages
from datamodules.pixel_statistics import mean_std_of
from datamodules.torch_data import TorchData

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.randint(0, 256, (24, 3, 6, 5), generator=GENERATOR).byte()
LABEL = torch.arange(24) % 3
NAMES = ["a", "b", "c"]


class Listed(Dataset):
    """A data set as people write it."""

    classes = NAMES

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 24

    def __getitem__(self, row: int) -> Any:
        if row >= 24:
            raise IndexError
        return self.make(row)


class Streamed(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return ((image, int(label)) for image, label in zip(IMAGE, LABEL, strict=True))


def pil(row: int) -> Image.Image:
    return Image.fromarray(IMAGE[row].permute(1, 2, 0).numpy())


class StreamOfKnownLength(Streamed):
    def __len__(self) -> int:
        return 24


UNIT = IMAGE.float() / 255
SOURCES: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (IMAGE, LABEL),
    "arrays": lambda: [IMAGE.numpy(), LABEL.numpy()],
    "float tensors": lambda: (UNIT, LABEL),
    "doubles": lambda: (IMAGE.double() / 255, LABEL.int()),
    "data set": lambda: Listed(lambda row: (IMAGE[row], int(LABEL[row]))),
    "data set of floats": lambda: Listed(lambda row: (UNIT[row], LABEL[row])),
    "data set of PIL": lambda: Listed(lambda row: (pil(row), LABEL[row].item())),
    "data set of arrays": lambda: Listed(lambda row: [IMAGE[row].numpy(), np.int32(LABEL[row])]),
    "batches of assay": lambda: Listed(lambda row: Batch(IMAGE[row], LABEL[row], torch.tensor(9))),
    "TensorDataset": lambda: TensorDataset(IMAGE, LABEL),
    "Subset": lambda: Subset(TensorDataset(IMAGE, LABEL), range(24)),
    "ConcatDataset": lambda: ConcatDataset([TensorDataset(IMAGE, LABEL)]),
    "loader": lambda: DataLoader(TensorDataset(IMAGE, LABEL), batch_size=7),
    "shuffled loader": lambda: DataLoader(TensorDataset(IMAGE, LABEL), batch_size=7, shuffle=True),
    "loader that drops": lambda: DataLoader(
        TensorDataset(IMAGE, LABEL), batch_size=7, drop_last=True
    ),
    "loader without batches": lambda: DataLoader(TensorDataset(IMAGE, LABEL), batch_size=None),
    "stream": Streamed,
    "loader of a stream": lambda: DataLoader(Streamed(), batch_size=5),
    "stream of known length": StreamOfKnownLength,
    "workers that each give the whole stream": lambda: DataLoader(Streamed(), 5, num_workers=2),
    "loader of a stream that drops": lambda: DataLoader(Streamed(), 5, drop_last=True),
    "list": lambda: list(zip(IMAGE, LABEL.tolist(), strict=True)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_batches(name: str) -> None:
    before = torch.get_rng_state()
    data = TorchData(SOURCES[name](), classes=NAMES, batch_size=10)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.test_dataloader()]
    assert torch.equal(torch.get_rng_state(), before), "no trace"
    image, label, index = (torch.cat(parts) for parts in zip(*batches, strict=True))
    # float64 of k/255 rounds to the float32 of k/255
    assert torch.equal(image, UNIT)
    assert torch.equal(label, LABEL)
    assert index.tolist() == list(range(24))
    assert data.classes == ("a", "b", "c")
    assert data.preprocessing.channels == 3
    assert json.loads(json.dumps(data.manifest()))["splits"]["test"]["samples"] == 24


def test_the_digest_is_of_the_content() -> None:
    def digest(*source: Tensor) -> str:
        return TorchData(source, classes=NAMES).manifest_digest()

    changed, other = IMAGE.clone(), LABEL.clone()
    changed[5, 1, 2, 3] ^= 1
    other[7] = (other[7] + 1) % 3
    digests = [digest(IMAGE, LABEL), digest(changed, LABEL), digest(IMAGE, other)]
    assert len(set(digests)) == 3
    assert digest(IMAGE.clone(), LABEL) == digests[0]
    assert (
        digests[0]
        == TorchData(DataLoader(TensorDataset(IMAGE, LABEL)), classes=NAMES).manifest_digest()
    )


def test_splits_are_given_apart() -> None:
    part = (IMAGE[:9], LABEL[:9])
    data = TorchData((IMAGE, LABEL), train=part, classes=3, name="mine", limit=6, val_fraction=0.4)
    assert (data.name, data.classes, data.has_val) == ("mine", ("0", "1", "2"), False)
    assert len(data.images("test")) == 6
    assert sorted([*data.images("train").index, *data.images("val").index])[-1] < 9
    own = TorchData((IMAGE, LABEL), train=part, val=(IMAGE[9:12], LABEL[9:12]), classes=3)
    assert own.has_val
    assert own.images("val").index.tolist() == [0, 1, 2]
    assert len(own.images("train")) == 9
    with pytest.raises(UserError, match="Expected `train` images, but only others were given"):
        TorchData((IMAGE, LABEL), classes=3).setup("fit")


def test_names_and_classes_come_from_the_data_set() -> None:
    listed = Listed(lambda row: (IMAGE[row], LABEL[row]))
    for source in (listed, DataLoader(listed), Subset(listed, range(9)), ConcatDataset([listed])):
        assert TorchData(source).classes == ("a", "b", "c")
    assert TorchData(Subset(listed, range(9))).name == "Listed"
    assert TorchData((IMAGE, LABEL), classes=3).name == "TorchData"
    assert TorchData((IMAGE, LABEL), classes=3, epsilon={"Linf": 0.3}).epsilon == {"Linf": 0.3}
    assert TorchData((IMAGE[:, :1], LABEL), classes=3, channels=3).preprocessing.channels == 3


def test_torchvisions_own_data_sets(tmp_path: Path) -> None:
    fake = torchvision.datasets.FakeData(12, (3, 8, 8), 4)
    data = TorchData(fake, classes=4)
    expected = torch.stack([v2.functional.pil_to_tensor(image) for image, _ in fake])
    images = data.images("test")
    assert isinstance(images, MemoryImages)
    assert torch.equal(images.image, expected)


def noisy(row: int) -> tuple[Tensor, int]:
    return UNIT[row] * random.random(), int(LABEL[row])


# what is given, options, message
WRONG: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "a label beyond": (lambda: (IMAGE, LABEL), {"classes": 2}, "Expected labels 0 to 1 for the 2"),
    "normalised": (lambda: (UNIT - 0.5, LABEL), {}, "leave mean and std to the model"),
    "0 to 255 in float": (lambda: (IMAGE.float(), LABEL), {}, "Expected images in [0, 1], but got"),
    "integers": (
        lambda: (IMAGE.int(), LABEL),
        {},
        "of uint8, or float in [0, 1], but got torch.int",
    ),
    "truths": (lambda: (IMAGE > 9, LABEL), {}, "of uint8, or float in [0, 1], but got torch.bool"),
    "NaN": (lambda: (UNIT * torch.nan, LABEL), {}, "from nan to nan"),
    "channels last": (
        lambda: (IMAGE.permute(0, 2, 3, 1), LABEL),
        {},
        "but got shape (24, 6, 5, 3)",
    ),
    "no channels": (lambda: (IMAGE[:, 0], LABEL), {}, "but got shape (24, 6, 5)"),
    "four channels": (lambda: (IMAGE.repeat(1, 2, 1, 1)[:, :4], LABEL), {}, "(24, 4, 6, 5)"),
    "fewer labels": (lambda: (IMAGE, LABEL[:5]), {}, "but got (5,) of torch.int64 for 24"),
    "one-hot": (lambda: (IMAGE, torch.eye(3)[LABEL].long()), {}, "but got (24, 3) of torch.int64"),
    "soft": (lambda: (IMAGE, LABEL.float()), {}, "whole number as the label"),
    "texts": (lambda: Listed(lambda row: (IMAGE[row], "cat")), {}, "in `test`, but got 'cat'"),
    "a batch of texts": (
        lambda: DataLoader(Listed(lambda row: (IMAGE[row], "cat")), batch_size=4),
        {},
        "number the classes from 0",
    ),
    "no label": (lambda: Listed(lambda row: (IMAGE[row], None)), {}, "but got None"),
    "labels with paths": (
        lambda: Listed(lambda row: (IMAGE[row], (1, "a.png"))),
        {},
        "but got (1, 'a.png')",
    ),
    "images alone": (
        lambda: TensorDataset(IMAGE),
        {},
        "Expected pairs (image, label) in `test`, but got 1 things",
    ),
    "triples": (lambda: TensorDataset(IMAGE, LABEL, LABEL), {}, "but got 3 things"),
    "dictionaries": (lambda: Listed(lambda row: {"image": IMAGE[row]}), {}, "but got dict"),
    "lists": (lambda: Listed(lambda row: ([1, 2], 0)), {}, "tensors or Pillow's, but got list"),
    "sizes": (
        lambda: Listed(lambda row: (IMAGE[row, :, : 5 + row % 2], LABEL[row])),
        {},
        "Expected images of one size and type in `test`, but got (3, 5, 5) and (3, 6, 5)",
    ),
    "types": (
        lambda: Listed(lambda row: ((IMAGE if row % 2 else UNIT)[row], LABEL[row])),
        {},
        "of one size and type in `test`",
    ),
    "float PIL": (
        lambda: Listed(lambda row: (Image.fromarray(np.zeros((4, 4), np.float32)), 0)),
        {},
        "Expected 8-bit images in `test`, but got floating-point pixels",
    ),
    "empty": (
        lambda: TensorDataset(IMAGE[:0], LABEL[:0]),
        {},
        "Expected images in `test`, but it is",
    ),
    "empty tensors": (lambda: (IMAGE[:0], LABEL[:0]), {}, "Expected images in `test`, but it is"),
    "random": (lambda: Listed(noisy), {}, "leave random transforms out"),
    "a choosing sampler": (
        lambda: DataLoader(TensorDataset(IMAGE, LABEL), sampler=SubsetRandomSampler([1, 2])),
        {},
        "its sampler chooses some: give the data set",
    ),
    "a drawing sampler": (
        lambda: DataLoader(TensorDataset(IMAGE, LABEL), sampler=RandomSampler(range(24), True)),
        {},
        "its sampler chooses some",
    ),
    "a part of a sampler": (
        lambda: DataLoader(
            TensorDataset(IMAGE, LABEL), sampler=RandomSampler(range(24), num_samples=3)
        ),
        {},
        "its sampler chooses some",
    ),
    "weights": (
        lambda: DataLoader(
            TensorDataset(IMAGE, LABEL), sampler=WeightedRandomSampler([1.0] * 24, 24)
        ),
        {},
        "its sampler chooses some",
    ),
    "batches of its own": (
        lambda: DataLoader(TensorDataset(IMAGE, LABEL), batch_sampler=[[0, 1], [4]]),
        {},
        "its sampler chooses some",
    ),
    "a number": (lambda: 5, {}, "Expected `test` to be a Dataset, a DataLoader or two tensors"),
    "nothing": (lambda: None, {}, "Expected `test` to be a Dataset, a DataLoader or two tensors"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name: str) -> None:
    source, options, message = WRONG[name]
    with pytest.raises(UserError) as error:
        TorchData(source(), **{"classes": NAMES, **options}).setup("test")
    assert message in str(error.value)


def test_random_training_images_are_fixed_and_told() -> None:
    data = TorchData((IMAGE, LABEL), train=Listed(noisy), classes=NAMES)
    one, two = (data.images("train").__getitems__([0, 1]).image for _ in range(2))
    assert torch.equal(one, two)
    assert data.notes == ["train: images are read once, so random transforms are fixed."]


def test_mean_and_std_are_those_of_numpy() -> None:
    images = [IMAGE[0], UNIT[1, :, :2], IMAGE[2, :, :, 1:3]]
    pixels = np.concatenate(
        [
            np.asarray(i, np.float64).reshape(3, -1) / (255 if i.dtype == torch.uint8 else 1)
            for i in images
        ],
        1,
    )
    mean, std = mean_std_of(images)
    np.testing.assert_allclose(mean, pixels.mean(1), rtol=1e-7)  # k/255 in float32
    np.testing.assert_allclose(std, pixels.std(1), rtol=1e-7)
    together, apart = mean_std_of([IMAGE]), mean_std_of(IMAGE.unbind())
    np.testing.assert_allclose(together, apart, rtol=1e-12)  # doubles, summed in another order


def test_documented_statistics_are_used_where_they_fit() -> None:
    assert MNIST().mean_std() == ((0.1307,), (0.3081,))
    assert CIFAR10().mean_std() == (CIFAR10.native.mean, CIFAR10.native.std)
    assert Digits().mean_std() == ((0.305,), (0.376,))
    measured = Digits(channels=3).mean_std()
    # 256 of 1,257 images: standard error of the mean .376/sqrt(64 * 256) = .003
    np.testing.assert_allclose(measured, [[0.305] * 3, [0.376] * 3], atol=0.012)
    assert set(DATA) > {"MNIST", "CIFAR10", "Digits"}


def test_statistics_of_folders_are_measured(tmp_path: Path) -> None:
    """On training images, without hashing or checking all of them, and without a note."""
    for split, level in (("train", 51), ("Test", 204)):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (4, 4 + number), (level, 0, 255)).save(
                    tmp_path / split / name / f"{number}.png"
                )
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"x")
    data = ImageFolder(tmp_path)
    mean, std = data.mean_std()
    assert mean == pytest.approx((0.2, 0, 1))
    assert std == pytest.approx((0, 0, 0), abs=1e-6)  # a difference of squares
    assert data.notes == []
    assert data.skipped == ()
    assert data.split_indices() == {}
    told = ImageFolder(tmp_path)
    told.setup("test")
    data.setup("test")
    assert data.notes == told.notes
    grey, _ = ImageFolder(tmp_path, channels=1).mean_std()
    assert grey == pytest.approx((round(0.299 * 51 + 0.114 * 255) / 255,))
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    assert ImageFolder(tmp_path).mean_std()[0] == pytest.approx((0.8, 0, 1)), "test images at last"


def test_statistics_of_torch_data() -> None:
    mean, _ = TorchData((IMAGE, LABEL), train=(IMAGE[:9], LABEL[:9]), classes=3).mean_std()
    assert mean == pytest.approx(UNIT[:9].mean((0, 2, 3)).tolist(), rel=1e-6)


def test_classes_without_names_are_counted_and_said() -> None:
    data = TorchData((IMAGE, LABEL))
    assert data.classes_counted
    assert data.classes == tuple(map(str, range(int(LABEL.max()) + 1)))
    assert any("Classes have no names" in note for note in data.notes)
