"""Files of weights that somebody published, recognised by their content.

Torchvision's files, and those of the CIFAR-10 ResNets, carry the beginning of their SHA-256 in
their names. What was published with them holds wherever such a file is loaded from.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torchvision
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from datamodules.preprocessing import Preprocessing

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
            "truck")  # fmt: skip
_CIFAR_RESNETS = ("12fca82f", "d509ac18", "014dd654", "4bfd9763")
"""Of akamaster/pytorch_resnet_cifar10: ResNet-20, 32, 44 and 56, with ImageNet's statistics."""
_TRANSFORM_INPUT = ("googlenet", "inception_v3")
"""Networks that turn ImageNet's statistics into .5 inside, by a flag that weights do not tell."""


@dataclass(frozen=True)
class Published:
    """What was published with a file of weights.

    Args:
        name: of the weights.
        preprocessing: that they were trained with.
        classes: by output.
    """

    name: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]


def published(path: Path, architecture: str) -> Published | None:
    """Recognises a published file of an architecture by its SHA-256; None if it is no such file.

    Args:
        path: of the file.
        architecture: as for `build`.
    """
    name = architecture.removeprefix("builtin:")
    if name.startswith("cifar_resnet"):
        begin = _digest(path)[:8]
        wanted = Preprocessing(resize=(32, 32))
        return Published(f"CIFAR-10 {begin}", wanted, _CIFAR10) if begin in _CIFAR_RESNETS else None
    kind, _, network = name.partition(":")
    if kind != "torchvision":
        return None
    network = network.partition("@")[0]
    known = {_in_name(weights.url): weights for weights in _weights_of(network)}
    digest = _digest(path) if known else ""
    matches = (weights for begin, weights in known.items() if begin and digest.startswith(begin))
    weights = next(matches, None)
    return None if weights is None else of_torchvision(network, weights)


def of_torchvision(network: str, weights: torchvision.models.WeightsEnum) -> Published:
    """What torchvision publishes with weights.

    Args:
        network: its name, without a source.
        weights: of it.
    """
    wanted = _read(weights.transforms())
    if network in _TRANSFORM_INPUT:
        wanted = replace(wanted, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Published(weights.name, wanted, tuple(weights.meta["categories"]))


def _weights_of(network: str) -> list[torchvision.models.WeightsEnum]:
    try:
        known = list(torchvision.models.get_model_weights(network))
    except ValueError:
        return []
    return [weights for weights in known if weights.meta["categories"]]  # else it has no head


def _read(preset: ImageClassification) -> Preprocessing:
    """Reads sizes and normalisation off the weights' own transform."""
    mode = preset.interpolation
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        interpolation=mode.value if isinstance(mode, InterpolationMode) else "bilinear",
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def _in_name(url: str) -> str:
    matches = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    return matches[1] if matches else ""


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
