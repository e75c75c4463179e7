"""Copies among the images of a folder, and between test and training, are counted and said."""

from pathlib import Path

from PIL import Image

from datamodules import ImageFolder


def test_copies_are_told(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        for name, colour in (("ant", 0), ("bee", 100)):
            for copy in range(3):
                file = tmp_path / split / name / f"{copy}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (colour + copy, number, 0)).save(file)
    data = ImageFolder(tmp_path)
    data.setup("test")
    data.setup("fit")
    assert not any("byte" in note for note in data.notes)

    test = tmp_path / "test"
    for name in ("copy.png", "again.png"):
        (test / "ant" / name).write_bytes((test / "ant" / "0.png").read_bytes())
    (test / "bee" / "a.png").write_bytes((test / "ant" / "1.png").read_bytes())
    (test / "bee" / "b.png").write_bytes((tmp_path / "train" / "bee" / "1.png").read_bytes())
    data = ImageFolder(tmp_path)
    data.setup("test")
    (note,) = [note for note in data.notes if "byte" in note]
    assert note == (
        "test: 3 of 10 files are copies of others, byte by byte, 1 of them under another class "
        "('ant/again.png' of 'ant/0.png'): each counts."
    )
    data.setup("fit")
    assert [note for note in data.notes if "learnt" in note] == [
        "1 of 10 test images were learnt from, as training or validation images, byte by byte."
    ]
