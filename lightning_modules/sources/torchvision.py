"""torchvision's model zoo."""

from dataclasses import replace
from urllib.error import URLError

import torchvision
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build, without_auxiliary, zoo
from lightning_modules.classifier import Classifier
from lightning_modules.sources.request import Request


def from_torchvision(request: Request) -> Classifier:
    """`torchvision:NAME[@WEIGHTS]`: e.g. resnet50@IMAGENET1K_V2; @none has random weights."""
    name, _, choice = request.rest.partition("@")
    architecture = f"torchvision:{name}"
    if choice == "none":
        classes = request.classes or 1000
        model = build(architecture, classes)
        return Classifier(
            model, classes=classes, preprocessing=_usual(name), architecture=architecture
        )
    _check_name(name)
    weights = _weights(name, choice or "DEFAULT")
    try:
        model = torchvision.models.get_model(name, weights=weights)
    except (URLError, OSError) as error:
        raise UserError(
            f"The weights {weights} of {name!r} cannot be downloaded from {weights.url}: put the "
            "file into torch's cache (~/.cache/torch/hub/checkpoints), use checkpoint:FILE with "
            f"--arch {architecture}, or {architecture}@none for random weights."
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"The downloaded weights of {name!r} are damaged: {str(error).splitlines()[0]} Remove "
            f"{weights.url.rpartition('/')[2]} from ~/.cache/torch/hub/checkpoints and try again."
        ) from error
    preprocessing = _preprocessing(weights.transforms())
    if getattr(model, "transform_input", False):
        # GoogLeNet and Inception undo ImageNet's statistics themselves, a flag that the weights
        # alone do not tell; said as a preprocessing it survives saving.
        model.transform_input = False  # type: ignore[assignment]
        preprocessing = replace(preprocessing, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Classifier(
        without_auxiliary(model),
        classes=weights.meta["categories"],
        preprocessing=preprocessing,
        architecture=architecture,
    )


def _check_name(name: str) -> None:
    """Refuses names that torchvision does not know, with a suggestion."""
    if name not in zoo():
        raise UserError(f"torchvision has no classifier {name!r}.{suggestion(name, zoo())}")


def _usual(name: str) -> Preprocessing:
    """The preprocessing of the network's first published weights."""
    return _preprocessing(next(iter(torchvision.models.get_model_weights(name))).transforms())


def _weights(name: str, choice: str) -> torchvision.models.WeightsEnum:
    known = torchvision.models.get_model_weights(name)
    names = {*known.__members__, "DEFAULT", "none"}
    if choice not in names:
        raise UserError(f"{name!r} has no weights {choice!r}.{suggestion(choice, names)}")
    return known[choice] if choice != "DEFAULT" else known.DEFAULT  # type: ignore[attr-defined]


def _preprocessing(preset: ImageClassification) -> Preprocessing:
    """Reads sizes and normalisation off the weights' own transform."""
    mode = preset.interpolation
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        interpolation=mode.value if isinstance(mode, InterpolationMode) else "bilinear",
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
