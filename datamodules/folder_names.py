"""What the names of files and folders say: image or not, split or class, left behind by a tool."""

import re
from collections.abc import Mapping
from typing import Literal

from torchvision.datasets.folder import IMG_EXTENSIONS

ClassOrder = Literal["number", "text"]

IMAGE_SUFFIXES = (
    *IMG_EXTENSIONS,
    *(".gif", ".jfif", ".jpe", ".pnm", ".pbm", ".jp2", ".avif", ".heic", ".heif", ".tga", ".dib"),
)
"""torchvision's kinds and more; a kind that Pillow cannot read is named when it is met."""

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
    """
    numbers = all(name.isascii() and name.isdigit() for name in names.values())
    if numbers and order == "number":
        return tuple(sorted(names, key=lambda name: (int(names[name]), names[name])))
    return tuple(sorted(names, key=lambda name: names[name]))
