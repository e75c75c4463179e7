"""torchvision's model zoo."""

from urllib.error import URLError

import torchvision

from datamodules.errors import UserError, suggestion
from lightning_modules.architectures import build, without_auxiliary, zoo
from lightning_modules.classifier import Classifier
from lightning_modules.input_contract import WEIGHTS, all_fields
from lightning_modules.published_weights import of_torchvision
from lightning_modules.sources.bare import fresh_classifier
from lightning_modules.sources.request import Request


def from_torchvision(request: Request) -> Classifier:
    """`torchvision:NAME[@WEIGHTS]`: e.g. resnet50@IMAGENET1K_V2; @none has random weights."""
    name, _, choice = request.rest.partition("@")
    architecture = f"torchvision:{name}"
    if choice == "none":
        classes = request.classes or 1000
        return fresh_classifier(build(architecture, classes), architecture, request, channels=3)
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
    if getattr(model, "transform_input", False):
        # A flag that the weights alone do not tell; as a preprocessing it survives saving.
        model.transform_input = False  # type: ignore[assignment]
    known = of_torchvision(name, weights)
    return Classifier(
        without_auxiliary(model),
        classes=known.classes,
        preprocessing=known.preprocessing,
        architecture=architecture,
        reasons=all_fields(WEIGHTS),
    )


def _check_name(name: str) -> None:
    """Refuses names that torchvision does not know, with a suggestion."""
    if name not in zoo():
        raise UserError(f"torchvision has no classifier {name!r}.{suggestion(name, zoo())}")


def _weights(name: str, choice: str) -> torchvision.models.WeightsEnum:
    known = torchvision.models.get_model_weights(name)
    names = {*known.__members__, "DEFAULT", "none"}
    if choice not in names:
        raise UserError(f"{name!r} has no weights {choice!r}.{suggestion(choice, names)}")
    weights = known[choice] if choice != "DEFAULT" else known.DEFAULT  # type: ignore[attr-defined]
    if not weights.meta["categories"]:
        raise UserError(
            f"The weights {weights.name} of {name!r} are features without a classifier."
        )
    return weights
