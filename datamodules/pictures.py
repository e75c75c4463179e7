"""All pictures of a folder, whatever they show: no labels."""

from pathlib import Path
from typing import Any, ClassVar

import torch

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_files import listed_files
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages
from datamodules.preprocessing import Preprocessing


class Pictures(ImageDataModule):
    """Images without labels, in and below a folder, all of them for testing.

    What is no image by its content is left out and told, as nobody has sorted such a folder.

    Args:
        root: the folder.
        options: of `ImageDataModule`.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {"Linf": 4 / 255, "L2": 3.0}
    classes = ("not labelled",)

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(root, **{"on_corrupt": "skip", **options})

    @property
    def title(self) -> str:
        """The folder's name."""
        return printable(self.root.resolve().name)

    def load(self, split: str) -> FileImages:
        """Lists the files in and below the folder, by name.

        Raises:
            UserError: there is no image, or another split than `test` is asked for.
        """
        if split != "test":
            raise UserError(f"Expected a data set with labels, but {self.title!r} is a folder.")
        listing = listed_files({"": self.root})
        if not listing.files:
            raise UserError(f"Expected images in {str(self.root)!r}, but there are none.")
        for note in listing.notes(self.title):
            self.note(note)
        return FileImages(listing.files, torch.tensor(listing.label), self.root, self.preprocessing)
