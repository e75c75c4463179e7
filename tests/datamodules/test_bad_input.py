"""What a user can get wrong with data, and the exact words he reads; one table."""

import re
import shutil
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torchvision
from PIL import Image

from datamodules import CIFAR10, MNIST, Digits, ImageDataModule, ImageFolder, UserError


def picture(file: Path, size: int = 32) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), len(file.name), dtype=np.uint8)).save(file)
    return file


def folders(root: Path, names: str, n: int = 4) -> None:
    """Writes n images into every folder that is named."""
    for name in names.split():
        for number in range(n):
            picture(root / name / f"{number}.png")


def damaged(root: Path) -> None:
    """Four kinds of damage in a test set of twelve."""
    folders(root, "test/a test/b test/c")
    file = root / "test" / "a" / "1.png"
    content = bytearray(file.read_bytes())
    (root / "test" / "a" / "0.png").write_bytes(b"")
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    (root / "test" / "b" / "2.png").write_text("<html>404</html>")
    (root / "test" / "c" / "3.png").unlink()
    (root / "test" / "c" / "3.png").symlink_to(root / "nowhere.png")


def all_damaged(root: Path) -> None:
    for name in "ab":
        (root / "test" / name).mkdir(parents=True)
        for number in range(2):
            (root / "test" / name / f"{number}.jpg").touch()


def float_image(root: Path) -> None:
    folders(root, "test/a test/b")
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(root / "test" / "a" / "5.tiff")


def half_of_mnist(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-images-idx3-ubyte").write_bytes(
        bytes.fromhex("00000803 0000000a 0000001c 0000001c")
    )
    (raw / "t10k-labels-idx1-ubyte").write_bytes(bytes.fromhex("00000801 0000000a") + bytes(10))


def fewer_labels(root: Path) -> None:
    half_of_mnist(root)
    with (root / "MNIST" / "raw" / "t10k-images-idx3-ubyte").open("ab") as file:
        file.write(bytes(10 * 784))
    labels = bytes.fromhex("00000801 00000009") + bytes(9)
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(labels)


def copies_as_test_set(root: Path) -> None:
    folders(root, "test/cat test/dog", 1)
    for file in root.rglob("*.png"):
        file.rename(file.with_suffix(".jpg"))


def cut_tar(root: Path) -> None:
    folders(root / "x", "test/cat test/dog")
    tar = root / "cifar10-test-8-png.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(root / "x" / "test", "test")
    with tarfile.open(tar) as archive:
        member = archive.getmember("test/dog/1.png")
    tar.write_bytes(tar.read_bytes()[: member.offset_data + 10])


def two_tars(root: Path) -> None:
    for n in (7, 8):
        (root / f"cifar10-test-{n}-png.tar").touch()


def damaged_cifar(root: Path) -> None:
    folders(root, "test/cat test/dog")
    (root / "test" / "cat" / "2.png").write_bytes(b"")
    picture(root / "test" / "dog" / "3.png", 64)


def nothing(root: Path) -> None: ...


Write = Callable[[Path], Any]
_MNIST = "".join(
    f"  ROOT/MNIST/raw/{name}\n"
    for name in (
        *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    )
)
_PUT = "Put them there, or name the folder that holds them with `--data.root`."

# what is wrong, data set, what is on disk, options, stage, message
CASES: list[tuple[str, type[ImageDataModule], Write, dict[str, Any], str, str]] = [
    (
        "damaged files",
        ImageFolder,
        damaged,
        {},
        "test",
        "4 of 12 files read in 'ROOT' cannot be read as images:\n"
        "  test/a/0.png: empty\n"
        "  test/a/1.png: corrupt (broken data stream when reading image file)\n"
        "  test/b/2.png: not an image that Pillow can read\n"
        "  test/c/3.png: missing\n"
        "Mend them, or leave them out with `--data.on_corrupt skip` (they are recorded).",
    ),
    (
        "nothing but damaged files",
        ImageFolder,
        all_damaged,
        {"on_corrupt": "skip"},
        "test",
        "4 of 4 files read in 'ROOT' cannot be read as images:\n"
        "  test/a/0.jpg: empty\n  test/a/1.jpg: empty\n  test/b/0.jpg: empty\n"
        "  test/b/1.jpg: empty\nMend them.",
    ),
    (
        "float pixels",
        ImageFolder,
        float_image,
        {},
        "test",
        "1 of 9 files read in 'ROOT' cannot be read as images:\n"
        "  test/a/5.tiff: floating-point pixels have no stated range\n"
        "Mend them, or leave them out with `--data.on_corrupt skip` (they are recorded).",
    ),
    (
        "no folder",
        ImageFolder,
        lambda root: root.rmdir(),
        {},
        "test",
        "There is no folder 'ROOT': give `--data.root`.",
    ),
    (
        "an empty folder",
        ImageFolder,
        nothing,
        {},
        "test",
        "Expected a folder a class, at least two with images, in 'ROOT', but got none.",
    ),
    (
        "no class folders",
        ImageFolder,
        lambda root: [picture(root / f"{n}.png") for n in range(3)],
        {},
        "test",
        "Expected a folder a class, at least two with images, in 'ROOT', but got 3 image(s) "
        "outside of class folders.",
    ),
    (
        "one class",
        ImageFolder,
        lambda root: folders(root, "train/cats test/cats"),
        {},
        "test",
        "Expected a folder a class, at least two with images, in 'ROOT/train', but got cats.",
    ),
    (
        "other classes in test",
        ImageFolder,
        lambda root: folders(root, "train/a train/b test/a test/c"),
        {},
        "test",
        "Expected the same class folders in 'ROOT/train' and 'ROOT/test', but only 'train' has b, "
        "only 'test' has c.",
    ),
    (
        "a class without images",
        ImageFolder,
        lambda root: [folders(root, "test/a"), (root / "test" / "b").mkdir()],
        {},
        "test",
        "Expected a folder a class, at least two with images, in 'ROOT/test', but got a, b (no "
        "images).",
    ),
    (
        "only train",
        ImageFolder,
        lambda root: folders(root, "train/a train/b"),
        {},
        "test",
        "Expected a folder `test` or `val` in 'ROOT' beside `train`: add one, or give `--data.root "
        "ROOT/train` to split that one at random.",
    ),
    (
        "nothing to train on",
        ImageFolder,
        lambda root: folders(root, "test/a test/b"),
        {},
        "fit",
        "Expected a folder 'train' in 'ROOT', but got only test.",
    ),
    (
        "too few to split",
        ImageFolder,
        lambda root: [folders(root, "a b"), folders(root, "c", 2)],
        {},
        "test",
        "Expected at least 3 images a class to split 'ROOT' into training, validation and test "
        "images, but class 'c' has 2.",
    ),
    (
        "too few to validate",
        ImageFolder,
        lambda root: folders(root, "train/a train/b test/a test/b", 1),
        {},
        "fit",
        "Expected more than 2 images of 2 classes to split 10% off, but got 2: give more images, "
        "or a folder for each of train, val and test.",
    ),
    (
        "no MNIST",
        MNIST,
        nothing,
        {},
        "test",
        f"MNIST is not there and cannot be downloaded (no network). Expected\n{_MNIST}{_PUT}",
    ),
    (
        "a truncated MNIST file",
        MNIST,
        half_of_mnist,
        {},
        "test",
        "'ROOT/MNIST/raw/t10k-images-idx3-ubyte' is damaged: expected an idx file as published, "
        "but got 16 bytes of something else. Delete it, to have it downloaded again.",
    ),
    (
        "fewer MNIST labels than images",
        MNIST,
        fewer_labels,
        {},
        "test",
        "Expected as many labels as images, but got 9 in 'ROOT/MNIST/raw/t10k-labels-idx1-ubyte' "
        "and 10 in 'ROOT/MNIST/raw/t10k-images-idx3-ubyte'.",
    ),
    (
        "no CIFAR-10",
        CIFAR10,
        nothing,
        {},
        "test",
        "CIFAR-10 is not there and cannot be downloaded (no network). Expected\n"
        "  ROOT/cifar-10-batches-py/ (the official batches), or\n"
        "  ROOT/test/<class>/*.png, or\n"
        f"  ROOT/*test*png.tar\n{_PUT}",
    ),
    (
        "not the official batches",
        CIFAR10,
        lambda root: (root / "cifar-10-batches-py").mkdir(),
        {},
        "test",
        "The official batches in 'ROOT/cifar-10-batches-py' are not complete or not as published "
        "(md5). Delete the folder, to have them downloaded again.",
    ),
    (
        "JPEG copies as the test set",
        CIFAR10,
        copies_as_test_set,
        {},
        "test",
        "Expected images <class>/*.png in 'ROOT/test', but there are none. JPEG copies are tested "
        "on with `--data.test_archive jpeg75`.",
    ),
    (
        "no JPEG copies",
        CIFAR10,
        nothing,
        {"test_archive": "jpeg75"},
        "test",
        "There are no JPEG copies of CIFAR-10's test set. Expected\n"
        "  ROOT/test/<class>/*.jpg, or\n  ROOT/*test*jpeg75.tar",
    ),
    (
        "other classes than CIFAR-10's",
        CIFAR10,
        lambda root: folders(root, "test/cat test/elk"),
        {},
        "test",
        "Expected class folders of CIFAR-10 in 'ROOT/test', but got ['elk']: use `--data "
        "ImageFolder` for other classes.",
    ),
    (
        "damaged CIFAR-10 files",
        CIFAR10,
        damaged_cifar,
        {},
        "test",
        "2 of 8 files read in 'ROOT/test' cannot be read as images:\n  cat/2.png: empty\n"
        "  dog/3.png: 64x64 pixels instead of 32x32\n"
        "Mend them, or leave them out with `--data.on_corrupt skip` (they are recorded).",
    ),
    (
        "a truncated archive",
        CIFAR10,
        cut_tar,
        {},
        "test",
        "The archive 'ROOT/cifar10-test-8-png.tar' is damaged (unexpected end of data): copy it "
        "again.",
    ),
    (
        "two archives",
        CIFAR10,
        two_tars,
        {},
        "test",
        "Expected one archive of the test images in 'ROOT', but got cifar10-test-7-png.tar, "
        "cifar10-test-8-png.tar: move the others away.",
    ),
]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", refuse)
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.parametrize(
    ("kind", "write", "options", "stage", "message"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_exact_message(
    kind: type[ImageDataModule],
    write: Write,
    options: dict[str, Any],
    stage: str,
    message: str,
    tmp_path: Path,
) -> None:
    write(tmp_path)
    with pytest.raises(UserError) as error:
        kind(root=tmp_path, **options).setup(stage)
    said = str(error.value).replace("<urlopen error no network>", "no network")
    assert said.replace(str(tmp_path), "ROOT") == message


OPTIONS = {
    "limit": (0, "Expected `data.limit` to be at least 1, but got 0."),
    "batch_size": (0, "Expected `data.batch_size` to be at least 1, but got 0."),
    "num_workers": (-1, "Expected `data.num_workers` to be at least 0, but got -1."),
    "seed": (-5, "Expected `data.seed` to be at least 0, but got -5."),
    "val_fraction": (1.5, "Expected `data.val_fraction` in (0, 1), but got 1.5."),
    "channels": (2, "Expected `channels` to be 1 or 3, but got 2."),
    "resize": (-8, "Expected `resize` to be at least 1, but got -8."),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_out_of_range(name: str) -> None:
    value, message = OPTIONS[name]
    with pytest.raises(UserError, match=re.escape(message)):
        Digits(**{name: value})


def test_skipped_files_are_recorded_and_renumber_nothing(tmp_path: Path) -> None:
    damaged(tmp_path)
    data = ImageFolder(tmp_path, on_corrupt="skip")
    assert data.test_index.tolist() == [2, 3, 4, 5, 7, 8, 9, 10]
    assert data.skipped == ("test/a/0.png", "test/a/1.png", "test/b/2.png", "test/c/3.png")
    manifest = data.manifest()
    assert manifest["skipped"] == list(data.skipped)
    assert manifest["splits"]["test"]["samples"] == 8
    assert manifest["splits"]["test"]["available"] == 12
    assert len(next(iter(data.test_dataloader())).image) == 8


def test_skipped_cifar10_files_are_recorded(tmp_path: Path) -> None:
    damaged_cifar(tmp_path)
    data = CIFAR10(tmp_path, on_corrupt="skip")
    assert len(data.test_index) == 6
    assert data.skipped == ("cat/2.png", "dog/3.png")


def test_many_damaged_files_are_counted(tmp_path: Path) -> None:
    folders(tmp_path, "test/a test/b", 12)
    for number in range(9):
        (tmp_path / "test" / "b" / f"{number}.png").write_text("no image")
    with pytest.raises(
        UserError,
        match=r"(?s)^9 of 24 files .*b/4.png: not an image that Pillow can read\n  and 4 more\n",
    ):
        ImageFolder(tmp_path).setup("test")


def test_a_file_in_the_way_of_the_root(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(
        UserError, match=r"MNIST is not there and cannot be downloaded .*File exists"
    ):
        MNIST(tmp_path / "taken").setup("test")


def test_a_download_is_used_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    fewer_labels(source)
    labels = bytes.fromhex("00000801 0000000a") + bytes(10)
    (source / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(labels)
    times = []

    def fetch(data: torchvision.datasets.MNIST) -> None:
        times.append(1)
        shutil.copytree(source / "MNIST" / "raw", data.raw_folder)

    monkeypatch.setattr(
        torchvision.datasets.MNIST,
        "__init__",
        lambda data, root, download: (setattr(data, "root", root), fetch(data))[0],
    )
    for _ in range(2):
        assert len(MNIST(tmp_path / "new").test_index) == 10
    assert len(times) == 1
