"""Tables, tars, Arrow files and objects give what a folder of the same pictures gives."""

import gzip
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from datamodules import (
    CSV,
    HFDataset,
    ImageDataModule,
    ImageFolder,
    Torchvision,
    UserError,
    WebDataset,
    open_data,
)
from datamodules.webdataset_index import expanded

NAMES = ("CSV", "WebDataset", "HFDataset", "Torchvision", "MAITE")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_same_as_a_folder_of_these_pictures(
    name: str, split: str, listed_case: Callable[[str], tuple[ImageDataModule, Path]]
) -> None:
    data, folder = listed_case(name)
    expected = ImageFolder(folder, num_workers=0)
    ours, theirs = data.images(split), expected.images(split)
    rows = list(range(len(theirs)))
    assert len(ours) == len(theirs)
    assert data.classes == expected.classes
    for one, other in zip(ours.__getitems__(rows), theirs.__getitems__(rows), strict=True):
        assert torch.equal(one, other)


def table(root: Path, *lines: str, name: str = "manifest.csv", start: str = "") -> CSV:
    """A table of six pictures in two classes, with further lines or others."""
    for row in range(6):
        Image.new("RGB", (8, 8), (40 * row, 0, 0)).save(root / f"{row}.png")
    (root / name).write_text(start + "\n".join(lines), encoding="utf-8")
    return CSV(root / name, num_workers=0)


LINES = [f"{row}.png,{'ab'[row % 2]},test" for row in range(6)]
HEADER = "path,label,split"


def test_a_table_of_a_spreadsheet(tmp_path: Path) -> None:
    """A byte order mark, quotes, spaces, an empty line, a repeated line, a word for a split."""
    lines = [HEADER, '0.png,"a, or not", Test', "1.png, b b ,test", "", "1.png,b b,test"]
    data = table(tmp_path, *lines, start="\ufeff")
    assert data.images("test").label.tolist() == [0, 1]
    assert data.classes == ("a, or not", "b b")
    assert "1 lines repeat others of 'manifest.csv': counted once." in data.notes


def test_a_header_in_capital_letters(tmp_path: Path) -> None:
    data = table(tmp_path, "Path,LABEL,Split", "0.png,None,test", "1.png,b,train", "2.png,b,train")
    assert data.images("test").index.tolist() == [0]
    assert data.classes == ("None", "b")


def test_a_table_that_points_outside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    table(tmp_path)
    lines = [HEADER, "../0.png,a,test", f"{tmp_path / '1.png'},b,test"]
    (tmp_path / "in" / "list.csv").write_text("\n".join(lines))
    data = CSV(tmp_path / "in" / "list.csv")
    assert data.images("test").label.tolist() == [0, 1]
    assert "2 images lie outside of the folder of 'list.csv'." in data.notes


def test_a_table_that_goes_up_from_a_link(tmp_path: Path) -> None:
    """As the system reads such a path: up from where the link leads."""
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    for folder, value in (("far", 77), (".", 200)):
        Image.new("L", (8, 8), value).save(tmp_path / folder / "x.png")
    (tmp_path / "list.csv").write_text(f"{HEADER}\nlink/../x.png,a,test")
    assert CSV(tmp_path / "list.csv").images("test")[0].image.unique().tolist() == [77]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0.png,a,test", "1.png,b,test"], "one column 'path' in the first line"),
        ([], "one column 'path' in the first line of .* but got nothing"),
        ([HEADER], "there are none"),
        ([HEADER, "0.png,a,holdout"], "train, val or test as the split in line 2 .* 'holdout'"),
        ([HEADER, "0.png,,test"], "in line 2"),
        ([HEADER, "0.png,a,b,test"], "quote what holds a delimiter"),
        ([HEADER, *LINES, "0.png,b,test"], "lines 2 and 8 give .* as 'a' in test and 'b' in test"),
        ([HEADER, *LINES, "gone.png,a,test"], "gone.png: missing"),
        ([HEADER, "0.png,1.0,test", "1.png,-1.0,test"], "from 0, but got '-1.0', the usual mark"),
        (
            [HEADER, "0.png,1,test", "1.png,1.0,test"],
            "one spelling of every class, but got '1' and '1.0'",
        ),
        ([HEADER, "0.png,1,test", "1.png,nan,test"], "'nan', the mark of a missing value"),
        (["path,label,Split,SPLIT", "0.png,a,test,test"], "Expected one column 'split'"),
    ],
)
def test_a_table_with_a_mistake(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(tmp_path, *lines).images("test")


def test_missing_and_corrupt_files_of_a_table_can_be_skipped(tmp_path: Path) -> None:
    data = table(tmp_path, HEADER, *LINES, "gone.png,a,test")
    data.on_corrupt = "skip"
    (tmp_path / "2.png").write_bytes(b"no image")
    assert data.images("test").index.tolist() == [0, 1, 3, 4, 5]
    assert data.skipped == ("2.png", "gone.png")


def tar(file: Path, *members: tuple[str, bytes]) -> Path:
    """Writes a tar of these files."""
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            told = tarfile.TarInfo(name)
            told.size = len(content)
            archive.addfile(told, BytesIO(content))
    return file


def png(level: int = 0) -> bytes:
    """A grey picture."""
    stream = BytesIO()
    Image.new("L", (8, 8), level).save(stream, "png")
    return stream.getvalue()


def test_tars_as_the_library_writes_and_streams_them(tmp_path: Path) -> None:
    library = pytest.importorskip("webdataset")
    with library.ShardWriter(f"{tmp_path}/test-%03d.tar", maxcount=3, verbose=0) as writer:
        for row in range(7):
            key, picture = f"dir.x/bild{row:02}ä", png(30 * row)
            writer.write({"__key__": key, "png": picture, "cls": row % 3, "info.txt": "beside"})
    data = WebDataset(Path(f"{tmp_path}/test-{{000..002}}.tar"))
    shards = sorted(map(str, tmp_path.glob("*.tar")))
    streamed = list(library.WebDataset(shards, shardshuffle=False).decode("pil"))
    batch = data.images("test").__getitems__(list(range(7)))
    assert batch.label.tolist() == [item["cls"] for item in streamed]
    for image, item in zip(batch.image, streamed, strict=True):
        assert torch.equal(image, pil_to_tensor(item["png"].convert("RGB")))
    assert data.classes_counted
    three = [Path(f"a-{end}") for end in ("08.tar", "08.tgz", "09.tar")]
    assert expanded("a-{08..11}.{tar,tgz}")[:3] == three


def test_labels_of_json_in_tars(tmp_path: Path) -> None:
    shard = tar(
        tmp_path / "test.tar",
        *(("./x.png", png()), ("./x.json", b'{"label": "b"}'), ("__meta__/y.png", b"")),
        *(("/abs/../é.PNG", png()), ("/abs/../é.json", b'{"label": "a"}')),
    )
    data = WebDataset(shard)
    assert sorted(data.classes[label] for label in data.images("test").label) == ["a", "b"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "there are none"),
        ([("a.png", png()), ("a.cls", b"0"), ("a.png", png())], "'a.png' is there twice"),
        ([("a.png", png())], "Expected a `.cls` or `.json` beside every image"),
        ([("a.cls", b"0")], "Expected one image of every sample, but 'a' in .* has none among cls"),
        ([("a.png", png()), ("a.cls", b"99999999999")], "labels below 1,000,000"),
        ([("a.png", png()), ("a.cls", b"\xff")], "The `.cls` of 'a' .* cannot be read"),
        ([("a.png", png()), ("a.json", b'{"label": 1, "cls": 1}')], "data.label_key"),
        ([("a.png", b""), ("a.cls", b"0")], "a.png: empty"),
        (
            [("a.png", png()), ("a.cls", b"-1"), ("b.png", png()), ("b.cls", b"0")],
            "numbers of classes from 0, but got '-1', the usual mark of an image without a label",
        ),
    ],
)
def test_a_tar_with_a_mistake(tmp_path: Path, members: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WebDataset(tar(tmp_path / "test.tar", *members)).images("test")


def test_labels_beyond_the_named_classes_of_tars(tmp_path: Path) -> None:
    (tmp_path / "classnames.txt").write_text("a\nb\n")
    tar(tmp_path / "test.tar", ("x.png", png()), ("x.cls", b"2"))
    with pytest.raises(UserError, match=r"labels 0 to 1 for the 2 classes, but 'x' in .* has 2"):
        WebDataset(tmp_path).images("test")


@pytest.mark.parametrize(("cut", "message"), [(700, "cannot be read as a tar"), (0, "as a tar")])
def test_broken_and_compressed_tars(tmp_path: Path, cut: int, message: str) -> None:
    shard = tar(tmp_path / "test.tar", ("x.png", bytes(2000)), ("x.cls", b"0"))
    content = shard.read_bytes()
    shard.write_bytes(content[:cut] if cut else gzip.compress(content))
    with pytest.raises(UserError, match=message):
        WebDataset(tmp_path).images("test")


def test_arrow_columns_and_labels_that_are_not_clear(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    image = [{"bytes": png(row), "path": None} for row in range(4)]
    kinds = {name: datasets.ClassLabel(names=["a", "b"]) for name in ("fine", "coarse")}
    features = datasets.Features({"image": datasets.Image(), **kinds})
    columns = {"image": image, "fine": [0, 1, 0, -1], "coarse": [0, 1, 1, 0]}
    made = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(test=made).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UserError, match=r"one column of ClassLabel, .* `--data.label_column`"):
        HFDataset(tmp_path / "saved").images("test")
    with pytest.raises(UserError, match=r"labels 0 to 1 .* got -1 to 1"):
        HFDataset(tmp_path / "saved", label_column="fine").images("test")
    (tmp_path / "parquet").mkdir()
    made.to_parquet(str(tmp_path / "parquet" / "test-00000-of-00001.parquet"))
    for folder in ("saved", "parquet"):
        data = HFDataset(tmp_path / folder, label_column="coarse")
        assert data.images("test").label.tolist() == columns["coarse"]
        assert data.classes == ("a", "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="but got neither"):
        HFDataset(tmp_path / "empty").images("test")


@pytest.mark.parametrize("saved", [True, False])
def test_splits_of_arrow_that_number_their_classes_by_themselves(
    tmp_path: Path, saved: bool
) -> None:
    datasets = pytest.importorskip("datasets")

    def made(names: list[str], labels: list[int]) -> Any:
        kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
        image = [{"bytes": png(row), "path": None} for row in range(len(labels))]
        columns = {"image": image, "label": labels}
        return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))

    def stored(folder: Path, **splits: Any) -> HFDataset:
        folder.mkdir()
        if saved:
            datasets.DatasetDict(splits).with_format("torch").save_to_disk(str(folder))
        else:
            for name, split in splits.items():
                split.to_parquet(str(folder / f"{name}.parquet"))
        return HFDataset(folder)

    train = made(["a", "b"], [0, 1, 0, 1])
    data = stored(tmp_path / "one", train=train, test=made(["b", "a"], [0, 1, 0]))
    assert [data.classes[label] for label in data.images("test").label] == ["b", "a", "b"]
    assert data.classes == ("a", "b")
    other = stored(tmp_path / "other", train=train, test=made(["b", "c"], [0, 1]))
    with pytest.raises(UserError, match="has b, c where another split has a, b"):
        other.images("test")


def test_torchvision_names_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'SVHN'"):
        Torchvision(Path(f"SVHM:{tmp_path}")).images("test")
    with pytest.raises(UserError, match="torchvision's KMNIST cannot be opened"):
        Torchvision(Path(f"KMNIST:{tmp_path}")).images("test")


class Given:
    """A MAITE data set of given images and targets."""

    def __init__(self, image: Any, target: Any, names: dict[int, str] | None = None) -> None:
        self.image, self.target = image, target
        self.metadata = {"id": "given", **({"index2label": names} if names else {})}

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, row: int, /) -> tuple[Any, Any, dict[str, int]]:
        return self.image[row], self.target[row], {"id": row}


EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given(torch.rand(3, 3, 8, 8) * 255, EYE), r"expected float in \[0, 1\], but got values"),
        (Given(torch.randn(3, 3, 8, 8), EYE), r"expected float in \[0, 1\], but got values"),
        (Given(torch.zeros(3, 3, 8, 8, dtype=torch.int16), EYE), "expected uint8, or float"),
        (Given(torch.rand(3, 8, 8, 3), EYE), "with 1 or 3 channels"),
        (Given(torch.rand(3, 3, 8, 8), [0, 1, 2]), "one-hot, not numbers"),
        (Given(torch.rand(3, 3, 8, 8), torch.ones(3, 3)), "one largest score in every target"),
        (Given(torch.rand(3, 3, 8, 8), EYE, {1: "a", 2: "b", 3: "c"}), "name the classes 0 to 2"),
        (Given([], []), "it is empty"),
        (Given(torch.rand(4, 3, 8, 8), EYE), "an item 3 of .*, as its length promises, .* Index"),
        (3, "a int has no `__getitem__`"),
    ],
)
def test_maite_data_that_are_none(
    given: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("given_to_assay")
    module.data = given  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "given_to_assay", module)
    with pytest.raises(UserError, match=message):
        open_data("maite:given_to_assay:data").images("test")
