"""Names of runs, folders and stages."""

import re
from collections.abc import Sequence


def slug(text: str) -> str:
    """A text as files and runs can be called: letters, digits, `_ . -`; never a dot first."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "-"


def unique(names: Sequence[str]) -> list[str]:
    """Numbers the names that occur again."""
    return [
        f"{name}-{1 + list(names[:i]).count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
