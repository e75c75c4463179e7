"""Tables, tars, Arrow files and objects give what a folder of the same pictures gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules import ImageDataModule, ImageFolder

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
