"""What a disk that takes no more means to the user: one sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datamodules.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO}
_TORCH = ("PytorchStreamWriter failed writing", "inline_container.cc", "unexpected pos")
"""What `torch.save` says instead of an error number, the first or the other two together."""


class DiskError(UserError):
    """A file could not be written; what was written before it is complete."""

    exit_code = 1


@contextmanager
def disk_errors(folder: Path | None = None) -> Iterator[None]:
    """Turns a disk that is full, and files of ours that are closed to us, into one sentence.

    Args:
        folder: that we write to; None knows of full disks only.

    Raises:
        DiskError: with the path, the reason and what to do.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = _full(error) or (_closed(error, folder) if folder else "")
        if not reason:
            raise
        path = getattr(error, "filename", None) or folder
        what = repr(os.fspath(path)) if path else "A file"
        raise DiskError(
            f"{what} cannot be written ({reason}): make room there, or name another folder with "
            "`--root`; the same command goes on where it stopped."
        ) from error


def check_writable(folder: Path) -> None:
    """Makes a folder and a file in it, before hours of work end in the same question.

    Raises:
        UserError: it cannot be written.
    """
    trial = folder / f".writable.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise UserError(
            f"The folder {str(folder)!r} cannot be written ({error.strerror or error}): start from "
            "another folder, or name one with `--root`."
        ) from error


def _full(error: BaseException | None) -> str:
    """Why the disk takes no more, if that is behind an error."""
    while error is not None:
        text = str(error)
        if isinstance(error, OSError) and error.errno in _FULL:
            return os.strerror(error.errno)
        if _TORCH[0] in text or all(part in text for part in _TORCH[1:]):
            return "torch.save was cut off"
        for number in _FULL:  # safetensors, SQLite and others keep only the text
            if os.strerror(number) in text:
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ""


def _closed(error: Exception, folder: Path) -> str:
    """Why a file below a folder cannot be written, if an error says that."""
    if not isinstance(error, OSError) or error.errno not in _CLOSED or error.filename is None:
        return ""
    inside = Path(os.fsdecode(error.filename)).absolute().is_relative_to(folder)
    return os.strerror(error.errno) if inside else ""
