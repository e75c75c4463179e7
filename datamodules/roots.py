"""Where data sets live when nothing is said."""

import os
from pathlib import Path


def default_root(name: str) -> Path:
    """Returns `$XDG_CACHE_HOME/assay/<name>`, by default below `~/.cache`."""
    # The specification ignores a relative path.
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "assay" / name
