"""The terminal as every command writes to it, in one style."""

import sys
from collections.abc import Sequence

import rich.box
from rich.console import Console
from rich.table import Table

from pipelines.report.result import Result
from pipelines.report.sections import Sheet

_PIPED = 200
"""Columns where there is no terminal: wide enough that no number is cut."""
_PROSE = 110
"""Columns of a sentence at most."""


def print_result(result: Result) -> None:
    """Prints the sheets of a result that are for the terminal, what they mean, and its notes."""
    console = plain_console()
    for section in result.sections():
        for sheet in section.sheets:
            if sheet.in_terminal:
                console.print(as_table(sheet, console))
    if result.about.interrupted:
        console.print("Interrupted: these are the rows so far.")
    for sentence in result.sentences():
        console.print(sentence, highlight=False, width=min(console.width, _PROSE))
    for note in result.about.notes:
        console.print(f"Note: {note}", highlight=False, width=min(console.width, _PROSE))


def print_sheet(sheet: Sheet) -> None:
    """Prints one sheet, such as a plan."""
    console = plain_console()
    console.print(as_table(sheet, console))


def as_table(sheet: Sheet, console: Console) -> Table:
    """Lays a sheet out; a narrow terminal wraps cells, and never cuts a number."""
    table = Table(
        title=sheet.title or None, caption=sheet.caption or None,
        title_justify="left", caption_justify="left",
        box=rich.box.SIMPLE_HEAD if console.is_terminal else rich.box.ASCII2,
    )  # fmt: skip
    shown, words = [i for i, _ in enumerate(sheet.columns) if i not in sheet.drawn], sheet.words
    whole = _whole(sheet, shown, console.width)
    for i in shown:
        side = "left" if i in words else "right"
        table.add_column(sheet.columns[i], justify=side, overflow="fold", min_width=whole.get(i))
    for position, line in enumerate(sheet.cells):
        if position in sheet.groups and position:
            table.add_section()
        table.add_row(*(str(line[i]) for i in shown))
    return table


def _whole(sheet: Sheet, shown: Sequence[int], width: int) -> dict[int, int]:
    """Widths of the columns of numbers that stay on one line, from the left as far as they fit."""
    texts = {i: [sheet.columns[i], *(str(line[i]) for line in sheet.cells)] for i in shown}
    least = {i: max(len(word) for text in texts[i] for word in text.split()) for i in shown}
    room = width - sum(least.values()) - 3 * len(shown) - 1
    whole = {}
    for i in shown:
        longest = max(map(len, texts[i]))
        if i not in sheet.words and longest - least[i] <= room:
            whole[i] = longest
            room -= longest - least[i]
    return whole


def plain_console() -> Console:
    """A console of the terminal's width; plain, and wide enough for any table, where there is none.

    What the output's encoding lacks is replaced instead of ending the program after the work.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED)
