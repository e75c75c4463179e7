"""Where to draw the line so that clean data crosses it as rarely as stated."""

import math

import torch
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


def first_alarm(scores: Tensor, threshold: float) -> int | None:
    """How many scores it took until one exceeded the threshold, itself included; None: none did.

    Args:
        scores: `(n,)` in the order they came, from the onset of whatever is to be detected.
        threshold: see `alarm_threshold`.
    """
    above = (scores > threshold).nonzero().flatten()
    return int(above[0]) + 1 if len(above) else None


def expected_delay(power: float) -> float:
    """Mean number of windows until the first alarm when each alarms with probability `power`."""
    return 1 / power if power > 0 else torch.inf
