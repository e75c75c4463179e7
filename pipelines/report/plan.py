"""What a command is about to do, and how long that will take."""

from collections.abc import Sequence
from typing import Protocol

from callbacks.words import duration
from pipelines.report.sections import Sheet


class Planned(Protocol):
    """A piece of work before it is done."""

    @property
    def group(self) -> Sequence[str]:
        """What it is counted under, a text for each column."""
        ...

    @property
    def seconds(self) -> float:
        """Predicted."""
        ...

    @property
    def known(self) -> bool:
        """Whether its result is on disk already."""
        ...


def plan_sheet(columns: Sequence[str], plan: Sequence[Planned], what: str = "cells") -> Sheet:
    """One line a group: pieces of work, those that are known, and the time of the rest.

    Args:
        columns: over the texts of the groups.
        plan: everything that the command is about.
        what: the pieces are called.
    """
    groups: dict[tuple[str, ...], list[Planned]] = {}
    for piece in plan:
        groups.setdefault(tuple(piece.group), []).append(piece)
    lines = [
        [*group, str(len(pieces)), str(_known(pieces)), duration(seconds_left(pieces))]
        for group, pieces in groups.items()
    ]
    left = duration(seconds_left(plan))
    title = f"Plan: {len(plan)} {what}, {_known(plan)} known, about {left}"
    return Sheet([*columns, what, "known", "time"], lines, title)


def seconds_left(plan: Sequence[Planned]) -> float:
    """Predicted seconds of what is not known."""
    return sum(piece.seconds for piece in plan if not piece.known)


def _known(plan: Sequence[Planned]) -> int:
    return sum(piece.known for piece in plan)
