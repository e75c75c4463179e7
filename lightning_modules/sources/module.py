"""A network that is already in memory."""

from dataclasses import replace

from torch import nn

from datamodules.preprocessing import Preprocessing
from lightning_modules.classifier import Classifier
from lightning_modules.heads import head_outputs


def from_module(module: nn.Module, like: Preprocessing | None = None) -> Classifier:
    """A classifier of a network that sees images in [0, 1] as they are; a classifier stays itself.

    Args:
        module: from images to logits.
        like: of the data; only its channels and sizes are taken.
    """
    if isinstance(module, Classifier):
        return module
    like = like or Preprocessing()
    plain = replace(like, mean=(0.0,) * like.channels, std=(1.0,) * like.channels)
    return Classifier(
        module,
        classes=head_outputs(module),
        preprocessing=plain,
        architecture=f"python:{type(module).__name__}",
    )
