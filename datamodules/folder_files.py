"""The image files of class folders, each once, in the order of torchvision's ImageFolder."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_names import is_image, is_left_behind
from datamodules.folder_scan import identity, is_folder, leads_above, scanned


@dataclass
class FileList:
    """Files of classes, and what was passed over.

    Args:
        files: in order.
        label: of each, the class's position.
        repeated: links to a file of the same class that is listed already.
        loops: linked folders that hold the class folder, or were walked already.
        no_images: files that are no images by their names, by suffix.
    """

    files: list[Path] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    repeated: int = 0
    loops: int = 0
    no_images: Counter[str] = field(default_factory=Counter)

    def notes(self, place: str) -> list[str]:
        """Sentences about what was passed over, to be shown with the results.

        Args:
            place: the folder of the classes, as it is told.
        """
        further = Counter(file.suffix.lower() for file in self.files)
        for suffix in IMG_EXTENSIONS:
            further.pop(suffix, None)
        told = (
            (self.repeated, "file(s) linked to others of their class, counted once"),
            (self.loops, "linked folder(s) that lead above or to one already seen, not followed"),
            (
                self.no_images.total(),
                f"file(s) without an image's name, left out{_kinds(self.no_images)}",
            ),
            (
                further.total(),
                f"image(s) that torchvision's ImageFolder leaves out, used{_kinds(further)}",
            ),
        )
        return [f"In `{place}`: {count:,} {what}." for count, what in told if count]


def listed_files(folders: Mapping[str, Path]) -> FileList:
    """Lists the images below class folders, also through links.

    Args:
        folders: of each class, in the order of the labels.

    Raises:
        UserError: one file in two classes, by a link.
    """
    listing = FileList()
    first: dict[tuple[int, int], tuple[int, Path]] = {}
    for label, folder in enumerate(folders.values()):
        for file in _walked(folder, listing):
            here = identity(file)
            if here is None or here not in first:
                listing.files.append(file)
                listing.label.append(label)
            elif first[here][0] == label:
                listing.repeated += 1
            else:
                raise UserError(
                    f"{str(first[here][1])!r} and {str(file)!r} are one file, by a link, in two "
                    "classes: take one of them away."
                )
            if here is not None:
                first.setdefault(here, (label, file))
    return listing


def _walked(top: Path, listing: FileList) -> list[Path]:
    """Image files in and below a folder: folders by name, and in each the files by name."""
    seen = {identity(top)}
    files: dict[str, list[Path]] = {}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        for entry in scanned(folder):
            if is_left_behind(entry.name):
                continue
            path = Path(entry.path)
            if is_folder(entry):
                here = identity(path)
                if here in seen or leads_above(entry, top):
                    listing.loops += 1
                else:
                    seen.add(here)
                    waiting.append(path)
            elif is_image(entry.name):
                files.setdefault(str(folder), []).append(path)
            else:
                listing.no_images[path.suffix.lower()] += 1
    return [file for folder in sorted(files) for file in sorted(files[folder])]


def _kinds(suffixes: Iterable[str]) -> str:
    names = sorted(printable(suffix) or "none" for suffix in suffixes)
    return f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
