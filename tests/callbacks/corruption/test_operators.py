"""The operators of the corruptions against other libraries, loops by hand and closed forms."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor

from callbacks.corruption import CORRUPTIONS
from callbacks.corruption.constants import SIDES
from callbacks.corruption.defocus_blur import disc
from callbacks.corruption.edges import distance
from callbacks.corruption.elastic_transform import affine_sources
from callbacks.corruption.filters import correlated, gaussian_blurred
from callbacks.corruption.fog import plasma
from callbacks.corruption.frost import fractal_noise
from callbacks.corruption.glass_blur import sources
from callbacks.corruption.motion_blur import motion_blurred
from callbacks.corruption.shot_noise import poisson
from callbacks.corruption.spatter import equalised
from callbacks.corruption.zoom_blur import centre_zoom
from callbacks.randomness import Draw

FLAT = torch.full((64, 1, 64, 64), 102 / 255)


def draw(n: int) -> Draw:
    return Draw(0, torch.arange(n))


@pytest.fixture
def image() -> Tensor:
    """`(2, 3, 37, 50)` of 8 bits, coarse colours with grain."""
    coarse = draw(2).uniform("coarse", 0, (3, 5, 7))
    large = torch.nn.functional.interpolate(coarse, (37, 50), mode="bicubic")
    grain = 0.1 * draw(2).normal("grain", 0, (3, 37, 50))
    return (255 * (large + grain).clamp(0, 1)).round() / 255


def levels(image: Tensor) -> np.ndarray:
    """`(N, H, W, C)` grey levels, as other libraries have them."""
    return (255 * image).round().byte().movedim(1, -1).squeeze(-1).numpy()


def corrupted(name: str, image: Tensor, severity: int, side: int | None = None) -> np.ndarray:
    return levels(CORRUPTIONS[name]()(image, severity, draw(len(image)), side)).astype(int)


# -- exact twins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(37, 50), (16, 16), (3, 4), (8, 5)], ids=str)
def test_jpeg_is_libjpegs(image: Tensor, size: tuple[int, int], channels: int) -> None:
    part = image[:1, :channels, : size[0], : size[1]]
    for severity, side in ((1, 32), (3, 64), (1, 224), (5, 224), (5, 299)):
        (quality,) = CORRUPTIONS["jpeg_compression"].constants.at(severity, side)
        file = io.BytesIO()
        Image.fromarray(levels(part)[0]).save(file, "JPEG", quality=round(quality))
        got = corrupted("jpeg_compression", part, severity, side)[0]
        assert (got == np.asarray(Image.open(file))).all()


@pytest.mark.parametrize("severity", [1, 2, 5])
@pytest.mark.parametrize("side", SIDES)
def test_pixelate_is_pillows(image: Tensor, severity: int, side: int) -> None:
    (factor,) = CORRUPTIONS["pixelate"].constants.at(severity, side)
    picture = Image.fromarray(levels(image)[0])
    small = picture.resize((int(50 * factor), int(37 * factor)), Image.Resampling.BOX)
    expected = np.asarray(small.resize((50, 37), Image.Resampling.BOX)).astype(int)
    assert abs(corrupted("pixelate", image[:1], severity, side)[0] - expected).max() <= 1
    # Pillow's weights are fixed-point numbers: thirds may fall on the other side of a half
    assert (corrupted("pixelate", image[:1], severity, side)[0] == expected).mean() > 0.99


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 6.0, 40.0])
@pytest.mark.parametrize(("border", "mode"), [("nearest", "nearest"), ("symmetric", "reflect")])
def test_gaussian_is_scipys(image: Tensor, sigma: float, border: str, mode: str) -> None:
    expected = ndimage.gaussian_filter(image.double().numpy(), (0, 0, sigma, sigma), mode=mode)
    got = gaussian_blurred(image, sigma, border)  # type: ignore[arg-type]
    assert np.allclose(got, expected, atol=2e-6)  # sums of float32


def test_correlation_is_scipys_with_a_kernel_for_each_image(image: Tensor) -> None:
    kernel = draw(2).uniform("kernel", 0, (9, 9)) / 81
    got = correlated(image, kernel, "mirror").numpy()
    for i in range(2):
        for channel in range(3):
            expected = ndimage.correlate(
                image[i, channel].numpy(), kernel[i].numpy(), mode="mirror"
            )
            assert np.allclose(got[i, channel], expected, atol=2e-6)  # a transform in float32


@pytest.mark.parametrize(("radius", "sigma"), [(0.3, 0.4), (3, 0.1), (6, 0.5), (10, 0.5)])
def test_disc_is_drawn_by_hand(radius: float, sigma: float) -> None:
    reach = 8 if radius <= 8 else 10
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    filled = (x**2 + y**2 <= radius**2).astype(float)
    smoothed = ndimage.gaussian_filter(
        filled / filled.sum(), sigma, mode="mirror", radius=1 if radius <= 8 else 2
    )
    assert np.allclose(disc(radius, sigma, FLAT)[0], smoothed, atol=1e-7)


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.12, 1.3, 4.5])
def test_zoom_is_scipys(image: Tensor, factor: float) -> None:
    height, width = image.shape[-2:]
    (top, rows), (left, columns) = (
        ((n - (k := int(np.ceil(n / factor)))) // 2, k) for n in (height, width)
    )
    part = image[0, 0, top : top + rows, left : left + columns].double().numpy()
    large = ndimage.zoom(part, factor, order=1)
    down, right = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    expected = large[down : down + height, right : right + width]
    assert np.allclose(centre_zoom(image, factor)[0, 0], expected, atol=1e-5)  # float32 positions


@pytest.mark.parametrize(
    ("severity", "side", "count", "largest"),
    [(1, 224, 12, 1.11), (3, 224, 11, 1.2), (5, 224, 11, 1.3), (1, 32, 7, 1.06), (5, 32, 26, 1.25)],
)
def test_zooms_are_counted_as_published(
    image: Tensor, severity: int, side: int, count: int, largest: float
) -> None:
    zooms = [centre_zoom(image, float(f)) for f in np.linspace(1, largest, count)]
    expected = 255 * (image + sum(zooms)) / (count + 1)  # type: ignore[operator]
    got = CORRUPTIONS["zoom_blur"]()(image, severity, draw(2), side)
    assert (255 * got - expected).abs().max() <= 1 + 1e-3  # truncated


@pytest.mark.parametrize("angle", [-135.0, -45.0, -10.0, 0.0, 33.3, 45.0])
def test_motion_trail_by_hand(angle: float) -> None:
    dots = torch.zeros(1, 1, 41, 41)
    dots[0, 0, 20, 20] = 1
    got = motion_blurred(dots, torch.tensor([angle]), radius=5, sigma=2)[0, 0].numpy()
    weight = np.exp(-0.5 * (np.arange(11) / 2) ** 2)
    expected = np.zeros((41, 41))
    for i, share in enumerate(weight / weight.sum()):  # a pixel sees the dot if it lies behind it
        column = int(np.ceil(i * np.cos(np.deg2rad(angle)) - 0.5))
        row = int(np.ceil(i * np.sin(np.deg2rad(angle)) - 0.5))
        expected[20 - row, 20 - column] += share
    assert np.allclose(got, expected, atol=1e-6)  # a transform in float32


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_glass_is_a_loop_of_copies(shift: int) -> None:
    height, width = 19, 23
    chance = draw(2).uniform("glass", shift, (2, height, width))
    place = np.arange(height * width).reshape(height, width)
    for sample in range(2):
        offset = (chance[sample] * 2 * shift).long().numpy() - shift
        expected = place.copy()
        for row in range(height - shift, shift, -1):
            for column in range(width - shift, shift, -1):
                x, y = offset[:, row, column]
                expected[row, column] = expected[row + y, column + x]
        assert (sources(chance, shift)[sample].numpy() == expected).all()


def test_elastic_map_moves_the_anchors() -> None:
    moved = 3 * draw(2).normal("anchors", 0, (3, 2))
    source = affine_sources(moved, 30, 30)
    for sample in range(2):
        for (x, y), by in zip([(25, 25), (25, 5), (5, 5)], moved[sample], strict=True):
            # where the anchor was moved to is read what stood at the anchor
            at = ndimage.map_coordinates(
                source[sample, 0].numpy(), [[y + by[1].item()], [x + by[0].item()]], order=1
            )
            if 0 <= x + by[0] <= 29 and 0 <= y + by[1] <= 29:
                assert at[0] == pytest.approx(x, abs=1e-3)


def test_elastic_without_jitter_is_scipys_displacement(image: Tensor) -> None:
    kind = CORRUPTIONS["elastic_transform"]
    operator: Callable[..., Tensor] = kind.__call__.__wrapped__  # type: ignore[attr-defined]
    got = operator(kind(), image, draw(2), 20.0, 3.0, 0.0)[1].numpy()
    noise = 2 * draw(2).uniform("elastic displacement", 0, (2, 37, 50))[1].numpy() - 1
    x, y = (20 * ndimage.gaussian_filter(part, 3, mode="reflect", truncate=3) for part in noise)
    rows, columns = np.mgrid[:37, :50]
    for channel in range(3):
        expected = ndimage.map_coordinates(
            image[1, channel].numpy(), [rows + y, columns + x], order=1, mode="reflect"
        )
        assert np.allclose(got[channel], expected, atol=1e-4)  # positions in float32


def test_distance_is_scipys() -> None:
    edge = draw(3).uniform("edge", 0, (1, 40, 33)) < 0.004
    got = distance(edge, 20).numpy()
    for i in range(3):
        expected = ndimage.distance_transform_edt(~edge[i, 0].numpy())
        assert np.allclose(got[i, 0], np.minimum(expected, 20), atol=1e-5)


# -- pixel by pixel, by hand -----------------------------------------------------------------------


def test_brightness_and_saturation_are_those_of_hsv(image: Tensor) -> None:
    import colorsys

    pixels = image[0].flatten(1).T[::37].tolist()
    for severity in (1, 3, 5):
        (added,) = CORRUPTIONS["brightness"].constants.at(severity, 32)
        factor, offset = CORRUPTIONS["saturate"].constants.at(severity, 32)
        brighter = corrupted("brightness", image[:1], severity, 32)[0].reshape(-1, 3)[::37]
        stronger = corrupted("saturate", image[:1], severity, 32)[0].reshape(-1, 3)[::37]
        for pixel, bright, strong in zip(pixels, brighter, stronger, strict=True):
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            expected = colorsys.hsv_to_rgb(h, s, min(v + added, 1))
            assert np.allclose(bright, np.floor(255 * np.array(expected) + 1e-3), atol=1)
            expected = colorsys.hsv_to_rgb(h, min(s * factor + offset, 1), v)
            assert np.allclose(strong, np.floor(255 * np.array(expected) + 1e-3), atol=1)


def test_grey_has_no_colour_to_saturate() -> None:
    assert torch.equal(CORRUPTIONS["saturate"]()(FLAT, 5, draw(64)), FLAT)


def test_contrast_by_hand(image: Tensor) -> None:
    pixels = levels(image).astype(float)
    mean = pixels.mean((1, 2), keepdims=True)
    expected = np.floor(np.clip((pixels - mean) * 0.1 + mean, 0, 255) + 1e-3)
    assert abs(corrupted("contrast", image, 4, 224) - expected).max() <= 1


def test_equalised_by_hand() -> None:
    grey = torch.tensor([3.0, 3, 7, 9, 9, 9, 200, 255]).view(1, 1, 2, 4)
    # six values lie above the lowest: 1, 4, 5 and 6 of them up to each level
    expected = [0, 0, *(round(255 * k / 6) for k in (1, 4, 4, 4, 5, 6))]
    assert equalised(grey).flatten().tolist() == expected
    assert torch.equal(equalised(torch.full((1, 1, 4, 4), 20.0)), torch.full((1, 1, 4, 4), 20.0))


# -- distributions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("photons", [3, 60, 500])
def test_photons_are_poissons(photons: int) -> None:
    grey = torch.tensor([0, 40, 255]).repeat_interleave(20000)
    count = poisson(grey, draw(len(grey)).uniform("photons", 0, ()), photons)
    assert not count[grey == 0].any()
    for level in (40, 255):
        mean = photons * level / 255
        seen = count[grey == level].numpy()
        edges = np.unique(stats.poisson.ppf(np.linspace(0.05, 0.95, 12), mean))
        share = np.array([(seen <= edge).mean() for edge in edges])
        # four standard errors of a share of 20,000
        assert abs(share - stats.poisson.cdf(edges, mean)).max() < 4 * 0.5 / 20000**0.5


@pytest.mark.parametrize(("name", "scale"), [("gaussian_noise", 0.08), ("speckle_noise", 0.06)])
def test_normal_noise_has_its_deviation(name: str, scale: float) -> None:
    grey, deviation = 102, 255 * (scale if name == "gaussian_noise" else 0.15 * 0.4)
    out = corrupted(name, FLAT, 1, 224)
    n = out.size
    assert out.mean() == pytest.approx(grey - 0.5, abs=5 * deviation / n**0.5)  # truncated
    assert out.std() == pytest.approx(deviation, rel=5 / (2 * n) ** 0.5 + 1e-3)


def test_salt_and_pepper_hit_equally_many() -> None:
    out = corrupted("impulse_noise", FLAT, 5, 224)
    for value in (0, 255):
        assert (out == value).mean() == pytest.approx(0.135, abs=5 * (0.135 / out.size) ** 0.5)
    assert set(np.unique(out)) == {0, 102, 255}


def test_clouds_have_the_spectrum_of_diamond_squares() -> None:
    clouds = plasma(draw(200), 32, 2.0)
    assert clouds.amin() == 0
    assert torch.equal(clouds.amax((1, 2)), torch.ones(200))
    # deviations fall fourfold an octave: power of the axes' waves 256 times in two octaves
    power = torch.fft.fft2(clouds).abs().square().mean(0)[:, 0]
    assert float(torch.log2(power[1] / power[4])) == pytest.approx(8, abs=4)


def test_frost_has_its_slope_and_variance() -> None:
    field = fractal_noise(draw(400).normal("frost", 0, (48, 48)), slope=1.8, between=0.1)
    # 400 independent means: 5 standard errors of a variance are 5 * sqrt(2 / 400)
    assert float(field.mean((1, 2)).var()) == pytest.approx(0.1, rel=0.36)
    assert float(field.var((1, 2), correction=0).mean()) == pytest.approx(0.9, rel=0.1)
    power = torch.fft.fft2(field).abs().square().mean(0)[0]
    slope = float(torch.log2(power[2] / power[16]) / 3)
    assert slope == pytest.approx(1.8, abs=0.15)


def test_fog_of_a_flat_image_stays_within_its_range() -> None:
    out = CORRUPTIONS["fog"]()(FLAT, 1, draw(64), 224)
    # x m / (m + w) to m, for clouds from 0 to 1
    assert out.amin() >= 102 / 255 * 102 / (102 + 1.5 * 255) - 1 / 255
    assert out.amax() <= 102 / 255
