"""The images that a pattern is learnt on: none of those that it is judged by."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.randomness import Draw
from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.preprocessing import in_unit_range


@dataclass(frozen=True)
class Examples:
    """Images to learn on.

    Args:
        batch: images in [0, 1] as the model is shown them, labels and indices.
        split: "validation", or "test" where there are no others.
        held_back: `(n,)` indices of test images that are therefore not judged.
    """

    batch: Batch
    split: str
    held_back: Tensor

    @classmethod
    def of(cls, data: ImageDataModule, count: int, seed: int) -> "Examples":
        """Takes validation images; where there are none, test images, which are then not judged.

        Of test images at most half, chosen by index, the same ones for every model.

        Args:
            data: left as it is, other splits included.
            count: how many, at most.
            seed: of the choice.

        Raises:
            UserError: there are too few images.
        """
        aside = data.with_images()  # what is loaded here is no part of the evaluation
        try:
            if len(aside.images("val")):
                return cls(aside.taken("val", count), "validation", torch.arange(0))
        except UserError:
            pass  # there are test images only
        images = aside.images("test")
        if len(images) < 2:
            raise UserError(
                "Expected at least two images, one to learn a pattern on and one to try it on, but "
                f"got {len(images)}."
            )
        rank = Draw(seed, images.index).uniform("examples", 0, ()).argsort(stable=True)
        rows = rank[: min(count, len(images) // 2)].sort().values
        batch = images.__getitems__(rows.tolist())
        batch = Batch(in_unit_range(batch.image), batch.label, batch.index)
        return cls(batch, "test", batch.index)

    @property
    def digest(self) -> str:
        """Of pixels, labels and indices: what a pattern hangs on."""
        parts = (part.contiguous().numpy().tobytes() for part in self.batch)
        return hashlib.sha256(b"".join(parts)).hexdigest()[:8]

    def left(self, index: Tensor) -> Tensor:
        """Of `(N,)` indices those of images that may be judged."""
        return index[~torch.isin(index, self.held_back)]

    def __str__(self) -> str:
        return f"{len(self.batch.image):,} {self.split} images"
