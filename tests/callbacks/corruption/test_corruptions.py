"""What every corruption in the table keeps to, by name."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from callbacks.camera import CAMERAS
from callbacks.corruption import CORRUPTIONS
from callbacks.corruption.constants import SIDES, side_for
from callbacks.randomness import Draw
from datamodules.errors import UserError

ALL = {**CORRUPTIONS, **CAMERAS}
DETERMINISTIC = {
    "defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression",
    "gaussian_blur", "saturate", "scale", "h264_blocking", "colour_quantisation",
}  # fmt: skip
# Those whose published constants grow in strength from severity to severity, for images of a size.
MONOTONE = [
    (name, side)
    for name in (
        "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur",
        "brightness", "contrast", "pixelate", "jpeg_compression", "zoom_blur", "motion_blur",
        "fog", "iso_noise",
    )
    for side in SIDES
    # of a fog of 299 px weight and decay stand still in turn, of a large zoom the step doubles
    if (name, side) not in {("fog", 299), ("zoom_blur", 224), ("zoom_blur", 299)}
]  # fmt: skip
# Those of one table for all sizes; what is turned or made smaller further on need not differ more.
MONOTONE += [
    (name, 224)
    for name in (
        "translation", "perspective", "gamma", "white_balance", "banding", "rolling_shutter",
        "rain", "haze", "lens_dirt", "h264_blocking", "colour_quantisation",
    )
]  # fmt: skip


def smooth(n: int, channels: int, height: int, width: int) -> Tensor:
    """Images of 8 bits with structure on all scales, as photographs have."""
    noise = Draw(7, torch.arange(n)).normal("test", 0, (channels, height, width))
    frequency = torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.fftfreq(width) ** 2
    image = torch.fft.ifft2(torch.fft.fft2(noise) / (0.02 + frequency.sqrt())).real
    return (255 * (0.5 + 0.2 * image / image.std()).clamp(0, 1)).round() / 255


def draw(n: int, seed: int = 0) -> Draw:
    return Draw(seed, torch.arange(n))


@pytest.fixture(params=list(ALL))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_keeps_shape_range_and_grey_levels(name: str) -> None:
    image = smooth(3, 3, 32, 40)
    corruption = ALL[name]()
    assert corruption.name == name
    assert corruption(image, 0, draw(3)) is image
    for severity in (1, 2.5, 5):
        out = corruption(image, severity, draw(3))
        assert (out.shape, out.dtype) == (image.shape, image.dtype)
        assert out.min() >= 0
        assert out.max() <= 1
        # k / 255 in float32 comes back within 255 ulp
        assert (255 * out - (255 * out).round()).abs().max() < 1e-4
        assert not torch.equal(out, image)


def test_belongs_to_the_sample(name: str) -> None:
    image = smooth(6, 3, 24, 33)
    corruption = ALL[name]()
    together = corruption(image, 3, draw(6))
    rows = torch.tensor([4, 1])
    apart = corruption(image[rows], 3, draw(6).select(rows))
    # sums may round otherwise in another batch, and truncation makes a whole level of that
    difference = (255 * (together[rows] - apart)).abs().round()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() <= 1e-3


def test_random_numbers_are_the_samples_own(name: str) -> None:
    n = 8  # of some only the way is drawn, one of two
    image = smooth(1, 3, 32, 32).expand(n, -1, -1, -1)
    corruption = ALL[name]()
    first = corruption(image, 5, draw(n))
    assert torch.equal(first[:1].expand_as(first), first) == (name in DETERMINISTIC)
    assert torch.equal(first, corruption(image, 5, draw(n, seed=1))) == (name in DETERMINISTIC)
    assert torch.equal(first, corruption(image, 5, draw(n)))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (31, 470)], ids=str)
def test_any_size_grey_and_colour(name: str, size: tuple[int, int]) -> None:
    corruption = ALL[name]()
    for channels, severity in ((1, 1), (3, 4)):
        image = torch.stack([torch.full((channels, *size), grey) for grey in (0.0, 1.0)])
        out = corruption(image, severity, draw(2))
        assert out.shape == image.shape
        assert torch.isfinite(out).all()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(299, 299), (2592, 1944)], ids=str)
def test_large_photographs(name: str, size: tuple[int, int]) -> None:
    image = smooth(1, 3, *size)
    out = ALL[name]()(image, 5, draw(1))
    assert torch.isfinite(out).all()
    assert not torch.equal(out, image)


@pytest.mark.parametrize(("grows", "side"), MONOTONE)
def test_distance_grows_with_severity(grows: str, side: int) -> None:
    image = smooth(2, 3, 48, 48)
    corruption = ALL[grows]()
    out = [corruption(image, s, draw(2), side) for s in (0, 1, 1.5, 2, 3, 4, 5)]
    distances = [float((one - image).square().mean()) for one in out]
    # a fifth of a per cent: counts such as zooms round to whole numbers between severities
    assert all(b > 0.998 * a for a, b in pairwise(distances)), distances
    assert distances[-1] > distances[1]


def test_never_waits_for_the_device(name: str) -> None:
    """A tensor without numbers has none to hand to the host, and refuses to mix with the CPU's."""
    image = torch.empty(2, 3, 14, 16, device="meta")
    index = torch.zeros(2, dtype=torch.long, device="meta")
    out = ALL[name]()(image, 1, Draw(0, index))
    assert (out.device.type, out.shape) == ("meta", image.shape)


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (torch.rand(1, 4, 8, 8), (1,), "alpha"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (1,), "255"),
        (torch.rand(3, 8, 8), (1,), "(3, 8, 8)"),
        (torch.rand(1, 3, 8, 8), (0.5,), "`severity`"),
        (torch.rand(1, 3, 8, 8), (6,), "`severity`"),
        (torch.rand(1, 3, 8, 8), (float("nan"),), "`severity`"),
        (torch.rand(1, 3, 8, 8), (1, 100), "`constants_for`"),
    ],
)
def test_mistakes(image: Tensor, options: tuple, said: str) -> None:
    severity, *rest = options
    with pytest.raises(UserError) as mistake:
        ALL["fog"]()(image, severity, draw(len(image)), *rest)
    assert said in str(mistake.value)


@pytest.mark.parametrize(
    ("size", "side"),
    [((32, 32), 32), ((28, 28), 32), ((96, 500), 64), ((224, 224), 224), ((384, 512), 299)],
)
def test_constants_follow_the_short_side(size: tuple[int, int], side: int) -> None:
    assert side_for(*size) == side


def test_severities_between_lie_on_straight_lines() -> None:
    constants = ALL["defocus_blur"].constants
    assert constants.at(2, 224) == (4, 0.5)
    assert constants.at(5, 224) == (10, 0.5)
    assert constants.at(1.25, 224) == pytest.approx((3.25, 0.2))
    assert ALL["brightness"].constants.at(3, 299) == (0.3,)
