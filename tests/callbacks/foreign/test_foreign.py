"""Transforms of other libraries: what is read, what is refused, whose random numbers they take."""

import importlib.util
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor
from torchvision.transforms import v2

from callbacks.foreign import LIBRARIES, ForeignProbe, ForeignTransform, specification
from callbacks.foreign import transform as transforms
from callbacks.foreign.transform import seeded
from callbacks.randomness import Draw
from datamodules.errors import UserError

BLUR = "torchvision:GaussianBlur(kernel_size=9, sigma=0.5|1|2)"
NOISE = "torchvision:GaussianNoise(sigma=0.05|0.2)"


def draw(n: int, seed: int = 0) -> Draw:
    return Draw(seed, torch.arange(n))


@pytest.fixture
def image() -> Tensor:
    """`(6, 3, 20, 24)` of 8 bits."""
    return (255 * draw(6).uniform("image", 0, (3, 20, 24))).round() / 255


# -- what is read ----------------------------------------------------------------------------------


def test_a_specification_is_literals_with_one_swept() -> None:
    said = specification("albumentations:MotionBlur(blur_limit=(3, 3)|(7, 7), allow_shifted=False)")
    assert (said.library, said.name, said.swept) == ("albumentations", "MotionBlur", "blur_limit")
    assert said.levels == [
        {"allow_shifted": False, "blur_limit": (3, 3)},
        {"allow_shifted": False, "blur_limit": (7, 7)},
    ]
    assert specification(str(said)) == said
    assert specification("nrtk:Haze").levels == [{}]
    assert specification("nrtk:Shift(by=-1|-2.5|'x'|None|[1, -2])").values == (
        -1, -2.5, "x", None, [1, -2],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torchvision:", "invalid syntax"),
        ("torchvision:GaussianBlur(", "was never closed"),
        ("torchvision:GaussianBlur(9)", "every parameter needs its name"),
        ("torchvision:GaussianBlur(**{'sigma': 1})", "every parameter needs its name"),
        ("torchvision:GaussianBlur(sigma=high)", "write 'high' in quotes"),
        ("torchvision:GaussianBlur(sigma=__import__('os').getcwd())", "is no number"),
        ("torchvision:v2.GaussianBlur(sigma=1)", "no class with its parameters"),
        ("torchvision:GaussianBlur(sigma=1|2, kernel_size=3|5)", "only one may"),
        ("torchvision:GaussianBlur(sigma=1|2|3|4|5|6)", "there are 5 severities"),
    ],
)
def test_what_is_no_specification(text: str, said: str) -> None:
    with pytest.raises(UserError) as mistake:
        specification(text)
    assert said in str(mistake.value)
    assert repr(text) in str(mistake.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torchvison:GaussianBlur", "Did you mean 'torchvision'?"),
        ("torchvision:GausianBlur", "Did you mean 'GaussianBlur'?"),
        ("torchvision:Zzz", "It has: AugMix"),
        ("torchvision:GaussianBlur(sgma=1)", "'sigma'? It has: kernel_size, sigma"),
        ("torchvision:GaussianBlur(sigma=1)", "missing 1 required positional argument"),
        ("torchvision:GaussianBlur(kernel_size=8)", "odd and positive number."),
        ("torchvision:Resize(size=10)", "must keep size and type"),
        ("torchvision:ToDtype(dtype=None)", "fails"),
        ("torchvision:ToPILImage", "answers no image but Image"),
        ("torchvision:Normalize(mean=[0, 0, 0], std=[1, 1, 0.1])", "must keep to [0, 1]"),
    ],
)
def test_what_no_corruption_can_be_made_of(text: str, said: str, image: Tensor) -> None:
    with pytest.raises(UserError) as mistake:
        ForeignTransform.of(text).fitting(image[:1])
    assert said in str(mistake.value)


def test_a_missing_library_says_how_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIBRARIES["nrtk"], "package", "nrtk_that_is_not_here")
    with pytest.raises(UserError, match=r"pip install 'assay\[nrtk\]'"):
        ForeignTransform.of("nrtk:Haze(factor=1|2)")


# -- what is done ----------------------------------------------------------------------------------


def test_it_is_torchvisions_own_function(image: Tensor) -> None:
    blur = ForeignTransform.of(BLUR).fitting(image[:1])
    assert blur(image, 0, draw(6)) is image
    for severity, sigma in enumerate((0.5, 1.0, 2.0), 1):
        expected = (255 * tv.gaussian_blur(image, [9, 9], [sigma, sigma])).round() / 255
        torch.testing.assert_close(blur(image, severity, draw(6)), expected)
    with pytest.raises(UserError, match="whole number from 0 to 3"):
        blur(image, 1.5, draw(6))


def test_bytes_where_floats_are_refused(image: Tensor) -> None:
    jpeg = ForeignTransform.of("torchvision:JPEG(quality=80|20)").fitting(image[:1])
    assert "given 8-bit images" in repr(jpeg)
    expected = torch.stack([tv.jpeg(one, 20) for one in (255 * image).round().byte()])
    assert torch.equal((255 * jpeg(image, 2, draw(6))).round().byte(), expected)


def test_what_tosses_a_coin_does_something_to_every_image(image: Tensor) -> None:
    always = ForeignTransform.of("torchvision:RandomInvert")
    torch.testing.assert_close(always(image, 1, draw(6)), 1 - image)
    assert "p=1.0" in repr(always)
    never = ForeignTransform.of("torchvision:RandomInvert(p=0.0)")
    assert torch.equal(never(image, 1, draw(6)), image)


class Dice(v2.Transform):
    """Adds noise of all three global generators."""

    def forward(self, image: Tensor) -> Tensor:
        shift = 0.1 * (random.random() + float(np.random.rand()) + float(torch.rand(())))
        return (image + shift) % 1


@pytest.mark.parametrize("text", [NOISE, "torchvision:Dice"])
def test_random_numbers_belong_to_the_sample(
    text: str, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v2, "Dice", Dice, raising=False)
    noise = ForeignTransform.of(text)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    together = noise(image, 1, draw(6))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == state[1:]
    rows = torch.tensor([4, 1])
    assert torch.equal(noise(image[rows], 1, draw(6).select(rows)), together[rows])
    same = noise(image[:1].expand(6, -1, -1, -1), 1, draw(6))
    assert len({one.numpy().tobytes() for one in same}) > 4  # two dice may fall on one grey level
    assert not torch.equal(noise(image, 1, draw(6, seed=1)), together)


def test_the_same_numbers_at_every_severity(image: Tensor) -> None:
    grey = torch.full((6, 1, 16, 16), 0.5)
    noise = ForeignTransform.of(NOISE)
    mild, severe = (noise(grey, severity, draw(6)) - 0.5 for severity in (1, 2))
    assert (mild.sign() * severe.sign() >= 0).all()


def test_generators_are_set_back_after_a_mistake() -> None:
    before = random.getstate()
    with pytest.raises(KeyError), seeded(3):
        raise KeyError
    assert random.getstate() == before


# -- the probe -------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_batches(one_pass: Callable, same_rows: Callable) -> None:
    tables = [
        one_pass(ForeignProbe(NOISE, chunk=8, pool=pool), batch_size=size)
        for size, pool in ((5, 2), (23, 1))
    ]
    name = "torchvision_GaussianNoise_sigma"
    same_rows(tables[0][name], tables[1][name])
    assert tables[0][name].groupby("severity")["change"].mean().is_monotonic_increasing


def test_it_says_what_it_is(one_pass: Callable) -> None:
    probe = ForeignProbe(BLUR, chunk=16)
    one_pass(probe)
    assert probe.family == "foreign"
    assert probe.name == "torchvision_GaussianBlur_kernel_size_9_sigma"
    assert probe.title == "GaussianBlur (torchvision) by sigma"
    assert "sigma=0.5|1|2), torchvision 0." in probe.algorithm
    assert "one at a time on the CPU" in probe.note
    assert ForeignProbe(BLUR, label="soft").name == "soft"


def test_a_transform_that_does_nothing_is_no_robustness(one_pass: Callable) -> None:
    probe = ForeignProbe("torchvision:Pad(padding=0)", chunk=16)
    noise = ForeignProbe("torchvision:GaussianNoise(sigma=0.0|0.2)", chunk=16)
    one_pass(probe, noise)
    assert probe.note.endswith("on the CPU. It changes no image at severity 1.")
    assert noise.note.endswith("It changes no image at severity 1.")


def test_another_version_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ForeignProbe(BLUR).algorithm
    assert before != ForeignProbe(BLUR.replace("9", "7")).algorithm
    assert before != ForeignProbe(BLUR.replace("0.5", "0.6")).algorithm
    monkeypatch.setattr(transforms, "version", lambda package: f"{package} 99")
    assert ForeignProbe(BLUR).algorithm == before.replace(
        before.split(", torchvision ")[1].split(",")[0], "99"
    )


# -- the other libraries, where they are installed -------------------------------------------------

OTHERS = [
    ("albumentations", "GaussNoise(std_range=(0.1, 0.1)|(0.2, 0.2))", "random"),
    ("albumentations", "MotionBlur(blur_limit=(3, 3)|(7, 7))", "random"),
    ("albumentations", "Posterize(num_bits=5|3|1)", "exact"),
    ("nrtk", "BrightnessPerturber(factor=0.8|0.4)", "exact"),
    ("nrtk", "RandomRotation(limit=10|45)", "random"),
    ("nrtk", "GaussianBlur(ksize=3|5)", "exact"),
    ("nrtk", "GaussianNoise(var=0.01|0.05)", "random"),
]


@pytest.mark.parametrize(("library", "call", "kind"), OTHERS, ids=lambda value: value[:14])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_libraries(library: str, call: str, kind: str, channels: int, image: Tensor) -> None:
    pytest.importorskip(library)
    if "GaussianNoise" in call:
        pytest.importorskip("skimage")  # an extra of nrtk's
    part = image[:, :channels]
    one = ForeignTransform.of(f"{library}:{call}").fitting(part[:1])
    assert f"{library} " in repr(one)
    severe = one(part, len(one.specification.levels), draw(6))
    assert severe.shape == part.shape
    assert not torch.equal(severe, part)
    rows = torch.tensor([5, 2])
    apart = one(part[rows], len(one.specification.levels), draw(6).select(rows))
    assert torch.equal(apart, severe[rows])
    alike = one(part[:1].expand(6, -1, -1, -1), 1, draw(6))
    # of six draws of a blur's angle or a turn, two at least differ
    assert torch.equal(alike, alike[:1].expand_as(alike)) == (kind == "exact")


def test_albumentations_posterize_is_torchvisions(image: Tensor) -> None:
    pytest.importorskip("albumentations")
    ours = ForeignTransform.of("albumentations:Posterize(num_bits=5|3)")(image, 2, draw(6))
    assert torch.equal((255 * ours).round().byte(), tv.posterize((255 * image).byte(), 3))


def test_nrtk_brightness_is_torchvisions(image: Tensor) -> None:
    pytest.importorskip("nrtk")
    ours = ForeignTransform.of("nrtk:Brightness(factor=0.8|0.5)")(image, 2, draw(6))
    expected = tv.adjust_brightness((255 * image).round().byte(), 0.5)
    # Pillow rounds halves down where torchvision truncates: a level
    assert (255 * ours - expected).abs().max() <= 1.001


def test_a_seed_of_the_users_is_the_users(image: Tensor) -> None:
    pytest.importorskip("nrtk")
    fixed = ForeignTransform.of("nrtk:RandomRotation(limit=45, seed=3)")
    alike = fixed(image[:1].expand(6, -1, -1, -1), 1, draw(6))
    assert torch.equal(alike, alike[:1].expand_as(alike))
    with pytest.raises(UserError, match="on an image"):
        replace(fixed, as_bytes=False)(image, 1, draw(6))


def test_nrtk_says_which_of_its_own_extras_is_missing() -> None:
    pytest.importorskip("nrtk")
    if importlib.util.find_spec("pybsm"):
        pytest.skip("nothing is missing")
    with pytest.raises(UserError, match=r"nrtk\[pybsm\]"):
        ForeignTransform.of("nrtk:Jitter")
    with pytest.raises(UserError, match="has no transform 'Nonsense'"):
        ForeignTransform.of("nrtk:Nonsense")
