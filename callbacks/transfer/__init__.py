"""What becomes of a model that is moved to other data: predicted, gained, lost, moved."""

from callbacks.transfer.cka import LinearCKA, linear_cka
from callbacks.transfer.drift import activation_distance, layer_similarity, weight_distance
from callbacks.transfer.forgetting import Forgetting, forgetting, forward_transfer
from callbacks.transfer.h_score import h_score, regularised_h_score
from callbacks.transfer.learning_curve import PowerLaw, Sufficiency, sufficiency
from callbacks.transfer.leep import empirical_conditional, leep
from callbacks.transfer.log_me import log_me
from callbacks.transfer.nce import nce
from callbacks.transfer.nearest_neighbours import neighbour_accuracy
from callbacks.transfer.performance import (
    NUMBERS,
    class_performance,
    performance,
    performance_change,
    without_images,
)
from callbacks.transfer.rank_agreement import rank_intervals, weighted_tau
from callbacks.transfer.scores import FEATURE_SCORES, PROBABILITY_SCORES, predicted_transfer
from callbacks.transfer.trans_rate import trans_rate
from callbacks.transfer.variability import Variability, variability

__all__ = [
    "FEATURE_SCORES",
    "NUMBERS",
    "PROBABILITY_SCORES",
    "Forgetting",
    "LinearCKA",
    "PowerLaw",
    "Sufficiency",
    "Variability",
    "activation_distance",
    "class_performance",
    "empirical_conditional",
    "forgetting",
    "forward_transfer",
    "h_score",
    "layer_similarity",
    "leep",
    "linear_cka",
    "log_me",
    "nce",
    "neighbour_accuracy",
    "performance",
    "performance_change",
    "predicted_transfer",
    "rank_intervals",
    "regularised_h_score",
    "sufficiency",
    "trans_rate",
    "variability",
    "weight_distance",
    "weighted_tau",
    "without_images",
]
