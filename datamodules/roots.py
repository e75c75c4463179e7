"""Where data sets and what is remembered of them live when nothing is said."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$XDG_CACHE_HOME/assay`, by default `~/.cache/assay`.

    Without a home (a container started for an unknown user) it is a folder of the user's number
    below the folder for temporary files.
    """
    # The specification ignores a relative path; HOME may be relative, or unknown (RuntimeError).
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            cache = Path()
    if cache.is_absolute():
        return cache / "assay"
    number = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"assay-{number}"


def default_root(name: str) -> Path:
    """Returns the folder of a data set in the user's cache."""
    return cache_folder() / name
