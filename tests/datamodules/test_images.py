"""Lists against torchvision's; what a digest notices; sizes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from datamodules import Digits, ImageFolder, UserError
from datamodules.images import FileImages, MemoryImages

RANDOM = np.random.RandomState(0)
COLOUR = Image.fromarray(RANDOM.randint(0, 256, (9, 11, 3), dtype=np.uint8))


def test_lists_what_torchvisions_image_folder_lists(tmp_path: Path) -> None:
    names = ["b/2.png", "b/10.png", "a/x y.JPEG", "a/deep/3.png", "c/1.bmp", "c/no.txt"]
    for name in names:
        (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        file = tmp_path / "test" / name
        file.write_text("text") if file.suffix == ".txt" else COLOUR.save(file)
    theirs = torchvision.datasets.ImageFolder(tmp_path / "test")
    for stray in ("a/._x y.JPEG", ".git/a.png"):
        (tmp_path / "test" / stray).parent.mkdir(exist_ok=True)
        (tmp_path / "test" / stray).write_bytes(b"left behind by a file manager")
    data = ImageFolder(tmp_path)
    images = data.images("test")
    assert list(data.classes) == theirs.classes
    assert images.label.tolist() == theirs.targets
    assert isinstance(images, FileImages)
    assert [str(file) for file in images.files] == [file for file, _ in theirs.samples]
    for row in range(len(theirs)):
        expected, label = theirs[row]
        image, (ours,), (index,) = images[row]
        assert torch.equal(image[0], pil_to_tensor(expected))
        assert (int(ours), int(index)) == (label, row)


def test_the_digest_of_a_folder_notices_names_sizes_and_labels(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png"):
        (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        COLOUR.save(tmp_path / "test" / name)

    def digest() -> str:
        return ImageFolder(tmp_path).manifest_digest()

    before = digest()
    (tmp_path / "test" / "a/1.png").touch()
    (tmp_path / "test" / "readme.txt").write_text("not an image")
    assert digest() == before, "neither the time nor other files matter"
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert ImageFolder(moved).manifest_digest() == before, "the place does not matter"
    moved.rename(tmp_path)
    for change in ("a/1.png -> b/1.png", "b/1.png -> b/9.png", "b/9.png -> a/9.png"):
        old, new = change.split(" -> ")
        (tmp_path / "test" / old).rename(tmp_path / "test" / new)
        assert digest() != before, change
    (tmp_path / "test" / "a/9.png").rename(tmp_path / "test" / "a/1.png")
    assert digest() == before
    COLOUR.resize((40, 40)).save(tmp_path / "test" / "a/1.png")
    assert digest() != before, "larger file"


def test_the_digest_of_arrays_notices_a_pixel_a_label_and_an_order() -> None:
    image = torch.arange(4 * 3 * 2 * 2).view(4, 3, 2, 2).byte()
    label = torch.tensor([0, 1, 0, 1])
    changed = image.clone()
    changed[2, 1, 0, 1] += 1
    images = [
        MemoryImages(image, label),
        MemoryImages(changed, label),
        MemoryImages(image, 1 - label),
        MemoryImages(image, label, torch.tensor([0, 1, 2, 7])),
        MemoryImages(image, label).subset(torch.tensor([1, 0, 2, 3])),
        MemoryImages(image, label).subset(torch.tensor([0, 1, 2])),
        MemoryImages(image.view(4, 3, 1, 4), label),
    ]
    assert len({one.digest() for one in images}) == len(images)
    assert images[0].digest() == MemoryImages(image.clone(), label).digest()


def test_memory_is_gathered_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand images load in a hundredth of a second, and not in one call each."""
    gathered = []
    gather = MemoryImages.__getitems__
    monkeypatch.setattr(
        MemoryImages,
        "__getitems__",
        lambda images, rows: (gathered.append(len(rows)), gather(images, rows))[1],
    )
    data = Digits(batch_size=250)
    loader = data.test_dataloader()
    assert [len(batch.label) for batch in loader] == gathered == [250, 250, 40]
    assert loader.num_workers == 0


SIZES = {
    "none": ({}, "got 9x11 .*1.png.* and 20x10 .*3.png.*: give `--data.resize` and `--data.crop`"),
    "short side": ({"resize": 8}, "got 8x9 .* and 16x8 "),
    "crop": ({"crop": 9}, None),
    "large crop": ({"crop": 10}, "at least 10 pixels a side for the crop, but got 9x11"),
    "both sides": ({"resize": (8, 8)}, None),
    "both": ({"resize": 16, "crop": 16}, None),
}


@pytest.mark.parametrize(("options", "message"), SIZES.values(), ids=SIZES)
def test_sizes_are_checked_before_the_loop(
    options: dict, message: str | None, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        for name, size in (("a/1.png", (11, 9)), ("a/2.png", (11, 9)), ("b/3.png", (10, 20))):
            (tmp_path / split / name).parent.mkdir(parents=True, exist_ok=True)
            COLOUR.resize(size).save(tmp_path / split / name)
    data = ImageFolder(tmp_path, num_workers=1, **options)
    if message is None:
        assert len(next(iter(data.test_dataloader())).image) == 3
    else:
        with pytest.raises(UserError, match=message):
            data.test_dataloader()
