"""What plain PyTorch gives, a Dataset, a DataLoader or two tensors, as a data module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import MemoryImages
from datamodules.pixel_statistics import MeanStd
from datamodules.preprocessing import Preprocessing
from datamodules.torch_source import Source, class_names, is_random, read_images, underlying


class TorchData(ImageDataModule):
    """Images that a notebook already has, held in memory; an index is the position in the source.

    Images are uint8 or float in [0, 1], `(C, H, W)` with 1 or 3 channels and of one size, or
    Pillow's; not normalised, for mean and standard deviation belong to the model. A DataLoader is
    read in the order of its data set.

    Args:
        test: a Dataset, a DataLoader or two tensors.
        train: the same, where training images are needed.
        val: the same; without it some training images are kept for validation.
        classes: their names, or how many; default: `classes` of the data set `test`, else as many
            as its labels tell, which a model may know better.
        name: of the data set; default: of the class of `test`.
        epsilon: usual attack radii in units of the pixels' range, by threat model; default:
            {"Linf": 8 / 255, "L2": 0.5}.
        options: of `ImageDataModule`.

    Raises:
        UserError: images, labels or classes that are none.

    Example:
        >>> from datamodules.torch_data import TorchData
        >>> data = TorchData((torch.rand(6, 1, 8, 8), torch.arange(6) % 2), classes=["even", "odd"])
        >>> data.test_index.tolist()
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        test: Source,
        train: Source | None = None,
        val: Source | None = None,
        *,
        classes: Sequence[str] | int | None = None,
        name: str | None = None,
        epsilon: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        self._sources_given: dict[str, Any] = {"test": test, "train": train, "val": val}
        self._images_read: dict[str, MemoryImages] = {}
        self._random_splits: set[str] = set()
        self._name = name or _name(test)
        images, names = self.load("test"), _classes(test, classes)
        self.classes_counted = names is None
        self.classes = names or tuple(map(str, range(1 + int(images.label.max()))))
        channels = images.image.shape[1]
        as_they_are = Preprocessing(channels, mean=(0.0,) * channels, std=(1.0,) * channels)
        # Of these images, where other data sets have them by class.
        self.native = as_they_are  # type: ignore[misc]
        self.epsilon = dict(epsilon or {"Linf": 8 / 255, "L2": 0.5})  # type: ignore[misc]
        super().__init__(Path(), **options)
        if self.classes_counted:
            self.note(f"Classes have no names: labels 0 to {len(self.classes) - 1} occur.")

    @property
    def name(self) -> str:
        """As given, or of the class that gives the images."""
        return self._name

    @property
    def has_val(self) -> bool:
        """Whether validation images were given."""
        return self._sources_given["val"] is not None

    def load(self, split: str) -> MemoryImages:
        """Reads a split once.

        Raises:
            UserError: it was not given, or test images that differ when they are read twice.
        """
        if split not in self._images_read:
            source = self._sources_given[split]
            if source is None and split != "test":
                raise UserError(f"Expected `{split}` images, but only others were given.")
            self._images_read[split] = read_images(source, split)  # type: ignore[arg-type]
            if is_random(source):  # type: ignore[arg-type]
                self._random_splits.add(split)
        if "test" in self._random_splits:
            raise UserError(
                "Expected test images that stay the same, but the first ones differ when they are "
                "read twice: leave random transforms out."
            )
        if split in self._random_splits:
            self.note(f"{split}: images are read once, so random transforms are fixed.")
        return self._images_read[split]

    def mean_std(self) -> MeanStd:
        """Measured on some training images, or on test images where there are no others."""
        return self._measured_mean_std()


def _name(source: Source) -> str:
    data = underlying(source)
    while hasattr(data, "dataset"):  # a Subset
        data = data.dataset
    return "TorchData" if isinstance(data, list | tuple) else type(data).__name__


def _classes(source: Source, given: Sequence[str] | int | None) -> tuple[str, ...] | None:
    """Names as given or as the source has them; None where neither is."""
    if isinstance(given, int):
        return tuple(map(str, range(given)))
    return class_names(source) if given is None else tuple(given)
