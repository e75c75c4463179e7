"""What a model loses of earlier tasks while it learns later ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from datamodules.errors import UserError


class Forgetting(NamedTuple):
    """Summary of an accuracy matrix.

    Args:
        average: mean accuracy over all tasks at the end.
        backward_transfer: mean change since each task's own stage (Lopez-Paz & Ranzato 2017,
            1706.08840); negative when forgetting.
        forgetting: mean loss since each task's best stage (Chaudhry et al. 2018, 1801.10112).
        since_own_stage: mean loss since each task's own stage, as Avalanche reports it; differs
            from `forgetting` whenever accuracy peaked later.
    """

    average: float
    backward_transfer: float
    forgetting: float
    since_own_stage: float


def forgetting(accuracy: ArrayLike) -> Forgetting:
    """Summarises `(T, T)` accuracies of task j after training stage i.

    Raises:
        UserError: not a square matrix of at least two tasks.
    """
    matrix = np.asarray(accuracy, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise UserError(
            f"Expected a square matrix of at least two stages and tasks, but got {matrix.shape}."
        )
    last, own = matrix[-1, :-1], np.diag(matrix)[:-1]
    best = matrix[:-1, :-1].max(0)
    return Forgetting(
        average=float(matrix[-1].mean()),
        backward_transfer=float((last - own).mean()),
        forgetting=float((best - last).mean()),
        since_own_stage=float((own - last).mean()),
    )


def forward_transfer(accuracy: ArrayLike, at_start: ArrayLike) -> float:
    """Mean head start of tasks by what was learnt before them (Lopez-Paz & Ranzato 2017).

    Args:
        accuracy: `(T, T)`, of task j after stage i.
        at_start: `(T,)` accuracies of the untrained model.
    """
    matrix, start = np.asarray(accuracy, dtype=float), np.asarray(at_start, dtype=float)
    return float((np.diag(matrix, 1) - start[1:]).mean())
