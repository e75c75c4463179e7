"""A network of which nothing but its code and its weights is known."""

from pathlib import Path

from torch import nn

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.heads import head_outputs
from lightning_modules.input_contract import (
    ARCHITECTURE,
    AS_DATA,
    SAID,
    WEIGHTS,
    all_fields,
    unknown_input,
)
from lightning_modules.network_ends import stem_channels
from lightning_modules.published_weights import published
from lightning_modules.sources.request import Request
from lightning_modules.telling import check_open
from lightning_modules.trial import example, fixed_side, is_lazy
from lightning_modules.unwrapping import unwrapped

_SIDES = {"cifar_resnet": 32}
"""Of built-in families that were made for images of one size."""


def bare_classifier(
    network: nn.Module,
    architecture: str,
    request: Request,
    path: Path | None = None,
    classes: tuple[str, ...] | None = None,
) -> Classifier:
    """Makes a classifier of a network that says nothing of itself: images in [0, 1] as they are.

    A file that somebody published is recognised by its content and brings what was published.

    Args:
        network: with its weights; wrappers round it are taken off.
        architecture: what rebuilds it.
        request: of the user.
        path: of the weights.
        classes: of its outputs, where they are known.
    """
    network = unwrapped(network)
    check_open(network, architecture)
    known = None if path is None else published(path, architecture)
    if known is not None:
        return Classifier(
            network,
            classes=classes or known.classes,
            preprocessing=known.preprocessing,
            architecture=architecture,
            reasons=all_fields(f"{WEIGHTS}, published as {known.name}"),
        )
    channels, why = _channels(network, request)
    wanted, reasons = unknown_input(channels, side_of(network, architecture), why)
    return Classifier(
        network,
        classes=classes or _outputs(network, request),
        preprocessing=wanted,
        architecture=architecture,
        reasons=reasons,
    )


def side_of(network: nn.Module, architecture: str) -> int | None:
    """The only side of images that an architecture was made for; None where it takes any."""
    name = architecture.removeprefix("builtin:")
    known = (side for begin, side in _SIDES.items() if name.startswith(begin))
    return next(known, fixed_side(network))


def fresh_classifier(
    network: nn.Module, architecture: str, request: Request, channels: int
) -> Classifier:
    """Makes a classifier of random weights, which is to be trained: images in [0, 1] as they are.

    Args:
        network: made for the request's classes.
        architecture: what rebuilds it.
        request: of the user.
        channels: that it was made for.
    """
    why = SAID if request.said.channels else ARCHITECTURE
    wanted, reasons = unknown_input(channels, side_of(network, architecture), why)
    loaded = Classifier(
        network,
        classes=request.class_names or request.classes or head_outputs(network),
        preprocessing=wanted,
        architecture=architecture,
        reasons=reasons,
    )
    loaded.facts["fresh"], loaded.pretrained = True, False
    return loaded


def _outputs(network: nn.Module, request: Request) -> int:
    """How many classes it answers; as many as the data have where it accepts no usual image yet."""
    if is_lazy(network):
        return request.classes or 10
    try:
        return head_outputs(network, request.classes)
    except UserError as error:
        if example(network) is not None:
            raise
        if request.classes is not None:
            return request.classes
        raise UserError(
            f"{type(network).__name__} accepts no image of a usual size, so that nobody knows how "
            "many classes it answers: say them with `--classes`."
        ) from error


def _channels(network: nn.Module, request: Request) -> tuple[int, str]:
    """Those of the first convolution if they work, else as said or as the data have them."""
    stem = stem_channels(network)
    for channels in dict.fromkeys((stem, request.channels, 3, 1)):
        if channels is not None and example(network, channels) is not None:
            break
    else:
        channels = stem or request.channels or 3
    if channels == stem:
        return channels, ARCHITECTURE
    return channels, SAID if request.said.channels else AS_DATA
