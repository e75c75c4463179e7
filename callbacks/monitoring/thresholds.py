"""Where to draw the line so that clean data crosses it as rarely as stated."""

import math

from torch import Tensor

from datamodules.errors import UserError


def alarm_threshold(clean: Tensor, false_alarms: float) -> float:
    """The score that a clean one exceeds with probability at most `false_alarms`.

    Split-conformal: the ⌈(n + 1)(1 - rate)⌉-th smallest of n exchangeable clean scores (Vovk et al.
    2005; Angelopoulos & Bates 2107.07511, 2021), without any assumption on their distribution.

    Args:
        clean: `(n,)` scores of clean data, higher is stranger.
        false_alarms: in (0, 1).

    Raises:
        UserError: too few clean scores to state so small a rate.
    """
    n = len(clean)
    check_rate(false_alarms)
    rank = math.ceil(round((n + 1) * (1 - false_alarms), 9))
    if rank > n:
        raise UserError(
            f"Expected at least {math.ceil(1 / false_alarms) - 1} clean scores for a false-alarm "
            f"rate of {false_alarms:g}, but got {n}: give more data or a larger rate."
        )
    return float(clean.double().sort().values[rank - 1])


def check_rate(false_alarms: float) -> None:
    """Refuses what is no rate.

    Raises:
        UserError: outside (0, 1).
    """
    if not 0 < false_alarms < 1:
        raise UserError(f"Expected `false_alarms` in (0, 1), but got {false_alarms}.")
