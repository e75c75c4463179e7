"""The handwritten digits that ship inside scikit-learn."""

from typing import ClassVar

import torch

from datamodules.image_datamodule import ImageDataModule
from datamodules.images import MemoryImages
from datamodules.preprocessing import Preprocessing
from datamodules.splits import stratified_split

_TEST_FRACTION = 0.3


class Digits(ImageDataModule):
    """1,797 real handwritten digits, 8x8 grey, inside scikit-learn: nothing to download.

    Alpaydin & Kaynak 1998 (UCI "Optical Recognition of Handwritten Digits", its test part). 30 %
    are kept for testing by the seed; an index is the image's position among the 1,797.
    """

    native: ClassVar[Preprocessing] = Preprocessing(channels=1, mean=(0.305,), std=(0.376,))
    epsilon: ClassVar[dict[str, float]] = {"Linf": 0.2, "L2": 1.0}
    classes = tuple("0123456789")

    def load(self, split: str) -> MemoryImages:
        """Splits by the seed; grey levels 0..16 become [0, 1], which 8 bits would round."""
        self.note(f"Split at random: {_TEST_FRACTION:.0%} for testing (seed {self.seed}).")
        from sklearn.datasets import load_digits  # half a second that other commands can spare

        pixels, target = load_digits(return_X_y=True)
        image = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) / 16
        label = torch.from_numpy(target).long()
        train, test = stratified_split(label, _TEST_FRACTION, self.seed)
        return MemoryImages(image, label).subset(test if split == "test" else train)


class RotatedDigits(Digits):
    """The digits of scikit-learn turned by 90 degrees: other images to move a model to, offline."""

    def load(self, split: str) -> MemoryImages:
        """Turns every image counterclockwise by a quarter, which blurs no pixel."""
        images = super().load(split)
        turned = torch.rot90(images.image, 1, (2, 3)).contiguous()
        return MemoryImages(turned, images.label, images.index)
