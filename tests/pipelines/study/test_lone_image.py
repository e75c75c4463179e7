"""A last batch of one image, from which batch norm cannot learn."""

from collections.abc import Callable
from pathlib import Path

import pytest

Assay = Callable[..., tuple[int, str, str]]
NETWORK = """
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
"""


@pytest.mark.parametrize(
    ("size", "code", "told"),
    [
        ("5", 0, "One of 51 training images, another in every epoch, is left out"),
        ("6", 0, ""),
        ("1", 2, "at least two images in every training batch"),
    ],
)
def test_none_is_alone(assay: Assay, home: Path, size: str, code: int, told: str) -> None:
    (home / "lone.py").write_text(NETWORK)
    answer, out, err = assay(
        *"fine-tune --model python:lone:net --data Digits --data.limit 51".split(),
        *"--evaluation none --trainer.max_epochs 1 --tracking.enabled false".split(),
        *("--data.batch_size", size),
    )  # fmt: skip
    assert answer == code, err
    assert told in out + err
    assert ("is left out" in out) == (size == "5")
