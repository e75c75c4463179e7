"""A network that is already in memory."""

from torch import nn

from lightning_modules.classifier import Classifier
from lightning_modules.sources.bare import bare_classifier
from lightning_modules.sources.request import Request


def from_module(module: nn.Module, request: Request) -> Classifier:
    """A classifier of a network that sees images in [0, 1] as they are; a classifier stays itself.

    Args:
        module: from images to answers; it is used as it is, so what changes in one of them changes
            in the other.
        request: what the user says of it.
    """
    if isinstance(module, Classifier):
        return module
    return bare_classifier(module, f"python:{type(module).__name__}", request)
