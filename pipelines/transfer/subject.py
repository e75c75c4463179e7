"""A model in front of a data set: the images as it sees them, and its features of them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from callbacks.digests import weights_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule
from datamodules.errors import UserError
from datamodules.fractions import Fraction, labelled, with_images
from datamodules.images import Images
from datamodules.preprocessing import CONVERSIONS, Preprocessing
from datamodules.splits import limited
from lightning_modules import Classifier
from lightning_modules.features import Features, cached, extract
from lightning_modules.heads import head_name, replace_head
from pipelines.transfer.tasks import Model, Task

_SIDE = 32  # of images of many sizes, for a model that wants none and does not say its data


@dataclass(frozen=True)
class Subject:
    """One model on one data set.

    Args:
        model: as it was trained.
        task: the data set.
        data: the data set as the model sees it; its `train` are all labelled images in use.
        device: where passes are computed.
        folder: where features are kept; None keeps none.
        batch_size: images in a call.
    """

    model: Model
    task: Task
    data: ImageDataModule
    device: torch.device
    folder: Path | None = None
    batch_size: int = 64

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the data."""
        return self.data.classes

    @property
    def own_head(self) -> bool:
        """Whether the model's head answers the data's classes; a mere equal number is no reason."""
        return self.model.classifier.classes == self.classes

    @property
    def pool(self) -> Images:
        """All labelled images in use."""
        return self.data.images("train")

    @property
    def test(self) -> Images:
        """The test images in use."""
        return self.data.images("test")

    @cached_property
    def features(self) -> Features:
        """Of the labelled images."""
        return self.extracted(self.model.classifier, self.pool, self.file("pool"))

    @cached_property
    def test_features(self) -> Features:
        """Of the test images."""
        return self.extracted(self.model.classifier, self.test, self.file("test"))

    @property
    def width(self) -> int:
        """How many features go into the head."""
        model = self.model.classifier.model
        head = model.get_submodule(head_name(model))
        assert isinstance(head, nn.Linear | nn.Conv2d)
        return head.in_features if isinstance(head, nn.Linear) else head.in_channels

    @cached_property
    def digest(self) -> str:
        """Hashes weights, images and how they are shown."""
        return fingerprint(
            {
                "weights": self.model_digest,
                "architecture": self.model.classifier.architecture,
                "images": [self.pool.digest(), self.test.digest()],
                "preprocessing": repr(self.data.preprocessing),
                "mean": repr(self.model.classifier.preprocessing),
                "classes": [*self.model.classifier.classes, "on", *self.classes],
            }
        )

    @cached_property
    def model_digest(self) -> str:
        """Hashes the weights."""
        return weights_digest(self.model.classifier)

    def file(self, split: str) -> Path | None:
        """Where the features of a split are kept."""
        return self.folder and self.folder / f"{self.digest}-{split}.safetensors"

    def extracted(
        self, classifier: Classifier, images: Images, file: Path | None = None
    ) -> Features:
        """Runs images through any state of the network once."""

        def make() -> Features:
            served = with_images(self.data, test=images)
            served.batch_size = max(self.batch_size, 64)
            batches = (served.on_after_batch_transfer(b, 0) for b in served.test_dataloader())
            return extract(classifier, batches, self.device)

        return cached(file, make)

    def rows_of(self, fraction: Fraction, seed: int) -> Tensor:
        """Positions in the pool that a fraction chooses with a seed."""
        return fraction.choose(self.pool.label, len(self.classes), seed)

    def copied(self, seed: int) -> Classifier:
        """A copy of the classifier with a head for the data: its own, else a fresh one."""
        made = copy.deepcopy(self.model.classifier)
        if not self.own_head:
            torch.manual_seed(seed)
            replace_head(made.model, len(self.classes))
            made.classes = self.classes
        return made

    def notes(self) -> list[str]:
        """What was adapted so that model and data fit."""
        shown, native = self.data.preprocessing, self.data.native
        found = []
        if shown.channels != native.channels:
            found.append(CONVERSIONS[native.channels, shown.channels])
        if shown.resize is not None or shown.crop is not None:
            size = f"resized to {shown.resize}" if shown.resize else ""
            found.append(f"{size} cropped to {shown.crop}".strip() if shown.crop else size)
        if not self.own_head:
            found.append(
                f"{len(self.model.classifier.classes)} source classes, other than these "
                f"{len(self.classes)}: untouched reads them by LEEP's empirical conditional"
            )
        return found


def _one_size(model: Model, shown: ImageDataModule) -> Preprocessing:
    """What the model wants; images of many sizes are cropped to what it was trained on."""
    wanted = model.classifier.preprocessing
    shown.adopt(wanted)
    try:
        shown.images("train").check()
        shown.images("test").check()
    except UserError:
        seen = model.source and model.source.data.images("test").__getitems__([0]).image
        side = _SIDE if seen is None else min(seen.shape[2:])
        return replace(wanted, resize=side, crop=side)
    return wanted


def subject(
    model: Model,
    task: Task,
    fractions: Sequence[Fraction],
    seeds: Sequence[int],
    device: torch.device,
    folder: Path | None = None,
    limit: int | None = None,
    batch_size: int = 64,
) -> Subject:
    """Shows a data set to a model, restricted to the images that some cell needs.

    Args:
        model: to be moved.
        task: to where.
        fractions: of the labelled images.
        seeds: of the choice.
        device: where to compute.
        folder: of the features; None keeps none.
        limit: test images, the same ones for every model; None tests on all.
        batch_size: images in a call.

    Raises:
        UserError: a fraction that the data cannot give.
    """
    data = task.data
    test, every = data.images("test"), labelled(data)
    chosen = [f.choose(every.label, data.num_classes, seed) for f in fractions for seed in seeds]
    pool = every.subset(torch.cat(chosen).unique())
    test = test.subset(limited(test.label, limit, 0))
    shown = with_images(data, train=pool, val=pool.subset(torch.arange(0)), test=test)
    shown.adopt(_one_size(model, shown))
    return Subject(model, task, shown, device, folder, batch_size)
