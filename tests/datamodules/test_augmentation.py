import pytest
import torch
import torchvision.transforms.v2.functional as TF
from torch import Generator, Tensor

from datamodules.augmentation import AUGMENTATIONS, random_crop, random_flip


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(200, 3, 6, 5, generator=seeded())


def test_a_crop_is_one_of_torchvisions(image: Tensor) -> None:
    """Each image equals torchvision's pad and crop at some place, and the places differ."""
    cropped = random_crop(image, seeded(), padding=2)
    padded = TF.pad(image, [2])
    tops = range(5)
    places = {(top, left): TF.crop(padded, top, left, 6, 5) for top in tops for left in tops}
    used = []
    for row, one in enumerate(cropped):
        fits = [place for place, crops in places.items() if torch.equal(crops[row], one)]
        assert len(fits) == 1
        used += fits
    assert set(used) == set(places)


def test_about_half_is_flipped(image: Tensor) -> None:
    flipped = random_flip(image, seeded())
    same = (flipped == image).flatten(1).all(1)
    mirrored = (flipped == TF.horizontal_flip(image)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < int(mirrored.sum()) < 130


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_the_generator_decides(augment: object, image: Tensor) -> None:
    before = torch.get_rng_state()
    once, again = augment(image, seeded(7)), augment(image, seeded(7))  # type: ignore[operator]
    assert torch.equal(once, again)
    assert once.shape == image.shape
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_on_a_gpu(image: Tensor) -> None:
    generator = Generator("cuda").manual_seed(0)
    moved = AUGMENTATIONS["crop_flip"](image.cuda(), generator)
    assert moved.is_cuda
    assert moved.shape == image.shape
