"""Training data damaged on purpose; the images for validation and testing stay as they are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.fractions import with_images
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import Images
from datamodules.preprocessing import Preprocessing, in_unit_range

Change = Callable[[Tensor, Tensor], Tensor]
"""From images `(n, C, H, W)` in [0, 1] and their indices `(n,)` to changed images in [0, 1]."""


@dataclass(frozen=True)
class Spoiling:
    """What is done to which samples; all tensors by sample index, so that the order is free.

    Args:
        index: `(n,)` of the spoiled samples, ascending.
        label: `(n,)` they get; None where labels stay.
        change: of their pixels; None where they stay.
        dropped: whether they are left out altogether.
        facts: kind, rate and further settings; plain values.
    """

    index: Tensor
    label: Tensor | None = None
    change: Change | None = None
    dropped: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


class DataDamage(Protocol):
    """Damages training data; hyper-parameters in the constructor, the images in the call."""

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """Says what happens to which samples.

        Args:
            label: `(N,)`.
            index: `(N,)` of the samples.
            classes: how many there are.
            seed: of the draw; equal seeds give equal damage.
        """
        ...


class SpoiledImages(Dataset):
    """A split with some samples spoiled; the pixels as they come out of the preprocessing.

    Args:
        images: as they were.
        spoiling: what is done to them.
    """

    def __init__(self, images: Images, spoiling: Spoiling) -> None:
        self.whole, self.spoiling = images, spoiling
        hit = torch.isin(images.index, spoiling.index)
        rows = (~hit).nonzero()[:, 0] if spoiling.dropped else torch.arange(len(hit))
        self.images = images.subset(rows) if spoiling.dropped else images
        self.index, self.label = self.images.index, self.images.label.clone()
        if spoiling.label is not None:
            place = torch.searchsorted(spoiling.index, self.index[hit])
            self.label[hit] = spoiling.label[place]

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the images below."""
        return self.images.preprocessing

    @preprocessing.setter
    def preprocessing(self, wanted: Preprocessing) -> None:
        self.images.preprocessing = self.whole.preprocessing = wanted

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        batch = self.images.__getitems__(rows)
        label = self.label[torch.as_tensor(rows)]
        hit = torch.isin(batch.index, self.spoiling.index)
        if self.spoiling.change is None or not bool(hit.any()):
            return Batch(batch.image, label, batch.index)
        image = batch.image.clone()
        changed = self.spoiling.change(in_unit_range(image[hit]), batch.index[hit])
        image[hit] = _stored(changed.clamp(0, 1), image.dtype)
        return Batch(image, label, batch.index)

    def subset(self, rows: Tensor) -> "SpoiledImages":
        """Returns some of the images, spoiled as they were."""
        return SpoiledImages(self.images.subset(rows), self.spoiling)

    def digest(self) -> str:
        """Hashes what the images were and what was done to them."""
        return f"{self.whole.digest()} {self.spoiling.facts}"

    def check(self) -> None:
        """Refuses images that the preprocessing cannot bring to one size."""
        self.images.check()


class SpoiledRecord(NamedTuple):
    """Which samples were spoiled, and how they were.

    Args:
        index: `(n,)` of the spoiled samples, ascending.
        old_label: `(n,)` before.
        new_label: `(n,)` after; equal where labels stay.
        facts: kind, rate, seed, samples and those whose label is now wrong; plain values.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks a record for
    old_label: Tensor
    new_label: Tensor
    facts: dict[str, Any]


def spoiled(
    data: ImageDataModule, damage: DataDamage, seed: int = 0
) -> tuple[ImageDataModule, SpoiledRecord]:
    """A copy of a data set whose training images are damaged; the data set is left as it is.

    Args:
        data: undamaged.
        damage: of training data.
        seed: of the draw.

    Returns:
        The damaged data set and what was done; `restored` undoes it.
    """
    data.images("test")  # loaded before, so that both share it
    train = data.images("train")
    spoiling = damage(train.label, train.index, data.num_classes, seed)
    images, hit = SpoiledImages(train, spoiling), torch.isin(train.index, spoiling.index)
    rows = hit.nonzero()[:, 0][train.index[hit].argsort()]
    old = train.label[rows].clone()
    new = old if spoiling.label is None else spoiling.label
    facts = {
        **spoiling.facts, "seed": seed, "samples": len(spoiling.index),
        "wrong_labels": int((old != new).sum()),
    }  # fmt: skip
    copied = with_images(data, train=images)  # type: ignore[arg-type]  # a property is as good
    copied._sources["train"] = {**copied._sources.get("train", {}), "spoiled": facts}
    copied.note(f"training data spoiled: {damage!r}, {len(spoiling.index)} samples, seed {seed}")
    return copied, SpoiledRecord(spoiling.index, old, new, facts)


def restored(data: ImageDataModule) -> ImageDataModule:
    """A copy of a spoiled data set with the training images as they were before the last damage.

    Raises:
        UserError: nothing was spoiled.
    """
    train = data.images("train")
    if not isinstance(train, SpoiledImages):
        raise UserError("Expected training data that was spoiled, but it is as it was loaded.")
    copied = with_images(data, train=train.whole)
    copied._sources["train"] = {
        name: fact for name, fact in copied._sources["train"].items() if name != "spoiled"
    }
    copied.notes = [note for note in copied.notes if not note.startswith("training data spoiled")]
    return copied


def _stored(image: Tensor, kind: torch.dtype) -> Tensor:
    """Images in [0, 1] in the type that the loader hands on."""
    return (image * 255).round().to(kind) if kind == torch.uint8 else image.to(kind)
