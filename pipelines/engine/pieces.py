"""Trainings and measurements that know nothing of each other, as units of workers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipelines.engine.work import Unit
from pipelines.study import Study
from pipelines.study.cells import MissingCellError


class Piece(NamedTuple):
    """What one worker does in one go.

    Args:
        name: for the terminal.
        work: fills its cells, one after the other, and changes nothing of what it reads.
    """

    name: str
    work: Callable[[Study], object]


def units_of(study: Study, pieces: Sequence[Piece]) -> list[Unit]:
    """Pieces that a cell is missing of, which is found by doing them without measuring."""
    keys = [_missing(study, piece) for piece in pieces]
    return [Unit(i, pieces[i].name, [key]) for i, key in enumerate(keys) if key]


def _missing(study: Study, piece: Piece) -> str:
    """Key of the first cell that is not there; empty if all are."""
    try:
        piece.work(study.only_looking())
    except MissingCellError as missing:
        return missing.key
    return ""
