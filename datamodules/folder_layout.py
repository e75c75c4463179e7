"""Finds the folders of training, validation and test images, or says why it cannot."""

import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_names import is_image, split_mentioned, split_named
from datamodules.folder_scan import holds_images, is_folder, scanned, subfolders

_DEEPEST = 8  # folders round the data; more is a link loop
_USES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Layout:
    """Where the class folders are.

    Args:
        root: that holds the splits, or the class folders.
        splits: the folder of class folders of each split; {} where `root` holds the class folders.
        notes: sentences about what was decided, to be shown with the results.
    """

    root: Path
    splits: dict[str, Path]
    notes: tuple[str, ...]


class _Folder(NamedTuple):
    """A folder that holds images: loose ones, or in inner folders."""

    path: Path
    loose: bool
    inner: tuple[Path, ...]

    @property
    def name(self) -> str:
        """In text."""
        return printable(self.path.name)


def folder_layout(root: Path) -> Layout:
    """Looks at folders, not at images.

    Args:
        root: holds a folder a class, or folders of splits with such folders, or one folder that
            does.

    Raises:
        UserError: it does not exist, or there are several ways to read it.
    """
    if not os.path.isdir(root):  # Path's would raise where a folder above may not be entered
        raise UserError(f"There is no folder {str(root)!r}: give `--data.root`.")
    top = _unwrapped(root)
    folders = [_folder(path) for path in subfolders(top) if holds_images(path)]
    splits = _splits(top, folders)
    notes = [f"The data are in `{_below(top, root)}`."] if top != root else []
    if not splits:
        _refuse_hidden_splits(top, folders)
        named = [f.name for f in folders if split_named(f.path.name)]
        notes += [
            f"`{name}` is taken for a class, though it is named like a split." for name in named
        ]
        return Layout(top, {}, (*notes, *_same_inside(top, folders)))
    used = {
        split: _unwrapped(splits[split].path, any_name=True) for split in _USES if split in splits
    }
    for split, folder in used.items():
        if (name := _below(folder, top)) != split:
            notes.append(f"`{name}` holds the {_USES[split]} images.")
    notes += _same_folder(used, top)
    notes += [_not_used(folder) for folder in folders if folder not in splits.values()]
    empty = {printable(path.name) for path in subfolders(top) if split_named(path.name)}
    notes += [f"`{name}` holds no images." for name in sorted(empty - {f.name for f in folders})]
    with_test = _with_test(top, used, notes)
    return Layout(top, with_test, tuple(notes))


def _folder(path: Path) -> _Folder:
    """Looks into a folder."""
    loose = any(is_image(entry.name) for entry in scanned(path) if not is_folder(entry))
    return _Folder(path, loose, tuple(filter(holds_images, subfolders(path))))


def _unwrapped(folder: Path, any_name: bool = False) -> Path:
    """Goes down while all that a folder holds is one folder with folders of images.

    Args:
        folder: to start from.
        any_name: a folder that is named like a split may be gone through, too.
    """
    for _ in range(_DEEPEST):
        here, all_inside = _folder(folder), subfolders(folder)
        # An empty folder beside it may be a class that lacks its images.
        if here.loose or len(here.inner) != 1 or not all(any(scanned(f)) for f in all_inside):
            return folder
        only = _folder(here.inner[0])
        if not only.inner or (split_named(only.path.name) and not any_name):
            return folder
        folder = only.path
    return folder


def _splits(top: Path, folders: list[_Folder]) -> dict[str, _Folder]:
    """The folders that are splits: named like one, with class folders inside."""
    named = [(split, f) for f in folders if (split := split_named(f.path.name))]
    layout: dict[str, _Folder] = {}
    for split, folder in named:
        if not folder.inner:
            continue
        if split in layout:
            raise UserError(
                f"Expected one folder of {_USES[split]} images in {str(top)!r}, but got "
                f"{layout[split].name!r} and {folder.name!r}: take one away, or join them."
            )
        layout[split] = folder
    if not layout and len({split for split, _ in named}) > 1:
        names = " and ".join(repr(folder.name) for _, folder in named)
        raise UserError(
            f"Expected a folder a class in {names} of {str(top)!r}, but they hold images without "
            "class folders, so without labels: sort the images into a folder a class."
        )
    return layout


def _refuse_hidden_splits(top: Path, folders: list[_Folder]) -> None:
    """Refuses to take for classes what are likely splits."""
    alike = {split_mentioned(f.path.name): f.name for f in folders if f.inner and not f.loose}
    alike.pop(None, None)
    if len(alike) > 1:
        names = " and ".join(repr(name) for name in alike.values())
        raise UserError(
            f"The folders {names} in {str(top)!r} hold folders and look like splits: rename them "
            "to train, val and test, or name one of them with `--data.root`."
        )
    for folder in folders:
        inner = {split_named(path.name): printable(path.name) for path in folder.inner}
        inner.pop(None, None)
        if len(inner) > 1:
            names = " and ".join(repr(f"{folder.name}/{name}") for name in inner.values())
            raise UserError(
                f"Expected splits that hold class folders in {str(top)!r}, but got class folders "
                f"that hold splits ({names}): turn train/CLASS and CLASS/train round."
            )


def _same_inside(top: Path, folders: list[_Folder]) -> list[str]:
    """Tells of class folders that all hold the same folders: domains, folds, or annotators."""
    inside = {tuple(path.name for path in f.inner) for f in folders if not f.loose}
    if len(folders) < 2 or any(f.loose for f in folders) or len(inside) != 1:
        return []
    names = [printable(name) for name in inside.pop()]
    if len(names) < 2:
        return []
    return [
        f"Every class folder holds the same folders ({', '.join(names[:3])}"
        f"{', ...' if len(names) > 3 else ''}): if these are the classes, give `--data.root "
        f"{top / folders[0].path.name}`."
    ]


def _with_test(top: Path, splits: dict[str, Path], notes: list[str]) -> dict[str, Path]:
    if "test" in splits:
        return splits
    if "val" in splits:
        name = _below(splits["val"], top)
        notes.append(f"There is no folder `test`: `{name}` is the test set.")
        return {**splits, "test": splits["val"]}
    train = splits["train"]
    reasons = "".join(f" {note}" for note in notes if "without class folders" in note)
    raise UserError(
        f"Expected a folder `test` or `val` in {str(top)!r} beside `{_below(train, top)}`: add "
        f"one, or give `--data.root {train}` to split that one at random.{reasons}"
    )


def _same_folder(splits: dict[str, Path], top: Path) -> list[str]:
    pairs = combinations(splits.values(), 2)
    return [
        f"`{_below(one, top)}` and `{_below(other, top)}` are one folder, by a link."
        for one, other in pairs
        if one.resolve() == other.resolve()
    ]


def _not_used(folder: _Folder) -> str:
    if split_named(folder.path.name) and not folder.inner:
        return f"`{folder.name}` is not used: it holds images without class folders, so no labels."
    return f"`{folder.name}` is not used: its name is that of no split."


def _below(folder: Path, top: Path) -> str:
    return printable(folder.relative_to(top).as_posix())
