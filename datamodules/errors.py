"""The one exception that means: the user can mend this."""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class UserError(ValueError):
    """Says what a user gave, what was expected and what to do.

    The command line prints the message without a traceback and exits with its code, so raise it for
    mistakes of the user only; a defect of the program keeps its traceback.
    """

    exit_code: ClassVar[int] = 2
    """1 where nothing of what was typed has to change."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the closest known word, else " Known: ..."."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(words)}." if len(words) <= 20 else ""
