"""The founding documents' examples are the commands that docs/recipes.md says, and they run."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"
BLOCK = re.compile(r"```\n(assay .*?)```", re.DOTALL)
# Nothing can be downloaded in a test, so that the weights are random; the rest is as documented.
RANDOM = [(f"torchvision:resnet{depth}", f"torchvision:resnet{depth}@none") for depth in (18, 50)]
FEW = (
    "--data.num_workers 0 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 "
    "--trainer.max_epochs 1 --evaluation none --trainer.enable_progress_bar false "
    "--tracking.enabled false"
).split()


def commands() -> list[str]:
    return [block.replace("\\\n", " ") for block in BLOCK.findall(PAGE.read_text())]


def pictures(folder: Path, splits: tuple[str, ...], count: int, side: int) -> Path:
    """Folders of random pictures of two classes."""
    chance = np.random.default_rng(0)
    for split in splits:
        for name in ("ants", "bees"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = chance.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_there_are_three() -> None:
    assert [command.split()[1] for command in commands()] == ["fine-tune", "fine-tune", "distill"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_examples_run(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    photos = pictures(tmp_path / "photos", ("train", "val"), 8, 240)
    frozen, alone, taught = commands()
    cifar = ["--data.root", str(shared_data / "cifar10"), "--data.limit", "64"]
    assert main([*words(frozen, photos), *cifar, *FEW]) == 0
    assert "optimizer Adam()" in capsys.readouterr().out  # 0.001 is torch's own rate
    assert main([*words(alone, photos), *FEW]) == 0
    said = capsys.readouterr().out
    assert "optimizer SGD(lr=0.01, momentum=0.9)" in said
    assert "scheduler StepLR(step_size=7)" in said
    teacher = said.rpartition("weights  ")[2].splitlines()[0]
    assert main([*words(taught, photos, teacher), *FEW]) == 0
    assert "scheduler StepLR(step_size=7)" in capsys.readouterr().out


def words(command: str, photos: Path, teacher: str = "") -> list[str]:
    """Of a documented command, with folders and weights that are there."""
    for written, here in (*RANDOM, ("FOLDER", str(photos)), ("TEACHER", teacher)):
        command = command.replace(written, here)
    return command.split()[1:]
