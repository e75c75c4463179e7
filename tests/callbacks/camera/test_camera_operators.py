"""What cameras do against torchvision, scipy, closed forms and statistics."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from scipy import fft
from torch import Tensor
from torchvision.transforms import InterpolationMode

from callbacks.camera import CAMERAS
from callbacks.camera.geometric import Rotation, Scale, Translation, quadrangle
from callbacks.camera.h264_blocking import quantised
from callbacks.camera.light import encoded, linear
from callbacks.camera.rain import streaks
from callbacks.corruption.constants import SIDES
from callbacks.randomness import Draw

N = 6
DRAW = Draw(0, torch.arange(N))
BILINEAR = InterpolationMode.BILINEAR
LEVELS = (1, 2.5, 5)


@pytest.fixture
def image() -> Tensor:
    """`(6, 3, 36, 50)` of 8 bits, coarse colours with grain."""
    large = torch.nn.functional.interpolate(DRAW.uniform("coarse", 0, (3, 5, 7)), (36, 50))
    grain = 0.1 * DRAW.normal("grain", 0, (3, 36, 50))
    return (255 * (large + grain).clamp(0, 1)).round() / 255


def constants(name: str, severity: float) -> tuple[float, ...]:
    return CAMERAS[name].constants.at(severity, 224)


def way(name: str) -> list[float]:
    return torch.where(DRAW.uniform(f"{name} way", 0, ()) < 0.5, -1.0, 1.0).tolist()


def near(got: Tensor, expected: Tensor) -> None:
    """Within the truncation to whole levels, and float32 a hair's breadth below one."""
    below = 255 * expected.clamp(0, 1) - 255 * got
    assert float(below.min()) > -0.01
    assert float(below.max()) < 1.01


@pytest.mark.parametrize("severity", LEVELS)
def test_rotation_scale_and_translation_are_torchvisions(image: Tensor, severity: float) -> None:
    def moved(
        one: Tensor, angle: float = 0.0, by: tuple[float, float] = (0.0, 0.0), size: float = 1.0
    ) -> Tensor:
        return tv.affine(one, angle, list(by), size, [0.0], BILINEAR)

    (angle,) = constants("rotation", severity)
    got = Rotation(beyond="black")(image, severity, DRAW)
    for i, sign in enumerate(way("rotation")):
        near(got[i], moved(image[i], angle=-sign * math.degrees(angle)))
    (factor,) = constants("scale", severity)
    near(Scale(beyond="black")(image, severity, DRAW), moved(image, size=factor))
    (part,) = constants("translation", severity)
    got = Translation(beyond="black")(image, severity, DRAW)
    for i, turn in enumerate((2 * math.pi * DRAW.uniform("translation", 0, ())).tolist()):
        by = (-part * 36 * math.cos(turn), -part * 36 * math.sin(turn))
        near(got[i], moved(image[i], by=by))


@pytest.mark.parametrize("severity", LEVELS)
def test_perspective_is_torchvisions(image: Tensor, severity: float) -> None:
    (distortion,) = constants("perspective", severity)
    height, width = image.shape[-2:]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    inwards = distortion / 2 * DRAW.uniform("perspective", 0, (4, 2)).numpy()
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    got = CAMERAS["perspective"]()(image, severity, DRAW)
    for i in range(N):
        seen = corners + signs * inwards[i] * [width, height]
        expected = tv.perspective(image[i], seen.tolist(), corners.tolist(), BILINEAR)
        inner = (..., slice(1, -1), slice(1, -1))  # torchvision fades the border into black
        # its coefficients are float32 numbers of a least-squares solution: 1e-3 pixels
        difference = (255 * (got[i] - expected))[inner]
        assert difference.abs().max() < 2.5


def test_quadrangles_have_their_corners() -> None:
    corner = DRAW.uniform("corner", 0, (4, 2)).double() + torch.tensor(
        [[0, 0], [3, 0], [3, 3], [0, 3]]
    )
    square = torch.tensor([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.float64)
    found = square @ quadrangle(corner).mT
    torch.testing.assert_close(found[..., :2] / found[..., 2:], corner)


@pytest.mark.parametrize("severity", LEVELS)
def test_gamma_is_torchvisions(image: Tensor, severity: float) -> None:
    (gamma,) = constants("gamma", severity)
    got = CAMERAS["gamma"]()(image, severity, DRAW)
    for i, sign in enumerate(way("gamma")):
        near(got[i], tv.adjust_gamma(image[i], gamma**sign))
    assert len(set(way("gamma"))) == 2


@pytest.mark.parametrize("severity", range(1, 6))
def test_colour_quantisation_is_posterising(image: Tensor, severity: int) -> None:
    levels = (255 * image).round().byte()
    got = CAMERAS["colour_quantisation"]()(image, severity, DRAW)
    expected = tv.posterize(levels, 6 - severity)
    assert torch.equal((255 * got).round().byte(), expected)


def test_light_is_that_of_the_standard() -> None:
    # IEC 61966-2-1: mid grey 0.5 is 21.404 % of the light, 18 % of the light is 0.46136
    assert float(linear(torch.tensor(0.5))) == pytest.approx(0.21404, abs=1e-5)
    assert float(encoded(torch.tensor(0.18))) == pytest.approx(0.46136, abs=1e-5)
    grey = torch.linspace(0, 1, 256)
    torch.testing.assert_close(encoded(linear(grey)), grey, atol=1e-5, rtol=0)


def test_white_balance_multiplies_light_of_red_and_blue() -> None:
    flat = torch.full((N, 3, 2, 2), 128 / 255)
    got = CAMERAS["white_balance"]()(flat, 3, DRAW)
    light = ((128 / 255 + 0.055) / 1.055) ** 2.4
    for i, sign in enumerate(way("white_balance")):
        for channel, gain in enumerate((1.6**sign, 1.0, 1.6**-sign)):
            expected = 1.055 * (light * gain) ** (1 / 2.4) - 0.055
            near(got[i, channel], torch.tensor(expected))
    grey = flat[:, :1]
    assert torch.equal(CAMERAS["white_balance"]()(grey, 5, DRAW), grey)


@pytest.mark.parametrize("side", SIDES)
def test_iso_noise_has_mean_and_variance(side: int) -> None:
    n, grey = 40, 120 / 255  # far from the ends, which cut
    image = torch.full((n, 1, 64, 64), grey)
    noise = CAMERAS["iso_noise"]
    photons, deviation = noise.constants.at(2, side)
    got = noise()(image, 2, Draw(0, torch.arange(n)), side).double()
    variance = grey / photons + deviation**2
    count = got.numel()
    # five standard errors, a half level of truncation, and what is cut at white: below 1 % of it
    shift = float(got.mean()) + 0.5 / 255 - grey
    assert abs(shift) < 5 * math.sqrt(variance / count) + 1e-3
    assert float(got.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / count) + 0.02)


def test_bands_are_one_wave_along_the_rows() -> None:
    got = CAMERAS["banding"]()(torch.full((N, 1, 512, 3), 0.5), 3, DRAW)
    assert torch.equal(got, got[..., :1].expand_as(got)), "constant along a row"
    wave = linear(got[:, 0, :, 0]) / linear(torch.tensor(0.5)) - 1
    # an amplitude of 0.45: the mean square is half of its square, and whole waves have mean 0
    bands = 2 + 6 * DRAW.uniform("banding", 0, (2,))[:, 0]
    assert wave.abs().amax(1) == pytest.approx(np.full(N, 0.45), abs=0.02)
    spectrum = torch.fft.rfft(wave - wave.mean(1, keepdim=True), 16 * 512).abs()
    peak = spectrum.argmax(1) / 16
    # a wave cut off at the ends pulls its peak by up to a fifth of a band
    assert torch.allclose(peak, bands, atol=0.2)


def test_rolling_shutter_moves_rows_by_hand(image: Tensor) -> None:
    got = CAMERAS["rolling_shutter"]()(image, 3, DRAW)
    height, width = image.shape[-2:]
    swing, phase = DRAW.uniform("rolling_shutter", 0, (2,)).double().unbind(1)
    for i, sign in enumerate(way("rolling_shutter")):
        for row in range(height):
            time = (row - (height - 1) / 2) / height
            wobble = math.sin(2 * math.pi * ((1 + 3 * float(swing[i])) * time + float(phase[i])))
            place = np.arange(width) + width * (0.2 * sign * time + 0.015 * wobble)
            for channel in range(3):
                line = image[i, channel, row].double().numpy()
                expected = torch.from_numpy(np.interp(place, np.arange(width), line))
                near(got[i, channel, row].double(), expected)


def test_haze_is_scattering() -> None:
    height = 37
    scene = torch.full((N, 3, height, 5), 51 / 255)
    got = CAMERAS["haze"]()(scene, 5, DRAW)
    depth = 1 - (torch.arange(height) - (height - 1) / 2) / height
    t = torch.exp(-1.8 * depth)[:, None]
    air = 0.7 + 0.3 * DRAW.uniform("haze", 0, ())
    for i in range(N):
        near(got[i], (51 / 255 * t + air[i] * (1 - t)).expand(3, -1, 5))
    assert (got[..., 0, :] > got[..., -1, :]).all(), "more above, where it is farther"


def test_streaks_by_hand() -> None:
    drop = torch.zeros(1, 1, 21, 21)
    drop[0, 0, 10, 10] = 1
    found = streaks(drop, torch.tensor([90.0]), 4.0)[0, 0]
    expected = np.exp(-0.5 * (np.arange(5) / 4) ** 2)
    assert found[:, 10][found[:, 10] > 1e-4].numpy()[::-1] == pytest.approx(expected, abs=1e-5)
    found[:, 10] = 0
    assert found.abs().max() < 1e-5


def test_rain_covers_as_many_pixels_as_said() -> None:
    dark = torch.zeros(64, 1, 96, 96)
    got = CAMERAS["rain"]()(dark, 5, Draw(0, torch.arange(64)))
    cover, length, opacity = constants("rain", 5)
    pixels = length * 96
    trail = 2 * math.ceil(pixels / 2) + 1
    # streaks begin at random: a pixel is free of all with chance (1 - c / l)^trail
    free = (1 - cover / pixels) ** trail
    assert float((got > 0).float().mean()) == pytest.approx(1 - free, abs=0.02)
    assert float(got.max()) == pytest.approx(opacity * 0.8, abs=1 / 255)


def test_dirt_holds_light_back_and_scatters_some() -> None:
    image = torch.full((N, 1, 40, 60), 200 / 255)
    dirt = CAMERAS["lens_dirt"]()
    got = dirt(image, 4, DRAW)
    cover = torch.zeros(N, 1, 40, 60, dtype=torch.float64)
    y, x = np.mgrid[:40, :60]
    for spot in range(15):
        place = DRAW.uniform("lens_dirt", spot, (3,)).double().numpy()
        for i, (right, low, size) in enumerate(place):
            radius = (0.04 + 0.1 * size) * 40
            far = np.hypot(x - 29.5 - 60 * (right - 0.5), y - 19.5 - 40 * (low - 0.5))
            inside = np.clip((radius - far) / (0.3 * radius) + 0.5, 0, 1)
            cover[i, 0] = 1 - (1 - cover[i, 0]) * (1 - 0.8 * torch.from_numpy(inside))
    near(got.double(), 200 / 255 * (1 - cover + 0.25 * cover))
    part = dirt.cover(image, DRAW, 3.5, 1.0) - dirt.cover(image, DRAW, 3.0, 1.0)
    whole = dirt.cover(image, DRAW, 4.0, 1.0) - dirt.cover(image, DRAW, 3.0, 1.0)
    torch.testing.assert_close(part, whole / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (1, 1)], ids=str)
def test_blocks_are_quantised_cosine_transforms(image: Tensor, size: tuple[int, int]) -> None:
    step = 0.625 * 2 ** (38 / 6)
    plane = (255 * image[:1, :1, : size[0], : size[1]] - 128).double()
    padded = np.pad(plane[0, 0].numpy(), [(0, -n % 4) for n in size], "edge")
    for top in range(0, padded.shape[0], 4):
        for left in range(0, padded.shape[1], 4):
            block = padded[top : top + 4, left : left + 4]
            found = fft.dctn(block, norm="ortho")
            level = np.sign(found) * np.floor(abs(found) / step + 1 / 3)
            padded[top : top + 4, left : left + 4] = fft.idctn(level * step, norm="ortho")
    got = quantised(plane, step)[0, 0]
    assert np.allclose(got, padded[: size[0], : size[1]], atol=1e-6)


def test_blocking_of_colours_goes_through_their_brightness(image: Tensor) -> None:
    grey = image[:, :1].expand(-1, 3, -1, -1)
    blocked = CAMERAS["h264_blocking"]()
    # a grey image has no colour to lose; its weights sum to 1 within 1e-6
    same = blocked(grey, 3, DRAW) - blocked(grey[:, :1], 3, DRAW)
    assert (255 * same).abs().max() < 1.01
    fine = quantised(255 * image - 128, 1e-3) + 128
    assert (fine - 255 * image).abs().max() < 1e-2
