"""Every data set in a few tiny fake images, with the folders and files of the real one."""

import pickle
import struct
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from datamodules import (
    CIFAR10,
    CSV,
    DATA,
    MAITE,
    MNIST,
    Digits,
    HFDataset,
    ImageDataModule,
    ImageFolder,
    Joined,
    Prepared,
    Torchvision,
    WebDataset,
)
from datamodules.torch_data import TorchData

CLASSES = {"ant": 9, "bee": 6, "fly": 12}
RANDOM = np.random.RandomState(0)


def picture(file: Path, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> None:
    """Writes an image of noise, (width, height)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    Image.fromarray(RANDOM.randint(0, 256, shape, dtype=np.uint8)).save(file)


def class_folders(folder: Path, counts: dict[str, int] = CLASSES, mode: str = "RGB") -> Path:
    """Writes `folder/<class>/<number>.png`."""
    for name, count in counts.items():
        for number in range(count):
            picture(folder / name / f"{number:03}.png", mode=mode)
    return folder


def three_folders(root: Path) -> None:
    for split in ("train", "val", "test"):
        class_folders(root / split)


def train_and_val(root: Path) -> None:
    for split in ("train", "val"):
        class_folders(root / split)


def idx_files(root: Path) -> None:
    """Writes the four files of MNIST, 60 and 30 images."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", 60), ("t10k", 30)):
        image = RANDOM.randint(0, 256, (n, 28, 28), dtype=np.uint8)
        label = np.arange(n, dtype=np.uint8) % 10
        header = struct.pack(">IIII", 0x803, n, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + image.tobytes())
        header = struct.pack(">II", 0x801, n)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + label.tobytes())


def cifar_folders(root: Path) -> None:
    """Writes `<split>/<class>/<official number>.png`, 60 and 30 images, with gaps."""
    for split, n in (("train", 60), ("test", 30)):
        for number in range(n):
            name = CIFAR10.classes[number % 10]
            picture(root / split / name / f"{2 * number:05}.png", (32, 32))


def cifar_tars(root: Path) -> None:
    """Packs the class folders, and JPEG copies that must not be taken for the test set."""
    cifar_folders(root / "unpacked")
    for split in ("train", "test"):
        with tarfile.open(root / f"cifar10-{split}-30-png.tar", "w") as archive:
            archive.add(root / "unpacked" / split, split)
    for name in CIFAR10.classes:
        for number in range(4):
            picture(root / "copies" / name / f"{number:04}.jpg", (32, 32))
    with tarfile.open(root / "cifar10-test-40-jpeg75.tar", "w") as archive:
        archive.add(root / "copies", "test")


def cifar_batches(root: Path) -> None:
    """Writes the official pickles, 12 images each."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        data = RANDOM.randint(0, 256, (20, 3072), dtype=np.uint8)
        content = {"data": data, "labels": [number % 10 for number in range(20)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.classes)}))


def nothing(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)


def tensors(root: Path, **options: Any) -> TorchData:
    """Makes what a notebook has, no files."""
    random = np.random.RandomState(1)
    image = torch.from_numpy(random.randint(0, 256, (60, 3, 12, 10), dtype=np.uint8))
    label = torch.arange(60) % 3
    parts = ((image[a:b], label[a:b]) for a, b in ((0, 21), (21, 60)))
    return TorchData(*parts, classes=list(CLASSES), **options)


def fogged(root: Path) -> None:
    """Writes photographs with three folders, and the test images under fog."""
    three_folders(root / "photos")
    for severity in ("1", "3"):
        class_folders(root / "corrupted" / "fog" / severity)


def prepared(root: Path, **options: Any) -> Prepared:
    """Makes the set whose undisturbed twins lie elsewhere."""
    return Prepared(root / "corrupted", clean=f"ImageFolder:{root / 'photos'}", **options)


SPLITS = ("train", "val", "test")


def photos(root: Path) -> list[tuple[Path, str, int, str]]:
    """Writes three folders; (file, split, number of the class, class) in ImageFolder's order."""
    three_folders(root)
    classes = sorted(CLASSES)
    return [
        (file, split, number, name)
        for split in SPLITS
        for number, name in enumerate(classes)
        for file in sorted((root / split / name).iterdir())
    ]


def manifest(root: Path) -> None:
    """Lists photographs in a table."""
    lines = [f"{file.relative_to(root)},{name},{split}" for file, split, _, name in photos(root)]
    (root / "manifest.csv").write_text("\n".join(["path,label,split", *lines]))


def tars(root: Path) -> None:
    """Packs photographs into two shards a split, with the classes' numbers."""
    listed = photos(root / "photos")
    (root / "classnames.txt").write_text("\n".join(sorted(CLASSES)))
    for split in SPLITS:
        rows = [row for row in listed if row[1] == split]
        for shard, part in enumerate((rows[:13], rows[13:])):
            with tarfile.open(root / f"{split}-{shard:03}.tar", "w") as tar:
                for key, (file, _, number, _) in enumerate(part):
                    tar.add(file, f"{key:04}.png")
                    told = tarfile.TarInfo(f"{key:04}.cls")
                    told.size = len(str(number))
                    tar.addfile(told, BytesIO(str(number).encode()))


def arrow(root: Path) -> None:
    """Saves photographs with Hugging Face's library."""
    datasets = pytest.importorskip("datasets")
    listed = photos(root.with_name(f"{root.name}-photos"))
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=sorted(CLASSES))}
    )
    parts = {
        split: datasets.Dataset.from_dict(
            {
                "image": [
                    {"bytes": file.read_bytes(), "path": None}
                    for file, part, _, _ in listed
                    if part == split
                ],
                "label": [number for _, part, number, _ in listed if part == split],
            },
            features=features,
        )
        for split in SPLITS
    }
    datasets.DatasetDict(parts).save_to_disk(str(root))


def country(root: Path) -> None:
    """Lays photographs out as torchvision's Country211."""
    three_folders(root / "country211")
    (root / "country211" / "val").rename(root / "country211" / "valid")


def torchvision_data(root: Path, **options: Any) -> Torchvision:
    """Makes what names its data set before the folder."""
    return Torchvision(Path(f"Country211:{root}"), **options)


class Items:
    """A data set by MAITE's protocol, of the photographs in a folder."""

    def __init__(self, listed: list[tuple[Path, str, int, str]]) -> None:
        self.metadata = {"id": "photos", "index2label": dict(enumerate(sorted(CLASSES)))}
        self.listed = listed

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, row: int, /) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        file, _, number, _ = self.listed[row]
        image = np.asarray(Image.open(file)).transpose(2, 0, 1)
        return image, np.eye(len(CLASSES), dtype=np.float32)[number], {"id": row}


def maite_items(root: Path) -> None:
    """Puts data sets by MAITE's protocol into a module of their own."""
    listed, module = photos(root), ModuleType(f"maite_items_{id(root)}")
    for split in SPLITS:
        setattr(module, split, Items([row for row in listed if row[1] == split]))
    sys.modules[module.__name__] = module
    (root / "module.txt").write_text(module.__name__)


def maite_data(root: Path, **options: Any) -> MAITE:
    """Makes the data set of that module."""
    module = (root / "module.txt").read_text()
    return MAITE(Path(f"{module}:test"), train=f"{module}:train", val=f"{module}:val", **options)


def joined(root: Path, **options: Any) -> Joined:
    """Makes two data sets one."""
    return Joined(Path("digit=Digits,turned=RotatedDigits"), **options)


# One line a data set, or a form of it: what it is made of, and what else it is given.
CASES: dict[str, tuple[Callable[..., ImageDataModule], Callable[[Path], Any], dict[str, Any]]] = {
    "Digits": (Digits, nothing, {}),
    "RotatedDigits": (DATA["RotatedDigits"], nothing, {}),
    "MNIST": (MNIST, idx_files, {}),
    "CIFAR10 folders": (CIFAR10, cifar_folders, {}),
    "CIFAR10 tars": (CIFAR10, cifar_tars, {}),
    "CIFAR10 jpeg75": (CIFAR10, cifar_tars, {"test_archive": "jpeg75"}),
    "CIFAR10 batches": (CIFAR10, cifar_batches, {}),
    "ImageFolder three": (ImageFolder, three_folders, {}),
    "ImageFolder train, val": (ImageFolder, train_and_val, {}),
    "ImageFolder one": (ImageFolder, class_folders, {}),
    "ImageFolder grey": (ImageFolder, class_folders, {"channels": 1}),
    "CSV": (CSV, manifest, {}),
    "WebDataset": (WebDataset, tars, {}),
    "HFDataset": (HFDataset, arrow, {}),
    "Torchvision": (torchvision_data, country, {}),
    "MAITE": (maite_data, maite_items, {}),
    "Prepared": (prepared, fogged, {}),
    "TorchData": (tensors, nothing, {}),
    "Joined": (joined, nothing, {}),
    **{name: (DATA[name], idx_files, {}) for name in DATA if "MNIST" in name and name != "MNIST"},
    **{name: (DATA[name], cifar_folders, {}) for name in ("CIFAR10Animals", "CIFAR10Vehicles")},
}
assert set(DATA.values()) - {Prepared, Torchvision, MAITE, Joined} <= {
    kind for kind, _, _ in CASES.values()
}, "every data set has a case"

Make = Callable[..., ImageDataModule]


@pytest.fixture(scope="session", params=CASES, ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the data set of a case, with further options."""
    kind, write, given = CASES[request.param]
    root = tmp_path_factory.mktemp("data")
    write(root)
    return lambda **options: kind(root=root, **{"num_workers": 0, **given, **options})


@pytest.fixture
def mnist_files(tmp_path: Path) -> Path:
    """A folder with the four files of MNIST, in small."""
    idx_files(tmp_path)
    return tmp_path


@pytest.fixture
def cifar_archives(tmp_path: Path) -> Path:
    """A folder with archives of CIFAR-10, in small."""
    cifar_tars(tmp_path)
    return tmp_path


@pytest.fixture
def make(case: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Lets torchvision take the fake batches for the official ones."""
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda _: True)
    return case


FOLDERS = {
    "CSV": ".",
    "WebDataset": "photos",
    "HFDataset": "../data-photos",
    "Torchvision": "country211",
    "MAITE": ".",
}
"""Where the pictures lie that each form holds, from its root."""


@pytest.fixture
def listed_case(tmp_path: Path) -> Callable[[str], tuple[ImageDataModule, Path]]:
    """Makes a data set of a name, and the folder of the same pictures."""

    def made(name: str) -> tuple[ImageDataModule, Path]:
        kind, write, _ = CASES[name]
        root = tmp_path / "data"
        root.mkdir()
        write(root)
        return kind(root=root, num_workers=0), root / FOLDERS[name]

    return made
