"""The two halves of CIFAR-10 that share least: what lives, and what drives, flies or floats."""

from datamodules.cifar10 import CIFAR10
from datamodules.class_subset import only_classes
from datamodules.images import MemoryImages

_ALL = CIFAR10.classes


class _Half(CIFAR10):
    """Some classes of CIFAR-10, numbered anew; indices stay those of CIFAR-10."""

    @property
    def name(self) -> str:
        """Its own, with the form of the test images."""
        return type(self).__name__ + super().name.removeprefix("CIFAR10")

    def load(self, split: str) -> MemoryImages:
        """Keeps the images of the classes."""
        self.classes, own = _ALL, self.classes  # files are labelled by all of the names
        try:
            images = super().load(split)
        finally:
            self.classes = own
        return only_classes(images, [_ALL.index(name) for name in own])


class CIFAR10Animals(_Half):
    """The six animals of CIFAR-10."""

    classes = ("bird", "cat", "deer", "dog", "frog", "horse")


class CIFAR10Vehicles(_Half):
    """The four vehicles of CIFAR-10."""

    classes = ("airplane", "automobile", "ship", "truck")
