"""MNIST turned, scrambled, negated, and with fewer classes: tasks to move a model to."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from datamodules.class_subset import only_classes
from datamodules.errors import UserError
from datamodules.images import MemoryImages
from datamodules.mnist import MNIST
from datamodules.preprocessing import Preprocessing


class RotatedMNIST(MNIST):
    """MNIST turned counterclockwise by quarter turns, which move every pixel and blur none.

    Args:
        root: folder of the data; default: the user's cache folder.
        angle: in degrees: 90, 180 or 270.
        options: of `ImageDataModule`.
    """

    def __init__(self, root: Path | None = None, *, angle: int = 90, **options: Any) -> None:
        if angle not in (90, 180, 270):
            raise UserError(f"Expected `data.angle` to be 90, 180 or 270, but got {angle}.")
        self.angle = angle
        super().__init__(root, **options)

    @property
    def name(self) -> str:
        """With the angle."""
        return f"RotatedMNIST-{self.angle}"

    def load(self, split: str) -> MemoryImages:
        """Turns every image."""
        images = super().load(split)
        turned = torch.rot90(images.image, self.angle // 90, (2, 3)).contiguous()
        return MemoryImages(turned, images.label, images.index)


class PermutedMNIST(MNIST):
    """MNIST with its pixels in one random order, the same for every image (Goodfellow et al. 2013).

    A convolution finds nothing local in it: the hardest of the usual continual-learning tasks.

    Args:
        root: folder of the data; default: the user's cache folder.
        permutation: seed of the order.
        options: of `ImageDataModule`.
    """

    def __init__(self, root: Path | None = None, *, permutation: int = 0, **options: Any) -> None:
        self.permutation = permutation
        super().__init__(root, **options)

    @property
    def name(self) -> str:
        """With the seed of the order."""
        return f"PermutedMNIST-{self.permutation}"

    def load(self, split: str) -> MemoryImages:
        """Reorders the pixels of every image."""
        images = super().load(split)
        # RandomState: numpy promises never to change what it draws.
        order = torch.from_numpy(np.random.RandomState(self.permutation).permutation(28 * 28))
        scrambled = images.image.flatten(2)[:, :, order].view_as(images.image)
        return MemoryImages(scrambled.contiguous(), images.label, images.index)


class InvertedMNIST(MNIST):
    """MNIST in negative: black digits on white."""

    native: ClassVar[Preprocessing] = Preprocessing(channels=1, mean=(0.8693,), std=(0.3081,))

    def load(self, split: str) -> MemoryImages:
        """Negates every image."""
        images = super().load(split)
        return MemoryImages(255 - images.image, images.label, images.index)


class MNISTSubset(MNIST):
    """MNIST with some of its classes, numbered anew from 0.

    Args:
        root: folder of the data; default: the user's cache folder.
        digits: the classes, in the order of their new labels.
        options: of `ImageDataModule`.
    """

    def __init__(self, root: Path | None = None, *, digits: str = "56789", **options: Any) -> None:
        if (
            len(digits) < 2
            or len(set(digits)) < len(digits)
            or not set(digits) <= set("0123456789")
        ):
            raise UserError(
                f"Expected `data.digits` to be two or more different digits like 56789, but got "
                f"{digits!r}."
            )
        self.classes = tuple(digits)
        super().__init__(root, **options)

    @property
    def name(self) -> str:
        """With the classes."""
        return f"MNISTSubset-{''.join(self.classes)}"

    def load(self, split: str) -> MemoryImages:
        """Keeps the images of the classes, with the indices they have in MNIST."""
        return only_classes(super().load(split), [int(digit) for digit in self.classes])
