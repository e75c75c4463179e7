"""Sets that were corrupted beforehand and stored: CIFAR-10-C, ImageNet-C, or your own."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.corrupt import names_to_skip
from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import Images
from datamodules.pixel_statistics import MeanStd
from datamodules.prepared_twins import open_stored, open_twins, sizes
from datamodules.preprocessing import Preprocessing, converted

_NO_TWINS = (
    "There are no undisturbed twins (see `--data.clean`), so nothing is told of clean accuracy, of "
    "where half is gone, or of how much the error grows (no relative mCE)."
)


class Prepared(ImageDataModule):
    """A set that was corrupted beforehand: CIFAR-10-C, ImageNet-C, or folders beside clean twins.

    `root` holds `<corruption>.npy` with `labels.npy`; or `<corruption>/<1 to 5>/<class>/<file>`,
    also deeper (`blur/defocus_blur/1/...`); or `<name>/<class>/<file>` beside `clean` with the same
    file names. Every corruption and severity is measured on the same pictures, those that all have,
    and so are their undisturbed twins. `assay evaluate` measures it; its corruptions take the place
    of the preset's probes, or stand beside those named.

    Args:
        root: folder of the set.
        clean: the undisturbed twins: a data set as `CIFAR10:cifar` or `ImageFolder:photos`, whose
            test images they are, or a folder of class folders; default: the folder `clean` in
            `root`, else there are none.
        severity: of arrays or folders that hold one severity and do not say which.
        exif_orientation: whether photographs are turned as their EXIF orientation says.
        options: of `ImageDataModule`.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {"Linf": 4 / 255, "L2": 3.0}
    own_probes: ClassVar[bool] = True

    def __init__(
        self,
        root: Path | None = None,
        *,
        clean: str | ImageDataModule | None = None,
        severity: int | None = None,
        exif_orientation: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(root, **options)
        if severity is not None and not 1 <= severity <= 5:
            raise UserError(f"Expected `data.severity` from 1 to 5, but got {severity}.")
        self.stored = open_stored(self.root, exif_orientation, severity)
        self.twins, self.undisturbed = open_twins(clean, self.stored, exif_orientation)
        self.classes, self.classes_counted = self.twins.classes, self.twins.classes_counted
        self.native = self.twins.native  # type: ignore[misc]
        self.epsilon = self.twins.epsilon  # type: ignore[misc]
        self._ready: set[tuple[int, int]] = set()
        self.adopt(self.native)

    @property
    def title(self) -> str:
        """With the folder's name, as two folders are two data sets."""
        return f"{self.name}:{printable(self.root.resolve().name)}"

    @property
    def files_in(self) -> Path:
        """Where the undisturbed images are."""
        return self.twins.files_in

    @property
    def has_val(self) -> bool:
        """Whether the twins' data set has validation images of their own."""
        return self.twins.has_val

    def load(self, split: str) -> Images:
        """The undisturbed twins of the pictures that every cell has; other splits are the twins'.

        Without twins the mildest images of the first corruption stand for the pictures.
        """
        if split != "test":
            return self.twins.load(split)
        self.twins.on_corrupt = self.on_corrupt
        images = self.twins.images("test")  # and not `load`: a limit of theirs holds
        self.skipped += self.twins.skipped
        rows = self.stored.rows_of(images)
        told = [self.stored.told, *self.twins.notes, *([] if self.undisturbed else [_NO_TWINS])]
        if len(rows) < len(images):
            told.append(f"{len(rows):,} of {len(images):,} undisturbed images are in every cell.")
        for note in told:
            self.note(note)
        return images.subset(rows)

    def setup(self, stage: str) -> None:
        """Decodes every stored file once, so that a long run does not end at a broken one."""
        loaded = "test" in self._splits
        super().setup(stage)
        if stage == "test" and not loaded:
            self._splits["test"] = self._readable(self._splits["test"])

    def _readable(self, images: Images) -> Images:
        """The images of pictures that can be read in every cell."""
        broken = self.stored.broken(images.index)
        total = len(images) * sum(map(len, self.stored.severities.values()))
        reasons = {name: why for name, (why, _) in broken.items()}
        self.skipped += names_to_skip(reasons, total, self.root, self.on_corrupt)
        gone = torch.tensor([index for _, index in broken.values()], dtype=torch.long)
        left = (~torch.isin(images.index, gone)).nonzero()[:, 0]
        if not len(left):
            raise UserError(f"No picture of {self.title} can be read in every cell: mend some.")
        return images.subset(left) if len(gone) else images

    def mean_std(self) -> MeanStd:
        """Of the twins' data set."""
        self.twins.adopt(self.preprocessing)
        return self.twins.mean_std()

    def shown_size(self) -> tuple[int, int]:
        """(height, width) that the model is shown, of undisturbed and stored images alike.

        What is stored in that size is not resized again, which would change scores
        (RobustBench#59), unless undisturbed images have that size before they are resized.

        Raises:
            UserError: stored images come out in another size.
        """
        height, width = self.taken("test", 1).image.shape[-2:]
        before = sizes(self._splits["test"]) if self.undisturbed else set()
        stored = {(h, w): name for (_, h, w), name in self.stored.shapes.items()}
        self._ready = {(height, width)} & set(stored) - before
        for came, name in ((self._came(*given), name) for given, name in stored.items()):
            if came != (height, width):
                raise UserError(
                    f"Expected stored images that come to {height}x{width} (height x width), as "
                    f"the undisturbed ones, but '{name}' comes to {came[0]}x{came[1]}: give "
                    "`--data.resize` and `--data.crop`."
                )
        if self._ready and (self.preprocessing.resize or self.preprocessing.crop):
            self.note(f"Stored images of {height}x{width} pixels are not resized or cropped again.")
        return height, width

    def shown(self, corruption: str, severity: int, index: Tensor) -> Tensor:
        """`(N, C, H, W)` uint8 images as the model is shown them; `shown_size` comes first."""
        images = self.stored.images(corruption, severity, index)
        return torch.stack([self._prepared(image) for image in images])

    def _prepared(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) in self._ready:
            return converted(image, self.preprocessing.channels)
        return self.preprocessing.apply(image)

    def _came(self, height: int, width: int) -> tuple[int, int]:
        """The size in which an image of a size is shown."""
        if (height, width) in self._ready:
            return height, width
        crop, resized = self.preprocessing.crop, self.preprocessing.resized_size(height, width)
        return resized if crop is None else (crop, crop)
