"""What the names of files and folders say: image or not, split or class, left behind by a tool."""

import re
from collections.abc import Mapping
from typing import Literal

from torchvision.datasets.folder import IMG_EXTENSIONS

from datamodules.errors import UserError

ClassOrder = Literal["number", "text"]

IMAGE_SUFFIXES = (
    *IMG_EXTENSIONS,
    *(".gif", ".jfif", ".jpe", ".pnm", ".pbm", ".jp2", ".avif", ".heic", ".heif", ".tga", ".dib"),
)
"""torchvision's kinds and more; a kind that Pillow cannot read is named when it is met."""

_NUMBER = re.compile(r"-?\d+(?:\.0+)?", re.ASCII)
"""A class by its number, also as tables write those that had a gap among them: 2.0."""
_WORDS = {
    "train": "train(?:ing)?|trn",
    "val": "val|valid(?:ation)?|dev(?:el(?:opment)?)?",
    "test": "test(?:ing)?|tst|eval(?:uation)?",
}
_FILLER = "(?:sets?|splits?|data(?:sets?)?|images?|imgs?|pictures?|files|folder|dir)"
# Folders of archivers, servers and operating systems, in small letters.
_SYSTEM = frozenset(
    ("__macosx", "__pycache__", "@eadir", "lost+found", "$recycle.bin", "system volume information")
)


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image; `._photo.jpg` is left behind by file managers."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden or a tool's own, and no part of a data set."""
    return name.startswith(".") or name.lower() in _SYSTEM


def split_named(name: str) -> str | None:
    """Returns the split a folder's name stands for, in any case: `Test`, `training_set`, `valid`.

    Returns:
        "train", "val", "test" or None.
    """
    for split, words in _WORDS.items():
        pattern = rf"(?:{_FILLER}[-_ .]*)?(?:{words})(?:[-_ .]*{_FILLER})?"
        if re.fullmatch(pattern, name.casefold()):
            return split
    return None


def split_mentioned(name: str) -> str | None:
    """Returns the split whose word is a part of a folder's name: `seg_train`, `test2017`."""
    for split, words in _WORDS.items():
        if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", name.casefold()):
            return split
    return None


def ordered_classes(names: Mapping[str, str], order: ClassOrder) -> tuple[str, ...]:
    """Sorts classes by their folders' names as torchvision does, or by number if all are numbers.

    Args:
        names: of the folders, by class.
        order: "number" puts 2 before 10 where all names are numbers, "text" never does.

    Raises:
        UserError: one of the numbers is below 0, which is no class.
    """
    numbers = all(_NUMBER.fullmatch(name) for name in names.values())
    if numbers and order == "number":
        least = min(names.values(), key=float, default="0")
        if float(least) < 0:
            raise UserError(
                f"Expected numbers of classes from 0, but got {least!r}, the usual mark of an "
                "image without a label: take these images away, or say `--data.class_order text` "
                "if it is the name of a class."
            )
        return tuple(sorted(names, key=lambda name: (float(names[name]), names[name])))
    return tuple(sorted(names, key=lambda name: names[name]))
