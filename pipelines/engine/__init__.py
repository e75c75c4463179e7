"""Cells on other processes and machines, by an engine that is there already: Ray or submitit."""

from pipelines.engine.engine import Engine
from pipelines.engine.filling import fill, packed
from pipelines.engine.work import Bench, Unit

__all__ = ["Bench", "Engine", "Unit", "fill", "packed"]
