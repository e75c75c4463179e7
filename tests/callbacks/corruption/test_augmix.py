"""AugMix: every operation against torchvision, weights by their moments, the mixture as a whole."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from callbacks.corruption import CORRUPTIONS, AugMix
from callbacks.corruption.augmix import mixing_weights
from callbacks.corruption.augmix_operations import OPERATIONS
from callbacks.randomness import Draw
from datamodules.errors import UserError

SHAPES = [(3, 32, 32), (1, 28, 28), (3, 31, 47), (3, 1, 1), (1, 5, 64)]


def images(n: int = 12, shape: tuple[int, ...] = (3, 32, 32)) -> Tensor:
    """Smooth images with a reach of their own, in whole grey levels; the first is constant."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, shape[0], 4, 4, generator=generator)
    image = nn.functional.interpolate(coarse, shape[1:], mode="bilinear")
    image = image * torch.linspace(0, 1, n)[:, None, None, None]
    return (image * 255).round() / 255


def affine(image: Tensor, **given: object) -> Tensor:
    options = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0], **given}
    return tv.affine(image, **options, interpolation=InterpolationMode.BILINEAR)  # type: ignore


def sheared(image: Tensor, x: float, y: float) -> Tensor:
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return affine(image, shear=degrees, center=[0, 0])


# By name: torchvision's own, of one 8-bit image and the level; `int` is the script's rounding.
TWINS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "autocontrast": lambda image, _: tv.autocontrast(image),
    "equalize": lambda image, _: tv.equalize(image),
    "posterize": lambda image, level: tv.posterize(image, 4 - int(abs(level) * 0.4)),
    "solarize": lambda image, level: tv.solarize(image, 256 - int(abs(level) * 25.6)),
    "rotate": lambda image, level: tv.rotate(image, int(level * 3), InterpolationMode.BILINEAR),
    "shear_x": lambda image, level: sheared(image, 0.03 * level, 0),
    "shear_y": lambda image, level: sheared(image, 0, 0.03 * level),
    "translate_x": lambda image, level: affine(
        image, translate=[-int(level * image.shape[-1] / 30), 0]
    ),
    "translate_y": lambda image, level: affine(
        image, translate=[0, -int(level * image.shape[-2] / 30)]
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_operation_is_torchvisions(name: str, shape: tuple[int, ...]) -> None:
    image = images(shape=shape)
    level = torch.linspace(-9.9, 9.9, len(image))
    found = OPERATIONS[name](image, level)
    assert found.shape == image.shape
    assert found.dtype == image.dtype
    whole = (found * 255).round()
    assert torch.allclose(found * 255, whole, atol=1e-3), "whole grey levels"
    eight_bit = (image * 255).round().to(torch.uint8)
    twins = [TWINS[name](one, float(at)) for one, at in zip(eight_bit, level, strict=True)]
    # One grey level: torchvision truncates or rounds at other places.
    assert (whole - torch.stack(twins)).abs().max() <= 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_images_do_not_depend_on_each_other(name: str) -> None:
    image, level = images(), torch.linspace(-3, 3, 12)
    together = OPERATIONS[name](image, level)
    alone = [OPERATIONS[name](image[i : i + 1], level[i : i + 1]) for i in range(12)]
    assert torch.equal(together, torch.cat(alone))


def test_no_operation_is_a_test_corruption() -> None:
    assert not set(OPERATIONS) & set(CORRUPTIONS)
    assert not set(OPERATIONS) & {"color", "contrast", "brightness", "sharpness"}


@pytest.mark.parametrize("width", [1, 3, 5])
def test_weights_have_the_moments_of_their_distributions(width: int) -> None:
    weights, kept = mixing_weights(Draw(0, torch.arange(40_000)), width)
    assert torch.allclose(weights.sum(1), torch.ones(40_000), atol=1e-5)
    # Dirichlet(1): mean 1/w, variance (w - 1) / (w^2 (w + 1)); four standard errors of either.
    variance = (width - 1) / (width**2 * (width + 1))
    assert weights.mean(0) == pytest.approx(1 / width, abs=4 * (variance / 40_000) ** 0.5 + 1e-6)
    assert weights.var(0) == pytest.approx(variance, rel=0.05, abs=1e-9)
    assert float(kept.mean()) == pytest.approx(1 / 2, abs=4 * (1 / 12 / 40_000) ** 0.5)
    assert float(kept.var()) == pytest.approx(1 / 12, rel=0.05)
    joined = torch.cat([weights, kept[:, None]], 1)[:, [0, -1]].T
    assert width == 1 or abs(float(torch.corrcoef(joined)[0, 1])) < 0.02, "drawn independently"


@pytest.mark.parametrize("depth", [None, 1, 5])
def test_the_mixture_is_made_of_chains(depth: int | None) -> None:
    """By hand from the same draws: level, direction, length and operation of every image."""
    image, perturb = images(), AugMix(depth=depth)
    found = perturb(nn.Identity(), image, torch.zeros(12))
    draw, names = Draw(0, torch.arange(12)), list(OPERATIONS.values())
    weights, kept = mixing_weights(draw, 3)
    for i in range(12):
        one, mixture = image[i : i + 1], torch.zeros_like(image[:1])
        for chain in range(3):
            part = one
            length = depth or int(draw.uniform("depth", chain, ())[i] * 3) + 1
            for step in range(length):
                at = chain * (depth or 3) + step
                level = 0.1 + 2.9 * draw.uniform("level", at, ())[i : i + 1]
                level = level if draw.uniform("direction", at, ())[i] < 0.5 else -level
                part = names[int(draw.uniform("operation", at, ())[i] * 9)](part, level)
            mixture = mixture + weights[i, chain] * part
        assert torch.allclose(found[i : i + 1], (1 - kept[i]) * one + kept[i] * mixture, atol=1e-6)
    assert not torch.equal(found, perturb(nn.Identity(), image, torch.zeros(12))), "another call"


def test_it_disturbs_about_as_much_as_torchvisions() -> None:
    """In distribution only: torchvision scales its levels in another way."""
    torch.manual_seed(0)
    image = images(60)[10:].repeat(4, 1, 1, 1)
    ours = AugMix()(nn.Identity(), image, torch.zeros(200)) - image
    eight_bit = (image * 255).round().to(torch.uint8)
    theirs = torch.stack([v2.AugMix(severity=3, all_ops=False)(one) for one in eight_bit])
    change = [
        (part.float()).square().mean((1, 2, 3)).sqrt() for part in (ours, theirs / 255 - image)
    ]
    assert 0.5 < float(change[0].mean() / change[1].mean()) < 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"severity": 0}, "`severity` in"),
        ({"severity": 11}, "`severity` in"),
        ({"width": 0}, "`width` of at least 1"),
        ({"depth": 0}, "`depth` of at least 1"),
        ({"consistency": -1}, "`consistency` of at least 0"),
        ({"consistency": math.inf}, "`consistency` of at least 0"),
    ],
)
def test_mistakes(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        AugMix(**options)
