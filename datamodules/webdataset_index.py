"""Where each sample lies in the tars of a WebDataset, so that any of them can be read alone.

The conventions are those of the webdataset library (its `tariterators` and `shardlists`): files of
one name up to the first dot of its last part are one sample, members that are no files and those in
`__..__` are passed over, and shards are named with braces.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_names import is_image

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Member(NamedTuple):
    """A file in a tar.

    Args:
        shard: the tar.
        offset: of its bytes.
        size: of them.
    """

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes."""
        with self.shard.open("rb") as tar:
            tar.seek(self.offset)
            return tar.read(self.size)


@dataclass
class Sample:
    """What is under one key.

    Args:
        shard: that holds it.
        key: of the sample.
        parts: its files, by what follows the first dot, in small letters.
    """

    shard: Path
    key: str
    parts: dict[str, Member] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the sample's image below the shard; never absolute."""
        return (PurePosixPath("/") / f"{self.key}.{self.image_part}").as_posix().lstrip("/")

    @property
    def image_part(self) -> str:
        """The ending of the sample's only image.

        Raises:
            UserError: it has none, or several.
        """
        images = [ending for ending in self.parts if is_image(f"x.{ending}")]
        if len(images) != 1:
            raise UserError(
                f"Expected one image of every sample, but {printable(self.key)!r} in "
                f"{str(self.shard)!r} has {', '.join(images) or 'none'} among "
                f"{', '.join(self.parts)}."
            )
        return images[0]


def expanded(pattern: str) -> list[Path]:
    """The files that a pattern names: `{000..003}` and `{a,b}` as in a shell, `*` if there.

    What braces name is expected to be there; what stars match is sorted.
    """
    braces = _BRACES.search(pattern)
    if braces is None:
        return sorted(map(Path, glob(pattern))) if set(pattern) & set("*?[") else [Path(pattern)]
    inside = braces.group(1)
    ends = _RANGE.fullmatch(inside)
    words = _counted(*ends.groups()) if ends else inside.split(",")
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [file for word in words for file in expanded(f"{before}{word}{after}")]


def indexed(shard: Path) -> list[Sample]:
    """The samples of one tar, in the order of their keys.

    Raises:
        UserError: it is missing, compressed or broken, or holds one name twice.
    """
    samples: dict[str, Sample] = {}
    for name, member in _members(shard):
        folder, _, last = name.rpartition("/")
        stem, _, ending = last.partition(".")
        if not stem or not ending:
            continue
        key = f"{folder}/{stem}" if folder else stem
        parts = samples.setdefault(key, Sample(shard, key)).parts
        if ending.lower() in parts:
            raise UserError(
                f"Expected every file of {str(shard)!r} once, but {printable(name)!r} is there "
                "twice: write the shard again."
            )
        parts[ending.lower()] = member
    return [samples[key] for key in sorted(samples)]


def _counted(first: str, last: str) -> list[str]:
    width = len(first) if first.startswith("0") else 0
    low, high = int(first), int(last)
    numbers = range(low, high + 1) if low <= high else range(low, high - 1, -1)
    return [f"{number:0{width}}" for number in numbers]


def _members(shard: Path) -> Iterator[tuple[str, Member]]:
    """Names and places of the regular files."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name).as_posix()
                if member.isfile() and not member.issparse() and not name.startswith("__"):
                    yield name, Member(shard, member.offset_data, member.size)
            end = tar.offset
        if end > shard.stat().st_size:
            raise tarfile.ReadError("unexpected end of data")
    except FileNotFoundError:
        raise UserError(f"There is no shard {str(shard)!r}.") from None
    except (OSError, tarfile.TarError) as error:
        raise UserError(
            f"{str(shard)!r} cannot be read as a tar: {error}. Shards are read at random, so "
            "unpack compressed ones (gunzip), and fetch broken ones again."
        ) from None
