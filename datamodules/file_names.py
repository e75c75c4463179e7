"""Names of files and folders, which may be any bytes, as text that can be printed and stored."""

import os
from pathlib import PurePath


def printable(name: str | PurePath) -> str:
    r"""Returns a name as text without control characters, whatever bytes it is made of.

    What is no UTF-8 and what would break a line are escaped: `h\xfcndchen`, `a\nb`.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
