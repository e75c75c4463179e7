"""Tells of images that are there more than once, byte by byte: they count as often as they are."""

from datamodules.content_hashes import UNREADABLE
from datamodules.file_names import printable
from datamodules.images import FileImages


def repeated_images(images: FileImages) -> str:
    """A clause on copies among the files of a split; empty where there are none.

    An interval over images supposes that each is a draw of its own, and a copy under another label
    is wrong for one of the two.

    Args:
        images: of one split.
    """
    hashes = images.content_hashes()
    labels = images.label.tolist()
    first: dict[str, int] = {}
    pairs = [
        (first[content], row)
        for row, content in enumerate(hashes)
        if content != UNREADABLE and first.setdefault(content, row) != row
    ]
    if not pairs:
        return ""
    names = [printable(images.files[row].relative_to(images.root).as_posix()) for row in pairs[0]]
    other = sum(labels[before] != labels[row] for before, row in pairs)
    classes = f", {other:,} of them under another class" * bool(other)
    return (
        f"{len(pairs):,} of {len(hashes):,} files are copies of others, byte by byte{classes} "
        f"('{names[1]}' of '{names[0]}'): each counts"
    )


def shared_images(images: FileImages, *others: FileImages) -> str:
    """A clause on files of a split that other splits hold too; empty where there are none.

    Args:
        images: of the split that is measured.
        *others: that were learnt from.
    """
    learnt = {content for part in others for content in part.content_hashes()}
    own = images.content_hashes()
    count = sum(content in learnt and content != UNREADABLE for content in own)
    if not count:
        return ""
    return (
        f"{count:,} of {len(own):,} test images were learnt from, as training or validation images"
    )
