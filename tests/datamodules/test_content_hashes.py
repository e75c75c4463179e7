"""Hashes of files: SHA-256 of what is in them, read once, and never believed when it may be old."""

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from datamodules import CIFAR10, MNIST, ImageFolder, content_hashes
from datamodules.content_hashes import UNREADABLE
from datamodules.roots import cache_folder, default_root

RANDOM = os.urandom


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read; everything is worth remembering, and settled at once."""
    names: list[str] = []
    hashing = content_hashes._hash
    monkeypatch.setattr(
        content_hashes, "_hash", lambda file: (names.append(file.name), hashing(file))[1]
    )
    monkeypatch.setattr(content_hashes, "_WORTH_REMEMBERING", -1)
    monkeypatch.setattr(content_hashes, "_SETTLED", -(10**12))
    return names


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "data" / "x").mkdir(parents=True)
    found = [tmp_path / "data" / name for name in ("a.png", "x/b.png", "c\udcfc\n.png")]
    for file in found:
        file.write_bytes(RANDOM(1000))
    return found


def hashes(files: list[Path], tmp_path: Path) -> list[str]:
    return content_hashes.content_hashes(files, tmp_path / "data", tmp_path / "cache")


def expected(files: list[Path]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_reads_unchanged_files_once(files: list[Path], read: list[str], tmp_path: Path) -> None:
    assert hashes(files, tmp_path) == expected(files)
    assert len(read) == 3
    assert hashes(files[::-1], tmp_path) == expected(files)[::-1]
    assert len(read) == 3
    assert hashes(files[:1], tmp_path) == expected(files[:1]), "a part forgets nothing"
    assert hashes(files, tmp_path) == expected(files)
    assert len(read) == 3


def in_place(file: Path) -> None:
    status = file.stat()
    file.write_bytes(RANDOM(1000))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # touch -r


def copied_over(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(RANDOM(1000))
    shutil.copystat(file, other)
    shutil.copy2(other, file)  # cp -p
    other.unlink()


def moved_over(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(RANDOM(1000))
    shutil.copystat(file, other)
    other.replace(file)  # mv


def linked_elsewhere(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(RANDOM(1000))
    shutil.copystat(file, other)
    file.unlink()
    file.symlink_to("other")


@pytest.mark.parametrize("change", [in_place, copied_over, moved_over, linked_elsewhere])
def test_same_size_and_time_are_no_proof(
    change: object, files: list[Path], read: list[str], tmp_path: Path
) -> None:
    before, status = hashes(files, tmp_path), files[0].stat()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    change(files[0])  # type: ignore[operator]
    now = files[0].stat()
    assert (now.st_size, now.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = hashes(files, tmp_path)
    assert after == expected(files)
    assert after[0] != before[0]
    assert len(read) == 4, "only the changed one is read"


def test_a_young_file_is_not_believed(
    files: list[Path], read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change within one tick of the clock would leave all its times as they were."""
    monkeypatch.setattr(content_hashes, "_SETTLED", 2_000_000_000)
    for _ in range(2):
        hashes(files, tmp_path)
    assert len(read) == 6


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"/a.png": 3}', b'{"/a.png": [1, "x"]}'])
def test_a_damaged_memory_is_none(
    content: bytes, files: list[Path], read: list[str], tmp_path: Path
) -> None:
    hashes(files, tmp_path)
    (memory,) = (tmp_path / "cache").iterdir()
    memory.write_bytes(content)
    assert hashes(files, tmp_path) == expected(files)
    assert len(read) == 6


def test_works_without_a_place_to_remember(
    files: list[Path], read: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    for _ in range(2):
        assert hashes(files, tmp_path) == expected(files)
    assert len(read) == 6


def test_what_cannot_be_read(files: list[Path], read: list[str], tmp_path: Path) -> None:
    files[0].unlink()
    files[1].unlink()
    os.mkfifo(files[1])
    for _ in range(2):
        assert hashes(files, tmp_path) == [UNREADABLE, UNREADABLE, *expected(files[2:])]


def test_a_moment_of_hashing_is_not_worth_a_file(files: list[Path], tmp_path: Path) -> None:
    hashes(files, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_the_memory_is_in_the_users_cache(
    files: list[Path], read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content_hashes.content_hashes(files, tmp_path / "data")
    assert len(list((tmp_path / "cache" / "assay" / "hashes").iterdir())) == 1


def test_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container that runs for a user whom the system does not know."""

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for home in (None, "relative"):
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("HOME", home)
        assert cache_folder() == tmp_path / f"assay-{os.getuid()}"
        assert default_root("MNIST") == cache_folder() / "MNIST"
        assert MNIST().root == cache_folder() / "MNIST"
        assert str(MNIST(Path("~/x")).root) in ("~/x", "relative/x")


def test_replaced_images_of_the_same_size_change_the_key(tmp_path: Path) -> None:
    """Black images for a data set's own, in BMP files, whose size does not tell."""
    from PIL import Image

    for name in "ab":
        for number in range(3):
            file = tmp_path / "test" / name / f"{number}.bmp"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.frombytes("RGB", (5, 5), RANDOM(75)).save(file)
    before = ImageFolder(tmp_path).manifest_digest()
    assert ImageFolder(tmp_path).manifest_digest() == before
    status = file.stat()
    Image.new("RGB", (5, 5)).save(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    assert ImageFolder(tmp_path).manifest_digest() != before


def test_an_edited_file_of_mnist_changes_the_key(mnist_files: Path) -> None:
    before = MNIST(mnist_files).manifest_digest()
    for name, place in (("t10k-images-idx3-ubyte", 500), ("t10k-labels-idx1-ubyte", 9)):
        file = mnist_files / "MNIST" / "raw" / name
        content = bytearray(file.read_bytes())
        content[place] ^= 1
        file.write_bytes(content)
        assert MNIST(mnist_files).manifest_digest() != before, name
        content[place] ^= 1
        file.write_bytes(content)
        assert MNIST(mnist_files).manifest_digest() == before


def test_a_replaced_archive_of_cifar10_changes_the_key(cifar_archives: Path) -> None:
    before = CIFAR10(cifar_archives).manifest_digest()
    (tar,) = cifar_archives.glob("*test*png.tar")
    content = bytearray(tar.read_bytes())
    (cifar_archives / "unpacked" / "test" / "cat").rename(cifar_archives / "unpacked" / "dog2")
    import tarfile

    with tarfile.open(tar, "w") as archive:
        archive.add(cifar_archives / "unpacked" / "test", "test")
    assert CIFAR10(cifar_archives).manifest_digest() != before
    tar.write_bytes(content)
    assert CIFAR10(cifar_archives).manifest_digest() == before
