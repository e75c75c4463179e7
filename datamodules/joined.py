"""Several data sets at once, each with images, classes and labels of its own."""

import copy
import hashlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages, Images
from datamodules.joined_images import JoinedImages
from datamodules.opening import known_name
from datamodules.pixel_statistics import MeanStd
from datamodules.preprocessing import Preprocessing
from datamodules.tasks import Task, check_name

Balance = Literal["size", "equal"]
_FORM = "`--data Joined:digit=MNIST,photo=ImageFolder:photos`, a task's name for each data set"


class Joined(ImageDataModule):
    """Several data sets for one network with a head for each: `digit=MNIST,small=Digits`.

    Batches mix their images; an image has a label in the task of its own data set alone. Classes
    are called `digit/0`. Options hold for every part, a limit too.

    Args:
        root: `TASK=DATA,TASK=DATA`, each as behind `--data`.
        parts: the same in YAML or Python, as data sets with options of their own.
        balance: of training images: "size" shows every image once an epoch, "equal" repeats those
            of smaller data sets until there are as many of each.
        options: of `ImageDataModule`, for every part that is given by name.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {}

    def __init__(
        self,
        root: Path | None = None,
        *,
        parts: dict[str, ImageDataModule] | None = None,
        balance: Balance = "size",
        **options: Any,
    ) -> None:
        if balance not in get_args(Balance):
            raise UserError(f"Expected `data.balance` size or equal, but got {balance!r}.")
        if parts:
            _check_alone(root, options)
        limit = options.pop("limit", None)
        if not isinstance(limit, int | None) and not str(limit).startswith("first:"):
            raise UserError(
                "Expected `data.limit` of several data sets to be a count or first:N, which hold "
                f"for each, but got {limit!r}."
            )
        self.parts = parts or _opened(root, {**options, "limit": limit})
        _check(self.parts)
        self.balance = balance
        channels = options.get("channels") or _common_channels(self.parts)
        zero, one = (0.0,) * channels, (1.0,) * channels
        self.native = Preprocessing(channels, mean=zero, std=one)  # type: ignore[misc]
        self.epsilon = {  # type: ignore[misc]  # the least, which suits all of them
            norm: min(part.epsilon[norm] for part in self.parts.values())
            for norm in next(iter(self.parts.values())).epsilon
            if all(norm in part.epsilon for part in self.parts.values())
        }
        self.classes = tuple(
            f"{name}/{one}" for name, part in self.parts.items() for one in part.classes
        )
        places = ",".join(f"{n}={type(p).__name__}:{p.root}" for n, p in self.parts.items())
        super().__init__(root or Path(places), **options)
        self.limit = limit
        if any(part.epsilon != self.epsilon for part in self.parts.values()):
            told = ", ".join(f"{norm} {radius:.4g}" for norm, radius in self.epsilon.items())
            self.note(f"Usual radii of attacks: the least of the data sets' own ({told}).")

    @property
    def title(self) -> str:
        """`MNIST+Digits`."""
        return "+".join(part.title for part in self.parts.values())

    @property
    def has_val(self) -> bool:
        """Every part has validation images, of its own or split off."""
        return True

    @property
    def tasks(self) -> tuple[Task, ...]:
        """A task for each data set: its own classes."""
        return tuple(
            Task(name, tuple(part.classes), {f"{name}/{one}": one for one in part.classes})
            for name, part in self.parts.items()
        )

    def part_of(self, classes: list[int]) -> tuple[ImageDataModule, slice] | None:
        """The data set that has all of some classes, and where its classes stand; None of several.

        It has the usual radii of all, so that what attacks leave of the tasks can be compared.

        Args:
            classes: their numbers here.
        """
        begin = 0
        for part in self.parts.values():
            place = slice(begin, begin := begin + part.num_classes)
            if all(place.start <= one < place.stop for one in classes):
                own = copy.copy(part)
                own.epsilon = self.epsilon  # type: ignore[misc]
                return own, place
        return None

    def load(self, split: str) -> Images:
        """The images of all parts; training images by the balance."""
        sizes = [part.num_classes for part in self.parts.values()]
        loaded = {name: part.images(split) for name, part in self.parts.items()}
        if self.num_workers is None and any(isinstance(x, FileImages) for x in loaded.values()):
            self.num_workers = min(4, os.cpu_count() or 1)
        images = JoinedImages(loaded, sizes, split == "train" and self.balance == "equal")
        for name, part in self.parts.items():
            self.skipped += tuple(file for file in part.skipped if file not in self.skipped)
            for text in part.notes:
                self.note(f"{name}: {text}")
        if split == "train":
            shown = {"size": "every image once an epoch", "equal": "smaller data sets repeated"}
            counts = zip(self.parts, images.part.bincount().tolist(), strict=True)
            told = ", ".join(f"{count:,} of {name}" for name, count in counts)
            self.note(f"Training images of an epoch: {told} ({shown[self.balance]}).")
        return images  # type: ignore[return-value]  # its preprocessing is a property

    def _keep(self, split: str, images: Images) -> None:
        """Keeps a split; its digest is that of whole data sets, as their limits are left out."""
        super()._keep(split, images)
        own = [part._sources[split] for part in self.parts.values()]
        self._sources[split] = {
            "available": sum(one["available"] for one in own),
            "digest": _hashed(
                *(f"{n} {one['digest']}" for n, one in zip(self.parts, own, strict=True))
            ),
        }

    def adopt(self, preprocessing: Preprocessing) -> None:
        """Takes what a model wants, for all parts."""
        super().adopt(preprocessing)
        for part in self.parts.values():
            part.adopt(self.preprocessing)

    def mean_std(self) -> MeanStd:
        """Measured on some training images of all parts."""
        return self._measured_mean_std()

    def _conversion(self) -> str | None:
        """What becomes of the channels of some images of any part."""
        told = (part._conversion() for part in self.parts.values())
        return "; ".join(dict.fromkeys(filter(None, told))) or None

    def manifest(self) -> dict[str, Any]:
        """With that of every part."""
        parts = {name: part.manifest() for name, part in self.parts.items()}
        return {**super().manifest(), "balance": self.balance, "parts": parts}

    def manifest_digest(self) -> str:
        """Hashes that of every part too, which knows how files become pixels."""
        parts = (part.manifest_digest() for part in self.parts.values())
        return _hashed(super().manifest_digest(), *parts)


def _check_alone(root: Path | None, options: Mapping[str, Any]) -> None:
    """Refuses what `parts` would not hear of: they were made with options of their own."""
    usual = inspect.signature(ImageDataModule).parameters
    ignored = ("limit", "val_fraction", "seed", "on_corrupt")
    given = [
        name for name in ignored if options.get(name, usual[name].default) != usual[name].default
    ]
    given += ["root"] if root else []
    if given:
        raise UserError(
            f"Expected no `data.{given[0]}` beside `data.parts`: give it to each of the parts."
        )


def _hashed(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def _opened(root: Path | None, options: Mapping[str, Any]) -> dict[str, ImageDataModule]:
    """The data sets of `TASK=DATA,TASK=DATA`."""
    from datamodules import DATA  # which holds this one

    parts: dict[str, ImageDataModule] = {}
    for word in str(root or "").split(","):
        name, sign, said = word.partition("=")
        if not sign:
            raise UserError(f"Expected {_FORM}, but got {word!r}.")
        if name in parts:
            raise UserError(f"Expected different tasks in {_FORM}, but got {name!r} twice.")
        kind, _, place = said.partition(":")
        its = {"root": Path(place)} if place else {}
        parts[name] = DATA[known_name(kind, DATA)](**its, **options)
    return parts


def _check(parts: Mapping[str, ImageDataModule]) -> None:
    if len(parts) < 2:
        raise UserError(f"Expected {_FORM}, but got {len(parts)} data set: name it alone.")
    for name, part in parts.items():
        check_name(name)
        if part.own_probes or isinstance(part, Joined):
            raise UserError(f"Expected {_FORM}, of undisturbed images, but got {part.title}.")
    titles = [part.title for part in parts.values()]
    if len(set(titles)) < len(titles):
        raise UserError(
            f"Expected data sets of different names, but got {', '.join(titles)}: rename a folder; "
            "for several label sets of one data set give `tasks` a file."
        )


def _common_channels(parts: Mapping[str, ImageDataModule]) -> int:
    """Those that all have, for what is grey in one and colour in another is for the user to say."""
    channels = {name: part.preprocessing.channels for name, part in parts.items()}
    if len(set(channels.values())) > 1:
        told = ", ".join(f"{count} ({name})" for name, count in channels.items())
        raise UserError(
            f"Expected data sets of equal channels, but got {told}: give `--data.channels` 1 or 3."
        )
    return next(iter(channels.values()))
