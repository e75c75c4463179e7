"""Hashes of the bytes of files, remembered so that unchanged files are not read again."""

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datamodules.roots import cache_folder

UNREADABLE = "unreadable"
_WORTH_REMEMBERING = 0.2  # seconds of hashing; below it, reading again is as good
_SETTLED = 2_000_000_000  # ns: a younger file may change again within one tick of the clock
_BLOCK = 1 << 20

Signature = list[int]
"""Size, time of the content, time of the status (ns) and inode of a file.

`touch -r` and `cp -p` set the time of the content; nobody can set that of the status.
"""


def content_hashes(files: Sequence[Path], root: Path, cache: Path | None = None) -> list[str]:
    """Hashes what is in each of many files.

    Args:
        files: below `root`.
        root: folder that the files are remembered with.
        cache: folder to remember in, a file a root; default: in the user's cache folder. Where it
            cannot be read or written, all files are read every time.

    Returns:
        SHA-256 in hexadecimals, or `UNREADABLE`, in the order of the files.
    """
    folder = cache_folder() / "hashes" if cache is None else cache
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:32]
    memory = _Memory(folder / f"{name}.json")
    keys = [os.fspath(file).removeprefix(os.fspath(root)) for file in files]
    signatures = [_signature(file) for file in files]
    hashes = [memory.get(*pair) for pair in zip(keys, signatures, strict=True)]
    missing = [row for row, value in enumerate(hashes) if value is None]
    started = time.time_ns()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        fresh = pool.map(_hash, [files[row] for row in missing])
        for row, value in zip(missing, fresh, strict=True):
            hashes[row] = value
    if time.time_ns() - started > _WORTH_REMEMBERING * 1e9:
        for row in missing:
            if signatures[row] == _signature(files[row]):  # else it changed while it was read
                memory.put(keys[row], signatures[row], str(hashes[row]), started)
        memory.save()
    return [str(value) for value in hashes]


class _Memory:
    """What is remembered of the files below one folder; a file that cannot be used is no memory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.entries: dict[str, Any] = dict(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            self.entries = {}

    def get(self, key: str, signature: Signature | None) -> str | None:
        """Returns the hash of a file if it is as it was."""
        match self.entries.get(key):
            case [*known, str(value)] if known == signature:
                return value
        return None

    def put(self, key: str, signature: Signature | None, value: str, now: int) -> None:
        """Remembers a hash, unless the file is so young that a change might keep its times."""
        if signature and value != UNREADABLE and signature[2] < now - _SETTLED:
            self.entries[key] = [*signature, value]

    def save(self) -> None:
        """Replaces the file in one step, so that other processes see all of it or nothing."""
        partial = self.file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self.entries))
            partial.replace(self.file)


def _signature(file: Path) -> Signature | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a named pipe would never end
            return UNREADABLE
        with file.open("rb") as content:
            while block := content.read(_BLOCK):
                digest.update(block)
    except OSError:
        return UNREADABLE
    return digest.hexdigest()
