"""The base class of every data set: splits, loaders, device-side conversion, manifest."""

import copy
import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning as L
import PIL
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import Self  # Python 3.10 has none

from datamodules.augmentation import AUGMENTATIONS
from datamodules.batch import Batch
from datamodules.corrupt import OnCorrupt, read_each, readable
from datamodules.decoding import DECODER
from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.images import FileImages, Images
from datamodules.limits import parsed_limit
from datamodules.pixel_statistics import MeanStd, mean_std_of
from datamodules.preprocessing import CONVERSIONS, Preprocessing, in_unit_range
from datamodules.repeated import repeated_images, shared_images
from datamodules.roots import default_root
from datamodules.sampler import ExactDistributedSampler
from datamodules.splits import stratified_order, stratified_split
from datamodules.training_order import TrainingLoader, TrainingOrder


class ImageDataModule(L.LightningDataModule, ABC):
    """Serves `Batch`es of images in [0, 1] with label and index.

    A data set is a subclass with a `native` preprocessing, usual attack radii and a method `load`.

    Args:
        root: folder of the data; default: the user's cache folder.
        batch_size: images a batch and process.
        num_workers: loading processes; default: none for data in memory, up to 4 for files.
        resize: short side, or (height, width), to resize to before the crop; default: what the
            model's weights want.
        crop: side of the centre crop; default: what the model's weights want.
        channels: 1 (grey) or 3 (RGB); default: what the model wants.
        val_fraction: share of the training images kept for validation where there is no such split.
        seed: of splits, limit and shuffling.
        limit: use so many samples of each split, chosen at random by the seed, stratified; or
            `first:N`, the first N test images by index; or test images by their indices, as
            `[0, 5, 7]` or `indices:FILE` (numbers, or the splits.json of a run).
        on_corrupt: what to do about files that are no images: "refuse", or "skip" and record them.
        augment: of training images, on the device; "crop" pads with 4 pixels, "crop_flip" also
            mirrors.
    """

    native: ClassVar[Preprocessing]
    """As the images are."""
    epsilon: ClassVar[dict[str, float]]
    """Usual attack radii in pixel units, by threat model."""
    classes: tuple[str, ...]
    classes_counted: bool = False
    """Whether their number is only that of the labels that occur."""
    undisturbed: bool = True
    """Whether its test images are; else they only stand for pictures that it has disturbed."""
    own_probes: ClassVar[bool] = False
    """Whether it brings disturbed images, which only `assay evaluate` measures."""

    def __init__(
        self,
        root: Path | None = None,
        batch_size: int = 256,
        num_workers: int | None = None,
        resize: int | tuple[int, int] | None = None,
        crop: int | None = None,
        channels: Literal[1, 3] | None = None,
        val_fraction: float = 0.1,
        seed: int = 0,
        limit: int | list[int] | str | None = None,
        on_corrupt: OnCorrupt = "refuse",
        augment: Literal["none", "crop", "crop_flip"] = "none",
    ) -> None:
        super().__init__()
        for name, number, low in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if number is not None and number < low:
                raise UserError(f"Expected `data.{name}` to be at least {low}, but got {number}.")
        if not 0 < val_fraction < 1:
            raise UserError(f"Expected `data.val_fraction` in (0, 1), but got {val_fraction}.")
        # `os.path`, which leaves `~` where nobody has a home; Path would raise
        home = Path(os.path.expanduser(root)) if root else None
        self.root = home or default_root(type(self).__name__)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_fraction, self.seed = val_fraction, seed
        self.limit, self._limit = limit, parsed_limit(limit)
        self.on_corrupt: OnCorrupt = on_corrupt
        self.augment = augment
        self._options = {"resize": resize, "crop": crop, "channels": channels}
        self.preprocessing = self.native
        self.skipped: tuple[str, ...] = ()
        """Files that are no images and were left out."""
        self.none_alone = False
        """Whether an image that the last batch of a training epoch would hold alone is left out."""
        self.notes: list[str] = []
        """About the splits, to be shown with the results."""
        self._splits: dict[str, Images] = {}
        self._sources: dict[str, dict[str, Any]] = {}
        self._generator: torch.Generator | None = None
        self.adopt(self.native)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the data set."""
        return type(self).__name__

    @property
    def title(self) -> str:
        """Tells it from others of its kind: for folders, `ImageFolder:photos`."""
        return self.name

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def has_val(self) -> bool:
        """Whether validation images are a split of their own; else they are taken from training."""
        return False

    @property
    def files_in(self) -> Path:
        """The folder that names of image files are told from."""
        return self.root

    @abstractmethod
    def load(self, split: str) -> Images:
        """Returns all images of "train", "val" or "test" in a fixed order.

        "val" is asked for only when `has_val`.
        """

    def note(self, text: str) -> None:
        """Keeps a sentence, once, to be shown with the results."""
        if text not in self.notes:
            self.notes.append(text)

    def adopt(self, preprocessing: Preprocessing) -> None:
        """Takes what a model wants; the user's own options come first."""
        wanted = {name: value for name, value in self._options.items() if value is not None}
        if wanted.get("channels", preprocessing.channels) != preprocessing.channels:
            n = wanted["channels"]
            preprocessing = replace(preprocessing, mean=(0.0,) * n, std=(1.0,) * n, channels=n)
        self.preprocessing = replace(preprocessing, **wanted)
        for images in self._splits.values():
            images.preprocessing = self.preprocessing

    def setup(self, stage: str) -> None:
        """Loads the splits of "fit", "validate" or "test" once."""
        if stage == "test" and "test" not in self._splits:
            self._keep("test", self.load("test"))
        if stage in ("fit", "validate") and "val" not in self._splits:
            train = self.load("train")
            if self.has_val:
                val = self.load("val")
            else:
                rest, part = stratified_split(train.label, self.val_fraction, self.seed)
                train, val = train.subset(rest), train.subset(part)
            self._keep("train", train)
            self._keep("val", val)

    def _keep(self, split: str, images: Images) -> None:
        self._check_labels(images.label)
        self._sources[split] = {"available": len(images), "digest": images.digest()}
        images.preprocessing = self.preprocessing
        rows = self._limit.rows(images.label, images.index, split, self.seed)
        images = images if rows is None else images.subset(rows)
        if isinstance(images, FileImages):
            images, skipped, notes = readable(images, self.files_in, self.on_corrupt)
            self.skipped += skipped
            for note in notes:
                self.note(f"{split}: {note}")
        self._splits[split] = images
        self._tell_copies(split)

    def _tell_copies(self, split: str) -> None:
        """Says which files of a split are there twice, and which test images were learnt from."""
        files = {name: part for name, part in self._splits.items() if isinstance(part, FileImages)}
        if split in files and (told := repeated_images(files[split])):
            self.note(f"{split}: {told}.")
        if len(files) == 3 and (told := shared_images(files["test"], files["train"], files["val"])):
            self.note(f"{told}, byte by byte.")

    def _check_labels(self, label: Tensor) -> None:
        low, high = int(label.min()), int(label.max())
        if low < 0 or high >= self.num_classes:
            raise UserError(
                f"Expected labels 0 to {self.num_classes - 1} for the {self.num_classes} classes "
                f"of {self.name}, but got {low} to {high}."
            )

    def images(self, split: str) -> Images:
        """Returns a split, loaded if need be."""
        self.setup("test" if split == "test" else "fit")
        return self._splits[split]

    def with_images(self, **splits: Images) -> Self:
        """A copy that serves other images; nothing is loaded again.

        Args:
            **splits: images by split, e.g. `train`; the others stay. Have the test images loaded
                before, so that no seed can choose others.
        """
        other = copy.copy(self)
        other._splits, other._sources = {**self._splits, **splits}, dict(self._sources)
        other.notes = list(self.notes)
        for images in splits.values():
            images.preprocessing = self.preprocessing
        return other

    def taken(self, split: str, count: int) -> Batch:
        """Returns some images of a split in float32 [0, 1]: always the same, classes balanced.

        Raises:
            UserError: they would not come out in one size.
        """
        images = self.images(split)
        images.check()
        rows = stratified_order(images.label, self.seed)[:count]
        batch = images.__getitems__(rows.tolist())
        return Batch(in_unit_range(batch.image), batch.label, batch.index)

    @property
    def test_index(self) -> Tensor:
        """`(N,)` indices of all test samples, whichever process measures them."""
        return self.images("test").index

    def train_dataloader(self) -> DataLoader:
        """Shuffled by seed and epoch; every device gets its share."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader:
        """In order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        """In order; every sample once, also on several devices."""
        return self._loader("test")

    def mean_std(self) -> MeanStd:
        """Mean and standard deviation of the data's own pixels in [0, 1], for every channel.

        The documented values of `native` where they fit the channels that are shown, else measured.
        They are for comparing with what a model states; nothing is normalised by them unasked.
        """
        if self.native.channels == self.preprocessing.channels:
            return self.native.mean, self.native.std
        return self._measured_mean_std()

    def _measured_mean_std(self, count: int = 256) -> MeanStd:
        """Of some training images, chosen as by a limit; of test images where there are no others.

        Reads no more files than these, and leaves no notes.
        """
        notes, skipped = list(self.notes), self.skipped
        try:
            try:
                images = self._splits.get("train") or self.load("train")
            except UserError:
                images = self._splits.get("test") or self.load("test")
        finally:
            self.notes, self.skipped = notes, skipped
        images = images.subset(stratified_order(images.label, self.seed)[:count].sort().values)
        images.preprocessing = self.preprocessing
        rows = [str(row) for row in range(len(images))]
        shown, broken = read_each(lambda row: images.__getitems__([int(row)]).image, rows)
        if not shown:
            raise UserError(f"No image of {self.name} can be shown: {next(iter(broken.values()))}")
        return mean_std_of(shown.values())

    def _loader(self, split: str) -> DataLoader:
        images = self.images(split)
        images.check()
        workers = self.num_workers
        if workers is None:
            workers = min(4, os.cpu_count() or 1) if isinstance(images, FileImages) else 0
        return (TrainingLoader if split == "train" else DataLoader)(
            images,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=self._sampler(images, split),
            num_workers=workers,
            collate_fn=_collated_already,  # type: ignore[arg-type]
            persistent_workers=workers > 0 and split == "train",
            pin_memory=torch.cuda.is_available(),
            # Its own generator: otherwise every pass would advance the global one.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _sampler(
        self, images: Images, split: str
    ) -> TrainingOrder | ExactDistributedSampler | None:
        processes = self.trainer.world_size if self.trainer else 1
        if split == "train":
            rank = self.trainer.global_rank if self.trainer else 0
            dataset: Any = images
            order = (self.seed, self.batch_size, self.none_alone)
            return TrainingOrder(dataset, processes, rank, *order)
        if split != "test" or processes == 1:
            return None
        if len(images) < processes:
            raise UserError(
                f"Expected at least one test sample a process, but got {len(images)} for "
                f"{processes}: use fewer `trainer.devices`."
            )
        rank = self.trainer.global_rank  # type: ignore[union-attr]
        return ExactDistributedSampler(images, processes, rank)  # type: ignore[arg-type]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Converts to float32 in [0, 1] and augments training images, on the device."""
        image = in_unit_range(batch.image)
        if self.trainer and self.trainer.training:
            image = AUGMENTATIONS[self.augment](image, self._random(image.device))
        return Batch(image, batch.label, batch.index)

    def _random(self, device: torch.device) -> torch.Generator:
        """The augmentation's own random numbers, different in every process."""
        if self._generator is None or self._generator.device != device:
            rank = self.trainer.global_rank if self.trainer else 0
            self._generator = torch.Generator(device).manual_seed(self.seed + 1_000_003 * rank)
        return self._generator

    @property
    def augmentation_state(self) -> Tensor | None:
        """Where the augmentation's random numbers are; None before the first batch."""
        return None if self._generator is None else self._generator.get_state()

    def resume_augmentation(self, state: Tensor | None, device: torch.device) -> None:
        """Goes on with the random numbers where they were."""
        self._generator = None
        if state is not None:
            self._random(device).set_state(state)

    def manifest(self) -> dict[str, Any]:
        """JSON-able facts of the splits loaded so far that decide what the numbers are about."""
        splits = {
            name: {
                "samples": len(images),
                "per_class": images.label.bincount(minlength=self.num_classes).tolist(),
                "indices": hashlib.sha256(images.index.numpy().tobytes()).hexdigest(),
                **self._sources[name],
            }
            for name, images in self._splits.items()
        }
        return {
            "name": self.name,
            "classes": list(self.classes),
            "splits": splits,
            "seed": self.seed,
            "limit": self.limit,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "preprocessing": self.preprocessing.as_dict(),
            "conversion": self._conversion(),
        }

    def reseed(self, seed: int) -> None:
        """Changes the order and augmentation of training images; the splits stay."""
        self.seed, self._generator = seed, None

    def as_trained_on(self) -> dict[str, Any]:
        """JSON-able options that decide what a training makes of the same images, for keys."""
        return {"batch_size": self.batch_size, "augment": self.augment, **self._options}

    def training_digest(self) -> str:
        """Hashes what a training sees: images, labels and their order in both splits."""
        facts = [
            f"{name} {self.images(name).digest()} {self.images(name).index.tolist()}"
            for name in ("train", "val")
        ]
        text = f"{facts} {self.preprocessing} {self.classes}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _conversion(self) -> str | None:
        """What becomes of the channels of some images, as far as they are loaded."""
        there = {self.native.channels}
        files = [images for images in self._splits.values() if isinstance(images, FileImages)]
        if files:
            there = {shape[0] for images in files for shape in images.shapes}
        pairs = ((channels, self.preprocessing.channels) for channels in sorted(there))
        return "; ".join(CONVERSIONS[pair] for pair in pairs if pair in CONVERSIONS) or None

    def split_indices(self) -> dict[str, list[int]]:
        """The indices of every split loaded so far, to be kept with a run."""
        return {name: images.index.tolist() for name, images in self._splits.items()}

    def test_files(self) -> dict[int, str]:
        """By index the names of the files of the test images; empty where they are no files."""
        images = self._splits.get("test")
        if not isinstance(images, FileImages):
            return {}
        names = [printable(path.relative_to(images.root)) for path in images.files]
        return dict(zip(images.index.tolist(), names, strict=True))

    def manifest_digest(self) -> str:
        """Hashes what decides a test row besides its index: the images and how they are shown.

        These are the bytes of the images, their labels and indices, the order of the classes, the
        preprocessing, and, for files, how they become pixels. The limit is left out, so that a
        larger one keeps what is measured.
        """
        self.setup("test")
        facts = f"{self._sources['test']['digest']} {self.preprocessing} {self.classes}"
        if isinstance(images := self._splits["test"], FileImages):
            facts += f" {DECODER} {PIL.__version__} {images.turn}"
        return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _collated_already(batch: Batch) -> Batch:
    """The data set collates already."""
    return batch
