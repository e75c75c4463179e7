"""Options of single data sets, and pairs that are impossible."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules import Digits, UserError
from pipelines import transfer
from pipelines.report.result import load_result
from pipelines.study.data_options import with_data_options

Assay = Callable[..., tuple[int, str, str]]
QUICK = "--fractions 20 --limit 60 --min_steps 2 --trainer.max_epochs 1 --tracking.enabled false"

MOVED: dict[str, tuple[str, list[object]]] = {
    "none": ("--data MNIST Digits", ["MNIST", "Digits"]),
    "one": (
        "--data MNIST:/m Digits --data.MNIST.resize 16 --seed 1",
        [{"class_path": "MNIST", "init_args": {"root": "/m", "resize": 16}}, "Digits"],
    ),
    "all": (
        "--data.augment=crop --data MNIST Digits",
        [{"class_path": n, "init_args": {"augment": "crop"}} for n in ("MNIST", "Digits")],
    ),
    "folder": (
        "--data ImageFolder:a/x ImageFolder:a/y --data.y.crop 8",
        ["ImageFolder:a/x", {"class_path": "ImageFolder", "init_args": {"root": "a/y", "crop": 8}}],
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_options_go_to_their_data_set(case: str) -> None:
    words, wanted = MOVED[case]
    moved = with_data_options(words.split())
    place = moved.index("--data")
    found = json.loads(moved[place + 1]) if moved[place + 1][0] == "[" else moved[place + 1 :]
    assert found == wanted


MISTAKES = {
    "--data MNIST --data.Digits.resize 8": "--data has no 'Digits'",
    "--data MNIST --data.reize 8": "Did you mean 'resize'",
    "--data MNIST --data.resize big": "--data.resize big",
    "--data MNIST --data.augment crops": "crop_flip",
    "--data.resize 8": "without --data",
    "--data MNST --data.resize 8": "Did you mean 'MNIST'",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(words: str) -> None:
    with pytest.raises(UserError, match=MISTAKES[words]):
        with_data_options(words.split())


def test_an_impossible_pair_is_one_failed_cell(assay: Assay, home: Path, lenet: Path) -> None:
    """The network takes the size that it is built for; 16 pixels are none for its first layer."""
    (home / "sixteen.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    line = f"transfer --models checkpoint:{lenet} python:sixteen:make --arch lenet none "
    line += f"--data Digits --data.resize 16 --modes probe {QUICK}"
    code, out, err = assay(*line.split())
    assert (code, "Traceback" in err) == (0, False), out + err
    assert "Plan: 2 cells" in out
    assert "FAILED   make on Digits" in out
    assert "cannot answer images of 1x16x16" in out
    assert "--data.Digits.resize" in out
    assert "1 of 3 cells failed" in out
    (folder,) = (file.parent for file in home.glob("mlruns/results/*/result.json"))
    result = load_result(folder)
    assert [o.status for o in result.grid.outcomes] == ["ok", "ok", "failed"]  # type: ignore[attr-defined]
    code, out, err = assay(*line.replace(f"checkpoint:{lenet}", "").replace("lenet ", "").split())
    assert (code, "cannot answer images" in err) == (2, True), "nothing is possible: refused"


def test_augmentation_and_size_act(lenet: Path, home: Path) -> None:
    losses = []
    for options in ({}, {"augment": "crop"}, {"resize": 20}):
        matrix = transfer(
            [f"checkpoint:{lenet}"], [Digits(**options)], ["full"], fractions=["20"], limit=60,  # type: ignore[arg-type]
            min_steps=2, arch=["lenet"], trainer={"max_epochs": 1},
        )  # fmt: skip
        assert matrix is not None
        losses.append(matrix.to_frame().set_index("mode")["loss"]["full"])
    assert len(set(losses)) == 3


def test_options_without_a_use_are_told(lenet: Path, home: Path) -> None:
    matrix = transfer(
        [f"checkpoint:{lenet}"], [Digits(batch_size=7)], fractions=["20"], limit=60,
        arch=["lenet"],
    )  # fmt: skip
    assert matrix is not None
    assert any("`batch_size` of Digits is not used" in note for note in matrix.about.notes)
