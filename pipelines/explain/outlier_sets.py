"""The sets of outliers that a user names: data sets, and folders of any pictures."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from datamodules import DATA, ImageDataModule, Preprocessing
from datamodules.errors import UserError
from datamodules.folder_names import is_image
from datamodules.folder_scan import is_folder, scanned
from datamodules.pictures import Pictures
from lightning_modules import Classifier
from pipelines.study import DataLike, Study


def opened_outliers(study: Study, given: DataLike | list[DataLike] | None) -> list[ImageDataModule]:
    """Opens sets of outliers.

    Args:
        study: that will be about them, too.
        given: one or several data sets; a folder stands for all pictures in it.

    Raises:
        UserError: there is no such data set and no such folder.
    """
    several = given if isinstance(given, list) else [given] if given is not None else []
    return [study.open_data(folder_or_data(one)) for one in several]


def folder_or_data(given: DataLike) -> DataLike:
    """`photos`, and `ImageFolder:photos` without class folders, as pictures without labels."""
    if not isinstance(given, str):
        return given
    name, _, root = given.partition(":")
    if name in DATA:
        return Pictures(Path(root)) if name == "ImageFolder" and _is_flat(root) else given
    folder = Path(given).expanduser()
    return Pictures(folder) if folder.is_dir() else given


def _is_flat(root: str) -> bool:
    """Whether a folder holds images of its own, hence no classes."""
    folder = Path(root).expanduser()
    return folder.is_dir() and any(
        is_image(entry.name) for entry in scanned(folder) if not is_folder(entry)
    )


def named_sets(
    outliers: Sequence[ImageDataModule], taken: Collection[str]
) -> dict[str, ImageDataModule]:
    """The sets by name; of those whose metrics would get one key, later ones get a number.

    Args:
        outliers: any.
        taken: names that are taken.
    """
    sets: dict[str, ImageDataModule] = {}
    for data in outliers:
        keys, title, number = {metric_key(name) for name in (*taken, *sets)}, data.title, 1
        while metric_key(title) in {*keys, ""}:
            number += 1
            title = f"{data.title} {number}"
        sets[title] = data
    return sets


def metric_key(name: str) -> str:
    """A name as part of a metric's key: small letters, digits and `_`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def adapt(name: str, outliers: ImageDataModule, shown: Preprocessing) -> None:
    """Brings a set to the size and the channels of the images that a model is tested on.

    Args:
        name: of the set.
        outliers: the set.
        shown: see `as_shown`.

    Raises:
        UserError: images that cannot be read or cannot be brought to that size.
    """
    try:
        outliers.adopt(shown)
        outliers.images("test").check()
    except UserError as error:
        text = str(error).replace("--data.", "--")  # what the model wants holds for all images
        raise UserError(f"The outliers {name!r}: {text}") from error


def as_shown(classifier: Classifier, data: ImageDataModule) -> Preprocessing:
    """What the model wants; where it names no size of both sides, that of the data it is tested on.

    Args:
        classifier: with its preprocessing.
        data: it is tested on.
    """
    wanted = classifier.preprocessing
    if wanted.crop or isinstance(wanted.resize, tuple):
        return wanted
    height, width = data.taken("test", 1).image.shape[-2:]
    return replace(wanted, resize=(height, width))
