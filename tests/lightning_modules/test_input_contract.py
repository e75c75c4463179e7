"""What a model is shown, field by field and with the reason, for every source."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datamodules import Batch, Preprocessing, UserError
from lightning_modules import Classifier, FineTuning, build, load_classifier, save_classifier
from lightning_modules.input_contract import (
    ARCHITECTURE,
    AS_DATA,
    NO_SIZE,
    NORMALISATIONS,
    NOTHING,
    SAID,
    WEIGHTS,
    InputContract,
    all_fields,
    input_line,
    unknown_input,
)

GREY = Preprocessing(channels=1, mean=(0.1307,), std=(0.3081,))
GREY_SAID, TWO = InputContract("mnist", channels="grey"), InputContract(0.2, 0.3)


def net(channels: int = 3, side: int = 12) -> nn.Module:
    body = [nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(4, 3))


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of a user: plain, one layer for any channels, and one that says what it wants."""
    own = types.ModuleType("own_models")
    own.plain = net  # type: ignore[attr-defined]
    own.grey = lambda: net(1)  # type: ignore[attr-defined]
    own.flat = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 3))  # type: ignore[attr-defined]
    own.pooled = lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(3))  # type: ignore[attr-defined]
    own.told = lambda: Classifier(  # type: ignore[attr-defined]
        net(), classes=3, preprocessing=Preprocessing(crop=9), architecture="python:own_models:told"
    )
    monkeypatch.setitem(sys.modules, "own_models", own)


# source, options, channels, size, mean of the first channel, reason of the mean
Case = tuple[str, dict[str, Any], int, object, float, str]
UNKNOWN: dict[str, Case] = {
    "python": ("python:own_models:plain", {}, 3, None, 0.0, NOTHING),
    "grey data": ("python:own_models:plain", {"preprocessing": GREY}, 3, None, 0.0, NOTHING),
    "grey network": ("python:own_models:grey", {}, 1, None, 0.0, NOTHING),
    "one layer": ("python:own_models:flat", {"preprocessing": GREY}, 1, None, 0.0, NOTHING),
    "any channels": ("python:own_models:pooled", {"preprocessing": GREY}, 1, None, 0.0, NOTHING),
    "a Classifier": ("python:own_models:told", {}, 3, None, 0.485, SAID),
    "lenet": ("lenet", {"preprocessing": GREY}, 1, None, 0.0, NOTHING),
    "cifar_resnet20": ("cifar_resnet20", {}, 3, (32, 32), 0.0, NOTHING),
    "torchvision@none": ("torchvision:resnet18@none", {}, 3, None, 0.0, NOTHING),
    "transformer@none": ("torchvision:vit_b_32@none", {}, 3, (224, 224), 0.0, NOTHING),
    "said": ("python:own_models:plain", {"said": InputContract("half")}, 3, None, 0.5, SAID),
    "said of lenet": ("lenet", {"said": GREY_SAID}, 1, None, 0.1307, SAID),
    "said over all": ("python:own_models:told", {"said": TWO}, 3, None, 0.2, SAID),
}  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_stated_is_never_taken_from_the_data(case: Case) -> None:
    source, options, channels, size, mean, reason = case
    made = load_classifier(source, **options)
    shown = made.preprocessing
    assert (shown.channels, shown.resize, shown.mean[0]) == (channels, size, mean)
    assert made.reasons["mean"] == made.reasons["std"] == reason
    assert torch.equal(made.mean.flatten(), torch.tensor(shown.mean))


@pytest.mark.parametrize("arch", ["torchvision:resnet18", "lenet", "python:own_models:plain"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_bare_checkpoint_knows_nothing(arch: str, whole: bool, tmp_path: Path) -> None:
    """Not ImageNet's 256/224 because of a torchvision architecture, nor the data's statistics."""
    network = build(arch, 3, 1 if arch == "lenet" else 3)
    torch.save(network if whole else network.state_dict(), tmp_path / "x.pt")
    source = f"checkpoint:{tmp_path / 'x.pt'}"
    made = load_classifier(
        source, arch=None if whole else arch, preprocessing=GREY, trust_pickle=whole
    )
    shown = made.preprocessing
    assert (shown.resize, shown.crop) == (None, None)
    assert ({*shown.mean}, {*shown.std}) == ({0.0}, {1.0})
    assert (made.reasons["mean"], made.reasons["resize"]) == (NOTHING, NO_SIZE)
    told = load_classifier(
        source,
        arch=None if whole else arch,
        trust_pickle=whole,
        said=InputContract(0.25, 0.5, resize=20, crop=16),
    )
    assert (told.preprocessing.resize, told.preprocessing.crop) == (20, 16)
    assert ({*told.preprocessing.mean}, told.reasons["crop"]) == ({0.25}, SAID)


def test_channels_come_from_the_network_then_from_what_is_said_then_from_the_data() -> None:
    assert load_classifier("python:own_models:grey").reasons["channels"] == ARCHITECTURE
    pooled = "python:own_models:pooled"
    assert load_classifier(pooled, preprocessing=GREY).reasons["channels"] == AS_DATA
    said = load_classifier(pooled, preprocessing=GREY, said=InputContract(channels="rgb"))
    assert (said.preprocessing.channels, said.reasons["channels"]) == (3, SAID)
    with pytest.raises(UserError, match=r"Got `channels` grey, but the network takes 3 channel"):
        load_classifier("python:own_models:plain", said=InputContract(channels="grey"))


@pytest.mark.parametrize("name", NORMALISATIONS)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_every_name_is_what_it_says(name: str, order: Any) -> None:
    """By arithmetic on 0 to 255, as scripts of other frameworks have it."""
    image = torch.rand(2, 3, 4, 4)
    said = InputContract(mean=name, channels=order)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    shown = load_classifier(network, said=said).shown(image)
    colours = torch.tensor([103.939, 116.779, 123.68]).flip(0)[:, None, None]
    scripts: dict[str, Tensor] = {
        "none": image,
        "half": image * 2 - 1,
        "bytes": image * 255,
        "caffe": image * 255 - colours,
        "inverted": 1 - image,
        "mnist": (image - 0.1307) / 0.3081,
    }
    if name in scripts:
        expected = scripts[name].flip(1) if order == "bgr" else scripts[name]
        torch.testing.assert_close(shown, expected, atol=1e-4, rtol=1e-5)  # 255ths round
    assert shown.shape == image.shape


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mean": "imagenet"}, NORMALISATIONS["imagenet"]),
        ({"std": "imagenet"}, NORMALISATIONS["imagenet"]),
        ({"mean": "imagenet", "std": "imagenet"}, NORMALISATIONS["imagenet"]),
        ({"mean": 0.1, "std": 0.2}, ((0.1,), (0.2,))),
        ({"mean": "0.1", "std": "0.2"}, ((0.1,), (0.2,))),
        ({"mean": "0.1,0.2,0.3", "std": "[0.4, 0.5, 0.6]"}, ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))),
        ({"mean": (0.1, 0.2, 0.3), "std": 1}, ((0.1, 0.2, 0.3), (1.0,))),
        ({"mean": 0.3, "std": "half"}, ((0.3,), (0.5,))),
        ({"resize": 0}, None),
    ],
)
def test_ways_to_say_it(fields: dict[str, Any], expected: object) -> None:
    assert InputContract(**fields).normalisation == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": "imagnet"}, "`mean` to be numbers or a name, but got 'imagnet'. Did you mean"),
        ({"mean": 0.5}, "Expected `std` beside `mean`, but got none"),
        ({"std": 0.5}, "Expected `mean` beside `std`, but got none"),
        ({"mean": "mnist", "std": "half"}, "one name for `mean` and `std`, but got mnist and half"),
        ({"mean": (0.1, 0.2), "std": 1.0}, "`mean` of one number or three"),
        ({"mean": float("nan"), "std": 1.0}, "`mean` of one number or three"),
        ({"mean": 0.5, "std": 0.0}, "a `std` other than 0"),
        ({"channels": "grb"}, "`channels` to be grey, rgb or bgr, but got 'grb'"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        InputContract(**fields)
    assert message in str(caught.value)


def test_three_numbers_for_a_grey_network() -> None:
    with pytest.raises(UserError, match="because the network takes grey images"):
        load_classifier("python:own_models:grey", said=InputContract("imagenet"))


def test_no_size_can_be_said() -> None:
    """Where the weights want 256/224, `--resize 0 --crop 0` shows images as they are."""
    wanted = Preprocessing(resize=256, crop=224)
    shown, reasons = InputContract(resize=0, crop=0).over(wanted, all_fields(WEIGHTS))
    assert (shown.resize, shown.crop) == (None, None)
    assert (reasons["resize"], reasons["mean"]) == (SAID, WEIGHTS)


def test_like_another_model() -> None:
    """A student of the teacher's own architecture, say, is shown what its teacher is."""
    wanted = Preprocessing(resize=(20, 24), crop=16, interpolation="bicubic")
    shown, reasons = InputContract.like(wanted).over(*unknown_input(3))
    assert shown == wanted
    assert {*reasons.values()} == {ARCHITECTURE, SAID}
    assert InputContract.like(Preprocessing()).over(wanted, {})[0] == Preprocessing()


def test_the_line() -> None:
    assert input_line(*unknown_input(1)) == (
        "grey (of the architecture); any size (nothing known: as they are); mean 0, std 1 (nothing "
        "known: [0, 1] as they are)"
    )
    said = InputContract("half", resize=256, channels="bgr")
    assert input_line(*said.over(Preprocessing(resize=240, crop=224), all_fields(WEIGHTS))) == (
        "BGR, resize 256 bilinear (said); crop 224 (from the weights); mean 0.5, std 0.5 (said)"
    )


def test_what_holds_and_why_survives_saving(tmp_path: Path) -> None:
    said = InputContract(0.25, 0.5, channels="bgr")
    made = load_classifier("python:own_models:plain", said=said).eval()
    again = load_classifier(f"checkpoint:{save_classifier(made, tmp_path / 'x')}").eval()
    assert (again.preprocessing, again.reasons) == (made.preprocessing, made.reasons)
    assert again.preprocessing.bgr
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(again(image), made(image))
    assert torch.equal(made(image), made.model(((image - 0.25) / 0.5).flip(1)))


@pytest.mark.parametrize(("mode", "reason"), [("full", WEIGHTS), ("linear_probe", NOTHING)])
def test_training_makes_it_known(mode: Any, reason: str, fit: Any, tmp_path: Path) -> None:
    """A backbone that was frozen still does not say what it was trained with."""
    from lightning_modules import Tuning

    classifier = load_classifier("lenet", preprocessing=GREY)
    assert classifier.reasons["mean"] == NOTHING
    fit(FineTuning(classifier, Tuning(mode=mode)), max_epochs=1)
    again = load_classifier(f"checkpoint:{save_classifier(classifier, tmp_path / 'x')}")
    assert (again.reasons["mean"], again.preprocessing.mean) == (reason, (0.0,))


def test_the_published_file_is_known_by_its_content(shared_data: Path, tmp_path: Path) -> None:
    (file,) = (shared_data / "weights").glob("resnet20-*.th")
    copy = tmp_path / "renamed.bin"
    copy.write_bytes(file.read_bytes())
    made = load_classifier(f"checkpoint:{copy}", arch="cifar_resnet20")
    assert made.preprocessing == Preprocessing(resize=(32, 32))
    assert made.classes[3] == "cat"
    assert made.reasons["mean"] == "from the weights, published as CIFAR-10 12fca82f"
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    torch.save(state, tmp_path / "saved-again.pt")
    bare = load_classifier(f"checkpoint:{tmp_path / 'saved-again.pt'}", arch="cifar_resnet20")
    assert (bare.preprocessing.resize, bare.reasons["mean"]) == ((32, 32), NOTHING)


@pytest.mark.parametrize(("name", "mean"), [("resnet18", 0.485), ("googlenet", 0.5)])
def test_torchvisions_files_are_known_by_their_content(
    name: str, mean: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any file, as if its digest were the published one."""
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    begin = weights.url.rpartition("-")[2].removesuffix(".pth")
    monkeypatch.setattr("lightning_modules.published_weights._digest", lambda _: begin + "0" * 56)
    torch.save(build(f"torchvision:{name}", 1000).state_dict(), tmp_path / "x.pth")
    made = load_classifier(f"checkpoint:{tmp_path / 'x.pth'}", arch=f"torchvision:{name}")
    assert made.classes == tuple(weights.meta["categories"])
    assert (made.preprocessing.crop, made.preprocessing.mean[0]) == (224, mean)


def test_a_step_of_training_sees_the_same(digits: Batch) -> None:
    """So that `--mean` means the same in training and in tests."""
    said = InputContract(0.3, 0.4)
    classifier = load_classifier("lenet", preprocessing=GREY, said=said)
    seen: list[Tensor] = []
    classifier.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    FineTuning(classifier)(digits.image)
    torch.testing.assert_close(seen[0], (digits.image - 0.3) / 0.4)
