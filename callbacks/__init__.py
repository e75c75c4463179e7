"""Probes: what is measured in the one pass over the test data.

A new probe is a line in `PROBES`; `assay list`, `--probes`, presets, tables, plots, metric keys and
the contract tests find it there by name.
"""

from collections.abc import Callable

from callbacks.budget import Budget
from callbacks.clean import Clean
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.progress import EvaluationProgress
from callbacks.queries import Queries
from callbacks.randomness import Draw

PROBES: dict[str, Callable[[Budget], Probe]] = {
    "clean": Clean.within,
}

__all__ = [
    "PROBES",
    "Budget",
    "Clean",
    "Draw",
    "EvaluationProgress",
    "Measurement",
    "Probe",
    "Queries",
    "Samples",
    "Setting",
]
