"""Every score that predicts a transfer before it is done, by name."""

from collections.abc import Callable

from torch import Tensor

from callbacks.transfer.h_score import h_score, regularised_h_score
from callbacks.transfer.leep import leep
from callbacks.transfer.log_me import log_me
from callbacks.transfer.nce import nce
from callbacks.transfer.nearest_neighbours import neighbour_accuracy
from callbacks.transfer.trans_rate import trans_rate

FEATURE_SCORES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "h_score": h_score,
    "regularised_h_score": regularised_h_score,
    "log_me": log_me,
    "trans_rate": trans_rate,
    "knn": neighbour_accuracy,
}
"""From features `(N, D)` and labels `(N,)`."""
PROBABILITY_SCORES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "leep": leep,
    "nce": lambda probability, label: nce(probability.argmax(1), label),
}
"""From probabilities of the source classes `(N, S)` and labels `(N,)`."""


def predicted_transfer(features: Tensor, probability: Tensor, label: Tensor) -> dict[str, float]:
    """Computes every score on training samples; higher predicts the better transfer.

    Args:
        features: `(N, D)` in front of the source model's head.
        probability: `(N, S)` of the source classes.
        label: `(N,)` target classes. Never of test samples.
    """
    scores = {name: score(features, label) for name, score in FEATURE_SCORES.items()}
    return scores | {name: score(probability, label) for name, score in PROBABILITY_SCORES.items()}
