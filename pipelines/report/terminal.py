"""The terminal as every command writes to it."""

import sys

from rich.console import Console


def plain_console() -> Console:
    """A console of the terminal's width; plain, and wide enough for the table, where there is none.

    What the output's encoding lacks is replaced instead of ending the program after the work.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110)
