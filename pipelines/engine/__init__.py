"""Cells on other processes and machines, by an engine that is there already: Ray or submitit."""

from pipelines.engine.engine import Engine
from pipelines.engine.filling import LostWorkerError, opened_on
from pipelines.engine.pieces import Piece, units_of
from pipelines.engine.work import Bench, Unit

__all__ = ["Bench", "Engine", "LostWorkerError", "Piece", "Unit", "opened_on", "units_of"]
