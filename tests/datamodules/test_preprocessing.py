import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import ResNet18_Weights
from torchvision.transforms.functional import pil_to_tensor
from torchvision.transforms.v2 import functional as TF

from datamodules import Preprocessing, UserError
from datamodules.preprocessing import converted, in_unit_range

GREY = {"channels": 1, "mean": (0.5,), "std": (0.5,)}


def noise(height: int, width: int, channels: int = 3) -> Tensor:
    """Smooth noise, as photographs are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, channels, 8, 8, generator=generator) * 255
    size = (height, width)
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0].byte()


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (256, 256), (230, 500)])
def test_equals_the_transform_of_the_weights(size: tuple[int, int]) -> None:
    """torchvision's own transform of a published model, on a PIL image; one grey level of 255."""
    image = noise(*size)
    theirs = ResNet18_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(values)[:, None, None] for values in (theirs.mean, theirs.std))
    expected = theirs(Image.fromarray(image.permute(1, 2, 0).numpy())) * std + mean
    ours = Preprocessing(resize=256, crop=224).apply(image)
    assert ours.dtype == torch.uint8
    assert (in_unit_range(ours) - expected).abs().max() <= 1.01 / 255


def test_a_batch_is_as_its_images() -> None:
    images = torch.stack([noise(60, 80), noise(60, 80).flip(2)])
    preprocessing = Preprocessing(resize=(32, 40), crop=28)
    batch = preprocessing.apply(images)
    assert torch.equal(batch, torch.stack([preprocessing.apply(image) for image in images]))
    assert batch.shape == (2, 3, 28, 28)


def test_no_change_is_no_copy() -> None:
    image = noise(28, 28)
    assert Preprocessing(resize=28, crop=28).apply(image).data_ptr() == image.data_ptr()


def test_grey_and_colour_are_those_of_pillow() -> None:
    image = noise(30, 40)
    pil = Image.fromarray(image.permute(1, 2, 0).numpy())
    grey = converted(image, 1)
    assert torch.equal(grey, pil_to_tensor(pil.convert("L")))
    assert torch.equal(converted(grey, 3), grey.repeat(3, 1, 1))


def test_survives_json() -> None:
    kept = Preprocessing(resize=(40, 50), crop=32, interpolation="bicubic")
    assert Preprocessing.from_dict(json.loads(json.dumps(kept.as_dict()))) == kept


SIZES = [(30, 40), (40, 30), (33, 77), (1, 7), (7, 1), (224, 333), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", [2, 7, 32, (5, 9)])
def test_the_resized_size_is_torchvisions(size: tuple[int, int], resize: int | tuple) -> None:
    image = torch.zeros(3, *size, dtype=torch.uint8)
    theirs = TF.resize(image, [resize] if isinstance(resize, int) else list(resize)).shape[1:]
    preprocessing = Preprocessing(resize=resize)
    assert preprocessing.resized_size(*size) == tuple(theirs)
    assert preprocessing.apply(image).shape[1:] == theirs


def test_a_strip_that_would_fill_the_memory_is_refused() -> None:
    strip = torch.zeros(3, 1, 4000, dtype=torch.uint8)
    assert Preprocessing(resize=32, crop=32).apply(strip).shape == (3, 32, 32)
    message = r"at most 178,956,970 pixels, but one of 1x4000 .* comes to 256x1024000: take it away"
    with pytest.raises(UserError, match=message):
        Preprocessing(resize=256, crop=224).apply(strip)


REFUSED = {
    "channels": ({"channels": 4}, "Expected `channels` to be 1 or 3, but got 4."),
    "mean": ({"channels": 1}, r"Expected `mean` and `std` of 1 channel\(s\), but got"),
    "interpolation": ({"interpolation": "lanczos"}, "one of nearest, .*, but got 'lanczos'."),
    "resize": ({"resize": 0}, "Expected `resize` to be at least 1, but got 0."),
    "crop": ({"crop": -3}, "Expected `crop` to be at least 1, but got -3."),
    "crop over resize": ({"resize": 64, "crop": 224}, "got crop 224 and resize 64: give both"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preprocessing(**fields)


def test_refuses_images_smaller_than_the_crop() -> None:
    message = r"at least 224 pixels a side for the crop, but got 32x40 .*`--data.resize 224`"
    with pytest.raises(UserError, match=message):
        Preprocessing(crop=224).apply(noise(32, 40))


OUTSIDE = {
    "normalised": (torch.tensor([-2.1, 0.0, 2.6]), "from -2.1 to 2.6: scale them"),
    "0..255": (torch.tensor([0.0, 17, 255]), "from 0 to 255: scale them"),
    "not a number": (torch.tensor([0.0, np.nan, 1]), "from nan to nan"),
    "integers": (torch.tensor([0, 128, 255]), "from 0 to 255: scale them"),
}


@pytest.mark.parametrize(("image", "message"), OUTSIDE.values(), ids=OUTSIDE)
def test_refuses_values_outside_the_unit_range(image: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        in_unit_range(image)


def test_unit_range() -> None:
    assert in_unit_range(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == [
        0.0,
        pytest.approx(0.2),
        1.0,
    ]
    assert in_unit_range(torch.tensor([0, 0.5, 1], dtype=torch.float64)).dtype == torch.float32
