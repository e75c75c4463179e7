"""What a page is made of: sections of text, figures and sheets, which a terminal prints too."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from matplotlib.figure import Figure

from callbacks.statistics import Interval
from callbacks.words import DASH, ends, number, percent

DAGGER = "†"
"""At an interval that may not hold."""
_NUMBER = re.compile(r"[+-]?\.?\d[\d.,]*(e[+-]?\d+)?[kMGT]?(?!\w)")
_PROSE = 48
"""Letters; longer cells are sentences."""


@dataclass(frozen=True)
class Cell:
    """One cell of a sheet.

    Args:
        text: shown.
        small: under it, mostly the interval.
        bar: drawn on a line from 0 to 1; a page shows it instead of the text.
        shift: drawn on a line with 0 in its middle, up to `widest` on either side.
        widest: see `shift`.
        heat: from 0 to 1, how strongly the background is coloured.
        tone: whether a difference is beyond chance, and which way.
    """

    text: str
    small: str = ""
    bar: Interval | None = None
    shift: Interval | None = None
    widest: float = 1.0
    heat: float | None = None
    tone: Literal["", "better", "worse"] = ""

    def __str__(self) -> str:
        """As the terminal prints it: `99.1 [98.8, 99.2]`."""
        ends_of = self.small.replace(DASH, ", ").replace(" to ", ", ")
        return f"{self.text} [{ends_of}]" if self.small and self.text else self.text

    @property
    def is_drawn(self) -> bool:
        """Whether it is a line with a mark, which repeats what another column says in numbers."""
        return self.bar is not None or self.shift is not None


@dataclass(frozen=True)
class Sheet:
    """A table to be read, on the page, in the terminal, or both.

    Args:
        columns: their headings.
        lines: of cells; a text is a cell of its own.
        title: over it.
        caption: under it.
        on_page: the page shows it.
        in_terminal: the terminal prints it.
        groups: positions of lines that begin a group.
    """

    columns: Sequence[str]
    lines: Sequence[Sequence[Cell | str]]
    title: str = ""
    caption: str = ""
    on_page: bool = True
    in_terminal: bool = False
    groups: frozenset[int] = frozenset()

    @cached_property
    def cells(self) -> list[list[Cell]]:
        """All cells as such."""
        return [[c if isinstance(c, Cell) else Cell(str(c)) for c in line] for line in self.lines]

    @cached_property
    def drawn(self) -> frozenset[int]:
        """Positions of columns that are drawn."""
        return frozenset(i for line in self.cells for i, cell in enumerate(line) if cell.is_drawn)

    @cached_property
    def words(self) -> frozenset[int]:
        """Positions of columns of words, which stand on the left; numbers stand on the right."""
        return frozenset(i for i, _ in enumerate(self.columns) if not i or self._is_of_words(i))

    @cached_property
    def prose(self) -> frozenset[int]:
        """Positions of columns of sentences, which a page wraps."""
        longest = [max(map(len, self._texts(i)), default=0) for i, _ in enumerate(self.columns)]
        return frozenset(i for i, length in enumerate(longest) if length > _PROSE)

    def _texts(self, column: int) -> list[str]:
        return [line[column].text for line in self.cells]

    def _is_of_words(self, column: int) -> bool:
        told = [text for text in self._texts(column) if text not in ("", DASH)]
        return 2 * sum(bool(_NUMBER.match(text)) for text in told) < len(told)


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        title: over it; without one it is for the terminal alone.
        text: under the title.
        figures: by name; drawn as SVG in the page's colours.
        pictures: figures that hold photographs or hundreds of boxes, kept as PNG.
        sheets: tables.
        terms: what a reader may not know, by name.
        notes: warnings.
    """

    title: str
    text: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    pictures: Mapping[str, Figure] = field(default_factory=dict)
    sheets: Sequence[Sheet] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def rate_cell(value: float, low: float, high: float, bar: bool = False) -> Cell:
    """A share in per cent with its interval.

    Args:
        value: in [0, 1].
        low: end of the interval.
        high: the other end.
        bar: draw it.
    """
    drawn = Interval(value, low, high) if bar else None
    return Cell(percent(value), ends(low, high, 100, 1), bar=drawn)


def number_cell(value: float, low: float = float("nan"), high: float = float("nan")) -> Cell:
    """A number with its interval."""
    return Cell(number(value), ends(low, high))


def change_cell(change: Interval, unit: float = 100.0) -> Cell:
    """A difference with its sign, coloured where its interval leaves out 0.

    Args:
        change: e.g. of accuracies.
        unit: what it is multiplied by: 100 shows points.
    """
    if change.value != change.value:
        return Cell(DASH)
    value, low, high = (unit * end for end in change)
    tone = "better" if low > 0 else "worse" if high < 0 else ""
    return Cell(f"{value:+.1f}", f"{low:+.1f} to {high:+.1f}" if low == low else "", tone=tone)
