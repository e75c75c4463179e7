"""Folders as people have them: which are splits, which are classes, which files count."""

import itertools
import os
import re
import unicodedata
from pathlib import Path

import pytest
import torchvision

from datamodules import ImageFolder, UserError
from datamodules.folder_names import is_image, ordered_classes, split_mentioned, split_named
from datamodules.images import FileImages

HEADER, NUMBERS = b"P5 2 2 255\n", itertools.count()


def image() -> bytes:
    """Another picture every time: of copies something is said."""
    return HEADER + bytes([0, 255]) + next(NUMBERS).to_bytes(2, "big")


def written(root: Path, names: str, each: int = 4) -> Path:
    """Makes files; a name that ends in "/" gets so many images, any other is a file itself."""
    for name in names.split():
        folder = root / name if name.endswith("/") else (root / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        files = range(each) if name.endswith("/") else [Path(name).name]
        for file in files:
            (folder / (f"{file}.pgm" if isinstance(file, int) else file)).write_bytes(image())
    return root


SPLIT_NAMES = {
    "train": "train Train TRAIN training Training_Set training-set trainset train_data "
    "train_images images_train trn traindata",
    "val": "val Val valid validation Validation_Set dev development VALID valset val_images",
    "test": "test Test TEST testing test_set test-set testset eval evaluation tst Test_Images",
    "": "cat trainer tested station bullet_train test_tube steam-train valley seg_train train2017 "
    "devil evaluator valve contest dev1",
}


def test_names_of_splits() -> None:
    for split, names in SPLIT_NAMES.items():
        assert {name: split_named(name) for name in names.split()} == dict.fromkeys(
            names.split(), split or None
        )
    assert [split_mentioned(n) for n in ("seg_train", "test2017", "my.val", "trainer", "cat")] == [
        *("train", "test", "val", None, None)
    ]


# what there is, which folder each split is read from, classes, parts of the notes
LAYOUTS: dict[str, tuple[str, dict[str, str], str, list[str]]] = {
    "three": (
        "train/a/ train/b/ val/a/ val/b/ test/a/ test/b/",
        {"train": "train", "val": "val", "test": "test"},
        "a b",
        [],
    ),
    "capitals": (
        "Train/a/ Train/b/ Test/a/ Test/b/",
        {"train": "Train", "test": "Test"},
        "a b",
        ["`Train` holds the training images.", "`Test` holds the test images."],
    ),
    "sets": (
        "training_set/a/ training_set/b/ test_set/a/ test_set/b/",
        {"train": "training_set", "test": "test_set"},
        "a b",
        ["`training_set` holds the training images.", "`test_set` holds the test images."],
    ),
    "valid": (
        "train/a/ train/b/ valid/a/ valid/b/ test/a/ test/b/",
        {"train": "train", "val": "valid", "test": "test"},
        "a b",
        ["`valid` holds the validation images."],
    ),
    "dev as test": (
        "train/a/ train/b/ dev/a/ dev/b/",
        {"train": "train", "test": "dev"},
        "a b",
        ["`dev` holds the validation images.", "There is no folder `test`: `dev` is the test set."],
    ),
    "unlabelled test images": (
        "train/a/ train/b/ val/a/ val/b/ test/",
        {"train": "train", "test": "val"},
        "a b",
        [
            "`test` is not used: it holds images without class folders, so no labels.",
            "There is no folder `test`: `val` is the test set.",
        ],
    ),
    "an empty test folder": (
        "train/a/ train/b/ val/a/ val/b/ test/readme.txt",
        {"train": "train", "test": "val"},
        "a b",
        ["`test` holds no images.", "`val` is the test set."],
    ),
    "one folder round it": (
        "pets/a/ pets/b/ __MACOSX/pets/._x.jpg",
        {"train": "pets", "test": "pets"},
        "a b",
        ["The data are in `pets`.", "Split at random: 20% for testing (seed 0)."],
    ),
    "two folders round it": (
        "archive/data/Train/a/ archive/data/Train/b/ archive/data/Test/a/ archive/data/Test/b/",
        {"train": "archive/data/Train", "test": "archive/data/Test"},
        "a b",
        ["The data are in `archive/data`.", "`Test` holds the test images."],
    ),
    "a folder in each split": (
        "train/train/a/ train/train/b/ test/test/a/ test/test/b/",
        {"train": "train/train", "test": "test/test"},
        "a b",
        ["`train/train` holds the training images."],
    ),
    "classes named like splits": (
        "bus/ train/ car/",
        {"train": ".", "test": "."},
        "bus car train",
        ["`train` is taken for a class, though it is named like a split."],
    ),
    "two trains as classes": ("bullet_train/ freight_train/", {"test": "."}, "bullet_train "
    "freight_train", []),
    "hidden, empty and loose": (
        "test/a/ test/b/ test/.ipynb_checkpoints/ test/@eaDir/ test/c/readme.txt test/x.png "
        "test/.DS_Store",
        {"test": "test"},
        "a b",
        [
            "Not used in `test`: .ipynb_checkpoints, @eaDir, c (no images), 1 image(s) outside of "
            "class folders."
        ],
    ),
    "hidden inside a class": (
        "test/a/ test/b/ test/a/.ipynb_checkpoints/ test/a/.0.png test/b/__MACOSX/",
        {"test": "test"},
        "a b",
        [],
    ),
    "a class that one split has no image of": (
        "train/a/ train/b/ train/c/ test/a/ test/b/ test/c/readme.txt",
        {"train": "train", "test": "test"},
        "a b c",
        ["`test` has no image of c."],
    ),
    "more folders than splits": (
        "train/a/ train/b/ test/a/ test/b/ extra/a/ labels/list.csv",
        {"train": "train", "test": "test"},
        "a b",
        ["`extra` is not used: its name is that of no split."],
    ),
    "nested classes": (
        "test/a/x/ test/a/y/ test/a/ test/b/",
        {"test": "test"},
        "a b",
        [],
    ),
    "folds": (
        "fold1/a/ fold1/b/ fold2/a/ fold2/b/",
        {"test": "."},
        "fold1 fold2",
        ["Every class folder holds the same folders (a, b): if these are the classes"],
    ),
    "other files": (
        "test/a/ test/b/ test/a/notes.TXT test/a/x.npy test/b/z.GIF test/b/noend",
        {"test": "test"},
        "a b",
        [
            "In `test`: 3 file(s) without an image's name, left out (.npy, .txt, none).",
            "In `test`: 1 image(s) that torchvision's ImageFolder leaves out, used (.gif).",
        ],
    ),
    "numbers": (
        " ".join(f"test/{n}/" for n in range(12)),
        {"test": "test"},
        "0 1 2 3 4 5 6 7 8 9 10 11",
        ["in the order of their numbers (0, 1, 2, ...), not in that of text (0, 1, 10, ...)"],
    ),
    "padded numbers": (
        " ".join(f"test/{n:02}/" for n in range(12)),
        {"test": "test"},
        "00 01 02 03 04 05 06 07 08 09 10 11",
        [],
    ),
    "names with numbers": (
        "test/c1/ test/c10/ test/c2/",
        {"test": "test"},
        "c1 c10 c2",
        [],
    ),
    "capitals make classes": ("test/A/ test/a/ test/B/", {"test": "test"}, "A B a", []),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, tmp_path: Path) -> None:
    names, splits, classes, notes = LAYOUTS[name]
    data = ImageFolder(written(tmp_path, names))
    assert list(data.classes) == classes.split()
    for split, folder in splits.items():
        images = data.load(split)
        assert images.root == tmp_path / folder
        theirs = {str(file.relative_to(images.root)) for file in images.files}
        assert all(name.split("/")[0] in data.classes for name in theirs)
        assert not any("/." in f"/{name}" or "__MACOSX" in name for name in theirs)
        for file, label in zip(images.files, images.label.tolist(), strict=True):
            assert file.relative_to(images.root).parts[0] == data.classes[label]
    assert data.has_val == ("val" in splits)
    said = [note for note in data.notes if not note.startswith(("Validation:", "Split at"))]
    wanted = [note for note in notes if not note.startswith("Split at")]
    for note in wanted:
        assert any(note in given for given in data.notes), (note, data.notes)
    if name not in ("hidden inside a class",):
        assert len(said) >= len(wanted)
    if not notes:
        assert said == []


REFUSED: dict[str, tuple[str, str]] = {
    "two training folders": (
        "train/a/ train/b/ training/a/ training/b/ test/a/ test/b/",
        "Expected one folder of training images in 'ROOT', but got 'train' and 'training': take "
        "one away, or join them.",
    ),
    "two test folders": (
        "Test/a/ Test/b/ eval/a/ eval/b/",
        "Expected one folder of test images in 'ROOT', but got 'Test' and 'eval': take one away, "
        "or join them.",
    ),
    "no labels": (
        "train/ test/",
        "Expected a folder a class in 'test' and 'train' of 'ROOT', but they hold images without "
        "class folders, so without labels: sort the images into a folder a class.",
    ),
    "only train": (
        "Training/a/ Training/b/ test/",
        "Expected a folder `test` or `val` in 'ROOT' beside `Training`: add one, or give "
        "`--data.root ROOT/Training` to split that one at random. `test` is not used: it holds "
        "images without class folders, so no labels.",
    ),
    "prefixed": (
        "seg_train/a/ seg_train/b/ seg_test/a/ seg_test/b/ seg_pred/",
        "The folders 'seg_test' and 'seg_train' in 'ROOT' hold folders and look like splits: "
        "rename them to train, val and test, or name one of them with `--data.root`.",
    ),
    "with years": (
        "train2017/a/ train2017/b/ val2017/a/ val2017/b/",
        "The folders 'train2017' and 'val2017' in 'ROOT' hold folders and look like splits: rename "
        "them to train, val and test, or name one of them with `--data.root`.",
    ),
    "classes first": (
        "a/train/ a/test/ b/train/ b/test/",
        "Expected splits that hold class folders in 'ROOT', but got class folders that hold splits "
        "('a/test' and 'a/train'): turn train/CLASS and CLASS/train round.",
    ),
    "other classes": (
        "Train/a/ Train/b/ Test/a/ Test/c/",
        "Expected the same class folders in 'ROOT/Train' and 'ROOT/Test', but only 'Train' has b, "
        "only 'Test' has c.",
    ),
    "capitals between splits": (
        "train/Cat/ train/dog/ test/cat/ test/dog/",
        "Expected the same class folders in 'ROOT/train' and 'ROOT/test', but only 'train' has "
        "Cat, only 'test' has cat; they differ in capital letters: rename them.",
    ),
    "one name composed in two ways": (
        f"test/a/ test/{unicodedata.normalize('NFC', 'é')}/ "
        f"test/{unicodedata.normalize('NFD', 'é')}/",
        r"The folders 'e\u0301' and '\xe9' in 'ROOT/test' have one name, 'é', composed in two "
        "ways: join them, or rename one.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_layouts(name: str, tmp_path: Path) -> None:
    names, message = REFUSED[name]
    written(tmp_path, names)
    with pytest.raises(UserError) as error:
        ImageFolder(tmp_path).setup("test")
    assert str(error.value).replace(str(tmp_path), "ROOT") == message


def test_the_order_of_torchvision_on_request(tmp_path: Path) -> None:
    """A model trained with torchvision's ImageFolder has its classes in the order of text."""
    written(tmp_path, " ".join(f"test/{n}/" for n in range(12)), each=2)
    theirs = torchvision.datasets.ImageFolder(tmp_path / "test")
    data = ImageFolder(tmp_path, class_order="text")
    images = data.load("test")
    assert list(data.classes) == theirs.classes
    assert [
        (str(f), label) for f, label in zip(images.files, images.label.tolist(), strict=True)
    ] == (theirs.samples)
    assert data.manifest_digest() != ImageFolder(tmp_path).manifest_digest()
    assert ordered_classes({"10": "10", "9": "9", "01": "01", "1": "1"}, "number") == (
        *("01", "1", "9", "10"),
    )
    assert ordered_classes({n: n for n in ("10.0", "2.0")}, "number") == ("2.0", "10.0")
    with pytest.raises(UserError, match="got '-1', the usual mark of an image without a label"):
        ordered_classes({n: n for n in ("0", "-1", "1")}, "number")
    assert ordered_classes({n: n for n in ("0", "-1")}, "text") == ("-1", "0")


def test_letters_composed_differently_in_two_splits(tmp_path: Path) -> None:
    """As macOS and Linux write them: one class."""
    for split, form in (("train", "NFD"), ("test", "NFC")):
        written(tmp_path, f"{split}/a/ {split}/{unicodedata.normalize(form, 'füchse')}/")  # type: ignore[arg-type]
    data = ImageFolder(tmp_path)
    assert data.classes == ("a", unicodedata.normalize("NFC", "füchse"))
    assert (
        data.load("train").label.tolist() == data.load("test").label.tolist() == [0] * 4 + [1] * 4
    )


def test_names_of_any_bytes(tmp_path: Path) -> None:
    written(tmp_path, "test/a/ test/b/")
    names = [
        "h\udcfcndchen.pgm",
        "hündchen 犬.pgm",
        "a\nb.pgm",
        "smile 🙂.pgm",
        " .pgm",
        "-x.pgm",
        "%20#?.pgm",
    ]
    for name in names:
        (tmp_path / "test" / "a" / name).write_bytes(image())
    bad = ("broken \udcff.png", "broken\n.png")
    for name in bad:
        (tmp_path / "test" / "a" / name).write_bytes(b"x")
    data = ImageFolder(tmp_path, on_corrupt="skip")
    assert len(data.images("test")) == 8 + len(names)
    assert data.skipped == ("test/a/broken\\n.png", "test/a/broken \\xff.png")
    data.manifest_digest()
    str(data.manifest()).encode()  # can be printed and stored
    with pytest.raises(UserError, match=r"broken\\n.png: not an image") as error:
        ImageFolder(tmp_path).setup("test")
    str(error.value).encode()


def test_classes_of_any_bytes(tmp_path: Path) -> None:
    written(tmp_path, "test/a/ test/b\udcfc/ train/a/ train/b\udcfc/")
    data = ImageFolder(tmp_path)
    assert data.classes == ("a", "b\\xfc")
    assert data.images("test").label.bincount().tolist() == [4, 4]


def files(root: Path) -> tuple[list[str], list[str]]:
    data = ImageFolder(root)
    images = data.images("test")
    assert isinstance(images, FileImages)
    return [str(f.relative_to(root / "test")) for f in images.files], data.notes


@pytest.mark.parametrize("target", ["..", "../..", ".", "../../../.."])
def test_a_link_loop_adds_nothing(target: str, tmp_path: Path) -> None:
    written(tmp_path, "test/a/deep/ test/b/")
    before, _ = files(tmp_path)
    (tmp_path / "test" / "a" / "deep" / "loop").symlink_to(target)
    after, notes = files(tmp_path)
    assert after == before
    assert notes == [
        "In `test`: 1 linked folder(s) that lead above or to one already seen, not followed."
    ]


def test_a_link_loop_is_no_class_and_no_split(tmp_path: Path) -> None:
    written(tmp_path, "test/a/ test/b/")
    (tmp_path / "test" / "loop").symlink_to("..")
    (tmp_path / "train").symlink_to(".")
    (tmp_path / "self").symlink_to("self")
    data = ImageFolder(tmp_path)
    assert data.classes == ("a", "b")
    assert len(data.images("test")) == 8
    assert data.notes == ["Not used in `test`: loop."]


def test_one_folder_for_two_splits_is_told(tmp_path: Path) -> None:
    written(tmp_path, "train/a/ train/b/")
    (tmp_path / "test").symlink_to("train")
    data = ImageFolder(tmp_path)
    data.setup("test")
    assert data.notes == ["`train` and `test` are one folder, by a link."]


def test_a_class_without_images_is_no_folder_round_the_data(tmp_path: Path) -> None:
    written(tmp_path, "cats/tabby/ cats/tom/")
    (tmp_path / "dogs").mkdir()
    with pytest.raises(UserError, match=r"at least two with images.* got cats, dogs \(no images\)"):
        ImageFolder(tmp_path).setup("test")


def test_the_folder_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "Test/a/ Test/b/")
    monkeypatch.chdir(tmp_path)
    relative, absolute = ImageFolder(Path()), ImageFolder(tmp_path)
    assert relative.manifest_digest() == absolute.manifest_digest()
    assert relative.notes == ["`Test` holds the test images."]
    monkeypatch.chdir(tmp_path / "Test")
    assert ImageFolder(Path("..")).manifest_digest() == absolute.manifest_digest()


def test_a_linked_file_counts_once(tmp_path: Path) -> None:
    written(tmp_path, "test/a/ test/b/ .elsewhere/x.pgm")
    folder = tmp_path / "test" / "a"
    (folder / "1 again.pgm").symlink_to("1.pgm")
    os.link(folder / "2.pgm", folder / "2 again.pgm")
    (folder / "7.pgm").symlink_to(tmp_path / ".elsewhere" / "x.pgm")
    found, notes = files(tmp_path)
    assert len(found) == 9
    assert "a/7.pgm" in found
    assert notes == ["In `test`: 2 file(s) linked to others of their class, counted once."]


def test_a_linked_class_folder_is_a_class(tmp_path: Path) -> None:
    """In both splits, as in a layout of links to one place."""
    written(tmp_path, "store/a/ store/b/")
    for split in ("Train", "Test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for name in "ab":
            (tmp_path / "data" / split / name).symlink_to(tmp_path / "store" / name)
    data = ImageFolder(tmp_path / "data")
    assert data.classes == ("a", "b")
    assert len(data.images("test")) == 8


def test_a_file_in_two_classes_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "test/a/ test/b/")
    (tmp_path / "test" / "a" / "more").symlink_to("../b")
    message = (
        re.escape("a/more/0.pgm' and '") + ".*b/0.pgm' are one file, by a link, in two classes"
    )
    with pytest.raises(UserError, match=message):
        ImageFolder(tmp_path).setup("test")


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, as the tests may run for a user who may read everything."""
    written(tmp_path, "test/a/ test/b/")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"test/b' cannot be listed \(Permission denied\)"):
        ImageFolder(tmp_path).setup("test")


def test_names_of_images() -> None:
    assert all(map(is_image, ["a.PNG", "b.JpEg", "c.tiff", "d.gif", "e.HEIC", " .jpg"]))
    assert not any(map(is_image, ["._a.jpg", "a.txt", "png", "a.png.txt", ".png"]))


def test_images_of_several_sizes_are_refused_before_some_are_taken(tmp_path: Path) -> None:
    folder = written(tmp_path, "test/a/ test/b/")
    (folder / "test" / "a" / "wide.pgm").write_bytes(b"P5 3 2 255\n" + bytes(range(6)))
    with pytest.raises(UserError, match=r"images of one size, but got 2x2 .* and 2x3 "):
        ImageFolder(folder).taken("test", 9)
