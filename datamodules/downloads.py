"""Downloads a data set once, whichever process comes first."""

from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from datamodules.errors import UserError


def downloaded(root: Path, present: Callable[[], bool], fetch: Callable[[], object]) -> str:
    """Fetches what is not present, under a lock, and says what went wrong.

    Args:
        root: folder of the data; made if need be.
        present: whether everything is there.
        fetch: downloads it.

    Returns:
        "" when it is there, else why it is not.
    """
    if present():
        return ""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):
            if not present():
                fetch()
    except (OSError, RuntimeError, HTTPException) as error:  # URLError is an OSError
        # The last line: torchvision puts the cause below what it tried.
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return "" if present() else "the download is not complete"


def absent(name: str, expected: str, reason: str) -> UserError:
    """Returns the error that lists the files a user can put there."""
    return UserError(
        f"{name} is not there and cannot be downloaded ({reason}). Expected\n{expected}\n"
        "Put them there, or name the folder that holds them with `--data.root`."
    )
