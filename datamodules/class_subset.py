"""A part of the classes of a data set."""

from collections.abc import Sequence

import torch

from datamodules.images import MemoryImages


def only_classes(images: MemoryImages, classes: Sequence[int]) -> MemoryImages:
    """Keeps images of some classes, which are numbered anew in the order given.

    Args:
        images: with labels of the whole data set.
        classes: old labels.
    """
    kept = torch.isin(images.label, torch.tensor(classes)).nonzero()[:, 0]
    part = images.subset(kept)
    part.label = (part.label[:, None] == torch.tensor(classes)).long().argmax(1)
    return part
