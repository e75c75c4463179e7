"""torchvision's model zoo."""

from urllib.error import URLError

import torchvision
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier
from lightning_modules.sources.request import Request


def from_torchvision(request: Request) -> Classifier:
    """`torchvision:NAME[@WEIGHTS]`: e.g. resnet50@IMAGENET1K_V2; @none has random weights."""
    name, _, choice = request.rest.partition("@")
    architecture = f"torchvision:{name}"
    if choice == "none":
        classes = request.classes or 1000
        size = Preprocessing(resize=256, crop=224)
        model = build(architecture, classes)
        return Classifier(model, classes=classes, preprocessing=size, architecture=architecture)
    build_check(name)
    weights = _weights(name, choice or "DEFAULT")
    try:
        model = torchvision.models.get_model(name, weights=weights)
    except (URLError, OSError) as error:
        raise UserError(
            f"The weights {weights} of {name!r} cannot be downloaded from {weights.url}: put the "
            "file into torch's cache (~/.cache/torch/hub/checkpoints), use checkpoint:FILE with "
            f"--arch {architecture}, or {architecture}@none for random weights."
        ) from error
    return Classifier(
        model,
        classes=weights.meta["categories"],
        preprocessing=_preprocessing(weights.transforms()),
        architecture=architecture,
    )


def build_check(name: str) -> None:
    """Refuses names that torchvision does not know, with a suggestion."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UserError(f"torchvision has no classifier {name!r}.{suggestion(name, known)}")


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
