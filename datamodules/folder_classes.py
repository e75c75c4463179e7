"""The classes that the folders of all splits have in common."""

from collections.abc import Mapping
from pathlib import Path

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_names import ClassOrder, is_image, is_left_behind, ordered_classes
from datamodules.folder_scan import holds_images, is_folder, leads_above, scanned

Folders = Mapping[str, Path]
"""Class folders by the name of the class."""


def common_classes(
    splits: Mapping[Path, Folders], order: ClassOrder
) -> tuple[tuple[str, ...], list[str]]:
    """Finds the classes, in the order of their labels, and what must be told about them.

    A class is a folder that holds images in some split; it may be empty in another, but must be
    there.

    Args:
        splits: class folders by the folder they lie in.
        order: of classes whose names are all numbers.

    Raises:
        UserError: splits with different classes, or fewer than two classes.
    """
    names: dict[str, str] = {}
    for folders in splits.values():
        used = {name: folder.name for name, folder in folders.items() if holds_images(folder)}
        names = {**used, **names}
    for place, folders in splits.items():
        if absent := set(names) - set(folders):
            raise _different(splits, place, absent)
    left_out = {
        place: _left_out(place, set(folders) - set(names)) for place, folders in splits.items()
    }
    if len(names) < 2:
        place = next(iter(splits))
        raise UserError(
            f"Expected a folder a class, at least two with images, in {str(place)!r}, but got "
            f"{', '.join([*names, *left_out[place]]) or 'none'}."
        )
    notes = [
        f"Not used in `{printable(place.name)}`: {', '.join(things)}."
        for place, things in left_out.items()
        if things
    ]
    classes, by_text = ordered_classes(names, order), ordered_classes(names, "text")
    if classes != by_text:
        notes.append(
            f"Classes are in the order of their numbers ({', '.join(classes[:3])}, ...), not in "
            f"that of text ({', '.join(by_text[:3])}, ...), which torchvision's ImageFolder takes: "
            "`--data.class_order text` is for a model trained so."
        )
    return classes, notes


def _different(splits: Mapping[Path, Folders], place: Path, absent: set[str]) -> UserError:
    """Says what one split has and the other has not."""
    other = next(p for p, folders in splits.items() if absent & set(folders))
    (first, first_names), (second, second_names) = (
        (folder, set(splits[folder])) for folder in splits if folder in (place, other)
    )
    lists = [
        f"only {printable(folder.name)!r} has {', '.join(sorted(extra)[:5])}"
        for folder, extra in (
            (first, first_names - second_names),
            (second, second_names - first_names),
        )
        if extra
    ]
    alike = set(map(str.casefold, first_names)) == set(map(str.casefold, second_names))
    return UserError(
        f"Expected the same class folders in {str(first)!r} and {str(second)!r}, but "
        f"{', '.join(lists)}{'; they differ in capital letters: rename them' if alike else ''}."
    )


def _left_out(place: Path, empty: set[str]) -> list[str]:
    """Tells of what lies beside the class folders."""
    entries = list(scanned(place))
    strays = [
        printable(entry.name)
        for entry in entries
        if is_folder(entry) and (is_left_behind(entry.name) or leads_above(entry, place))
    ]
    loose = sum(is_image(entry.name) for entry in entries if not is_folder(entry))
    outside = [f"{loose:,} image(s) outside of class folders"] if loose else []
    return [*sorted(strays), *(f"{name} (no images)" for name in sorted(empty)), *outside]
