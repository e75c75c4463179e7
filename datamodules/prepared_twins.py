"""The undisturbed images that corrupted ones were made of, or what stands for them."""

from pathlib import Path
from typing import ClassVar

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages, Images, MemoryImages
from datamodules.pixel_statistics import MeanStd
from datamodules.prepared_arrays import PreparedArrays, open_arrays
from datamodules.prepared_folders import CLEAN, PreparedFolders, class_images, open_folders
from datamodules.preprocessing import Preprocessing

PreparedImages = PreparedArrays | PreparedFolders
"""Stored images by corruption, severity and picture."""


class Twins(ImageDataModule):
    """Test images alone, as they are.

    Args:
        images: all of them.
        classes: their names; None counts the labels, which a model may know better.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {"Linf": 4 / 255, "L2": 3.0}

    def __init__(self, images: Images, classes: tuple[str, ...] | None) -> None:
        self._images = images
        self.classes_counted = classes is None
        self.classes = classes or tuple(map(str, range(1 + int(images.label.max()))))
        if isinstance(images, MemoryImages):  # of one size and kind
            n = images.image.shape[1]
            self.native = Preprocessing(n, mean=(0.0,) * n, std=(1.0,) * n)  # type: ignore[misc]
        super().__init__(images.root if isinstance(images, FileImages) else Path())

    def load(self, split: str) -> Images:
        """The test images.

        Raises:
            UserError: others are asked for.
        """
        if split != "test":
            raise UserError(f"Expected `{split}` images, but there are only images for testing.")
        return self._images

    def mean_std(self) -> MeanStd:
        """Measured; nobody has stated them."""
        return self._measured_mean_std()


def open_stored(root: Path, turn: bool, severity: int | None) -> PreparedImages:
    """Opens the arrays or folders of a set, whichever there are; see `Prepared`."""
    if not root.is_dir():
        raise UserError(f"There is no folder {str(root)!r}: give `--data Prepared:FOLDER`.")
    if any(root.glob("*.npy")):
        return open_arrays(root, severity)
    return open_folders(root, turn, severity)


def open_twins(
    given: str | ImageDataModule | None, stored: PreparedImages, turn: bool
) -> tuple[ImageDataModule, bool]:
    """The data set whose test images are the undisturbed twins.

    Args:
        given: a data set or its name, or a folder of class folders; None looks for `clean` beside.
        stored: the corrupted images.
        turn: follow EXIF orientation.

    Returns:
        The data set, and whether it is undisturbed: else it only stands for the pictures.
    """
    if isinstance(given, ImageDataModule):
        return given, True
    folder = stored.root / CLEAN if given is None else Path(given).expanduser()
    if folder.is_dir():
        return Twins(*class_images(folder, turn)), True
    if given is not None:
        from datamodules import open_data  # which lists the data set that this is of

        return open_data(given), True
    return Twins(*stored.stand_in()), False


def sizes(images: Images) -> set[tuple[int, int]]:
    """Every (height, width) of images as they are stored, files as far as they were examined."""
    if isinstance(images, FileImages):
        return {shape[1:] for shape in images.shapes}
    assert isinstance(images, MemoryImages)
    height, width = images.image.shape[-2:]
    return {(height, width)}
