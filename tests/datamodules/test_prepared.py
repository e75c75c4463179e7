"""Sets that were corrupted beforehand: what is recognised, paired, said and refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolder, Prepared
from datamodules.errors import UserError
from datamodules.torch_data import TorchData

RANDOM = np.random.RandomState(0)
LABELS = np.array([0, 1, 2, 1, 0, 2, 1])
PIXELS = RANDOM.randint(0, 256, (5, 7, 8, 6, 3), dtype=np.uint8)
"""`(severities, pictures, height, width, channels)`."""


def arrays(root: Path, labels: np.ndarray = LABELS, **more: np.ndarray) -> Path:
    """Writes a set like CIFAR-10-C."""
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / "labels.npy", labels)
    for name, array in ({"fog": PIXELS.reshape(35, 8, 6, 3)} | more).items():
        np.save(root / f"{name}.npy", array)
    return root


def picture(file: Path, size: tuple[int, int] = (6, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.randint(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(file)


def folders(
    root: Path, *cells: str, names: tuple[str, ...] = ("a", "b", "c"), suffix: str = "png"
) -> Path:
    """Writes `<cell>/<class>/<name>`."""
    for cell in cells:
        for kind in ("ant", "bee"):
            for name in names:
                picture(root / cell / kind / f"{name}.{suffix}")
    return root


def clean_arrays(rows: slice = slice(None), labels: np.ndarray = LABELS) -> TorchData:
    """Undisturbed twins of `arrays`."""
    image = torch.from_numpy(RANDOM.randint(0, 256, (7, 3, 8, 6), dtype=np.uint8))
    return TorchData((image[rows], torch.from_numpy(labels)[rows]), classes=3)


# -- arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [LABELS, np.tile(LABELS, 5), np.tile(LABELS, 5).astype("u1")])
def test_severities_are_blocks_in_order_and_an_index_is_a_picture(
    tmp_path: Path, labels: np.ndarray
) -> None:
    data = Prepared(arrays(tmp_path, labels), clean=clean_arrays())
    assert data.test_index.tolist() == [*range(7)]
    assert data.shown_size() == (8, 6)
    assert data.stored.severities == {"fog": (1, 2, 3, 4, 5)}
    for severity in range(1, 6):
        shown = data.shown("fog", severity, torch.tensor([6, 2]))
        expected = PIXELS[severity - 1, [6, 2]].transpose(0, 3, 1, 2)
        assert (shown.numpy() == expected).all()


def test_arrays_stay_on_disk(tmp_path: Path) -> None:
    data = Prepared(arrays(tmp_path))
    assert isinstance(data.stored.arrays["fog"], np.memmap)  # type: ignore[union-attr]


def test_fewer_undisturbed_images_than_stored_ones(tmp_path: Path) -> None:
    data = Prepared(arrays(tmp_path), clean=clean_arrays(slice(4)))
    assert data.test_index.tolist() == [0, 1, 2, 3]


def test_without_twins_it_is_said(tmp_path: Path) -> None:
    data = Prepared(arrays(tmp_path))
    assert data.test_index.tolist() == [*range(7)]
    assert not data.undisturbed
    assert data.classes_counted
    assert any("no relative mCE" in note for note in data.notes)


def test_one_severity_must_be_stated(tmp_path: Path) -> None:
    root = arrays(tmp_path, fog=PIXELS[0])
    with pytest.raises(UserError, match=r"--data\.severity"):
        Prepared(root)
    assert Prepared(root, severity=3).stored.severities == {"fog": (3,)}


def test_pictures_of_one_class_are_not_taken_for_severities(tmp_path: Path) -> None:
    """Five labels that are alike may be one label that is repeated."""
    five = arrays(tmp_path / "five", np.zeros(5, int), fog=PIXELS[:, :5].reshape(25, 8, 6, 3))
    assert Prepared(five).stored.severities == {"fog": (1, 2, 3, 4, 5)}
    one = arrays(tmp_path / "one", np.zeros(5, int), fog=PIXELS[0, :5])
    assert Prepared(one, severity=3).stored.severities == {"fog": (3,)}
    assert Prepared(one, severity=3).test_index.tolist() == [*range(5)]


def test_the_key_knows_the_content(tmp_path: Path) -> None:
    index = torch.arange(7)
    before = Prepared(arrays(tmp_path)).stored.digest("fog", index)
    changed = PIXELS.copy()
    changed[4, 6, 0, 0, 0] ^= 1
    after = Prepared(arrays(tmp_path, fog=changed.reshape(35, 8, 6, 3))).stored
    assert after.digest("fog", index) != before


FLAT = PIXELS.reshape(35, 8, 6, 3)
WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda root: arrays(root, fog=FLAT[:20]), "cut from every severity alike"),
    "floats": (lambda root: arrays(root, fog=FLAT / 255), "uint8 images"),
    "floats to 255": (lambda root: arrays(root, fog=FLAT.astype("f4")), "uint8 images"),
    "channels first": (lambda root: arrays(root, fog=FLAT.transpose(0, 3, 1, 2)), "transpose"),
    "no images": (lambda root: arrays(root, fog=np.zeros(35, "u1")), "Expected images"),
    "labels of floats": (lambda root: arrays(root, LABELS / 1), "whole number"),
    "undisturbed ones among them": (
        lambda root: arrays(root, clean=PIXELS.reshape(35, 8, 6, 3)),
        "'clean.npy' is none: take it away",
    ),
    "labels all alike": (lambda root: arrays(root, np.zeros(35, int)), "nobody can say"),
    "labels too few": (lambda root: arrays(root, LABELS[:6]), "30 images"),
    "pickle": (lambda root: arrays(root, fog=np.array([{}])), "damaged"),
    "truncated": (
        lambda root: (arrays(root) / "fog.npy").write_bytes(
            (root / "fog.npy").read_bytes()[:-100]
        ),
        "damaged",
    ),
    "no labels": (lambda root: (arrays(root) / "labels.npy").unlink(), "no labels"),
    "no arrays": (lambda root: (arrays(root) / "fog.npy").unlink(), "Expected <corruption>.npy"),
    "nothing": (lambda root: root.mkdir(exist_ok=True), "found none"),
    "no severities": (lambda root: folders(root, "fog"), "found none"),
    "empty severity": (
        lambda root: (folders(root, "fog/1") / "fog/2").mkdir(), "holds no image",
    ),
    "more than severities": (lambda root: folders(root, "fog/1", "fog/old"), "got old too"),
    "unstated severity": (lambda root: folders(root, "clean", "fog"), r"--data\.severity"),
    "twice": (lambda root: folders(root, "a/fog/1", "b/fog/1"), "take one away"),
    "one class": (lambda root: picture(root / "fog/1/ant/a.png"), "a folder a class"),
    "differ by suffix": (
        lambda root: picture(folders(root, "clean", "fog/1") / "fog/1/ant/a.jpg"), "suffix alone",
    ),
    "other names": (
        lambda root: folders(folders(root, "clean"), "fog/1", names=("x", "y")), "in every cell",
    ),
    "another size": (
        lambda root: picture(folders(root, "clean", "fog/1") / "fog/1/ant/a.png", (9, 9)),
        "comes to 9x9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_told_in_a_sentence(case: str, tmp_path: Path) -> None:
    write, told = WRONG[case]
    write(tmp_path)
    with pytest.raises(UserError, match=told):
        Prepared(tmp_path).shown_size()


def test_five_severities_are_not_stated_as_one(tmp_path: Path) -> None:
    for root in (arrays(tmp_path / "c"), folders(tmp_path / "f", "fog/1")):
        with pytest.raises(UserError, match=r"Expected no `data\.severity`"):
            Prepared(root, severity=2)
    with pytest.raises(UserError, match="from 1 to 5"):
        Prepared(root, severity=6)


def test_other_labels_than_the_twins_are_refused(tmp_path: Path) -> None:
    data = Prepared(arrays(tmp_path), clean=clean_arrays(labels=LABELS[::-1].copy()))
    with pytest.raises(UserError, match="of 7 differ"):
        data.setup("test")


# -- folders ---------------------------------------------------------------------------------------


def shown_file(data: Prepared, file: Path, severity: int = 1) -> bool:
    """Whether the first picture's stored image is that of a file."""
    first = data.test_index[:1]
    expected = np.asarray(Image.open(file)).transpose(2, 0, 1)
    return bool((data.shown("fog", severity, first)[0].numpy() == expected).all())


def test_folders_are_found_at_any_depth_and_paired_by_name(tmp_path: Path) -> None:
    root = folders(tmp_path, "clean", "weather/fog/1", "weather/fog/5", "snow/2")
    (root / "snow/2/ant/a.png").unlink()
    data = Prepared(root)
    assert data.stored.severities == {"snow": (2,), "fog": (1, 5)}
    assert data.classes == ("ant", "bee")
    assert data.test_index.tolist() == [1, 2, 3, 4, 5]  # ant/a is not in every cell
    assert any("5 of 6 undisturbed images" in note for note in data.notes)
    data.shown_size()
    assert shown_file(data, root / "weather/fog/5/ant/b.png", 5)


def test_copies_of_another_kind_are_paired(tmp_path: Path) -> None:
    folders(folders(tmp_path, "clean"), "fog/1", suffix="bmp")
    assert len(Prepared(tmp_path).test_index) == 6


def test_a_folder_beside_its_twin_of_a_stated_severity(tmp_path: Path) -> None:
    data = Prepared(folders(tmp_path, "clean", "fog"), severity=4)
    assert data.stored.severities == {"fog": (4,)}
    data.shown_size()
    assert shown_file(data, tmp_path / "fog/ant/a.png", 4)


def test_classes_may_be_called_as_severities(tmp_path: Path) -> None:
    for cell in ("clean", "fog"):
        for kind in ("1", "2"):
            picture(tmp_path / cell / kind / "a.png")
    assert Prepared(tmp_path, severity=3).stored.severities == {"fog": (3,)}


def test_without_twins_the_first_cell_stands_in(tmp_path: Path) -> None:
    data = Prepared(folders(tmp_path, "fog/1", "fog/2"))
    assert not data.undisturbed
    assert len(data.test_index) == 6
    assert data.classes == ("ant", "bee")


def test_twins_of_a_data_set_elsewhere(tmp_path: Path) -> None:
    folders(tmp_path / "photos", "train", "test")
    data = Prepared(folders(tmp_path / "c", "fog/1"), clean=f"ImageFolder:{tmp_path / 'photos'}")
    assert isinstance(data.twins, ImageFolder)
    assert len(data.test_index) == 6
    with pytest.raises(UserError, match="no data set"):
        Prepared(tmp_path / "c", clean="nowhere")


def test_twins_in_archives_have_no_names(tmp_path: Path) -> None:
    data = Prepared(folders(tmp_path, "fog/1"), clean=clean_arrays())
    with pytest.raises(UserError, match="file"):
        data.setup("test")


def test_a_truncated_image_is_refused_or_left_out_everywhere(tmp_path: Path) -> None:
    file = folders(tmp_path, "clean", "fog/1", "fog/2") / "fog/2/bee/b.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(UserError, match=r"1 of 12 files.*\n.*fog/2/bee/b\.png"):
        Prepared(tmp_path).setup("test")
    data = Prepared(tmp_path, on_corrupt="skip")
    assert data.test_index.tolist() == [0, 1, 2, 3, 5]
    assert data.skipped == ("fog/2/bee/b.png",)


@pytest.mark.parametrize("size", [(8, 8), (16, 16)])
def test_what_is_stored_as_it_is_shown_is_not_resized_again(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    for cell, side in (("clean", (16, 16)), ("fog/1", size)):
        for kind in ("ant", "bee"):
            picture(tmp_path / cell / kind / "a.png", side)
    data = Prepared(tmp_path, resize=10, crop=8)
    assert data.shown_size() == (8, 8)
    if size == (8, 8):
        assert shown_file(data, tmp_path / "fog/1/ant/a.png")
    told = any("not resized or cropped again" in note for note in data.notes)
    assert told == (size == (8, 8))


def test_twins_of_the_same_size_are_treated_alike(tmp_path: Path) -> None:
    for cell in ("clean", "fog/1"):
        for kind in ("ant", "bee"):
            picture(tmp_path / cell / kind / "a.png", (8, 8))
    data = Prepared(tmp_path, resize=10, crop=8)
    data.shown_size()
    assert not shown_file(data, tmp_path / "fog/1/ant/a.png")  # resized and cropped, as its twin
