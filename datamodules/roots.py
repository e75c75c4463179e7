"""Where data sets live when nothing is said."""

import os
from pathlib import Path


def default_root(name: str) -> Path:
    """Returns `$XDG_CACHE_HOME/assay/<name>`, by default below `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "assay" / name
