"""One row per sample and setting: what a model's answer to one image amounts to."""

import torch
import torch.nn.functional as F
from torch import Tensor

OUTCOME_COLUMNS = (
    "label",
    "prediction",
    "loss",
    "confidence",
    "margin",
    "logsumexp",
    "brier",
    "correct",
)
COST_COLUMNS = ("forwards", "backwards", "seconds")
"""What the row cost: images sent through the model, and this process's time (not reproducible)."""
DISCRETE_COLUMNS = frozenset(
    {"index", "label", "prediction", "correct", "draw", "stage", "sdc", "sdc5", "due"}
)


def is_answer(logits: Tensor) -> Tensor:
    """Whether a row of logits says anything: its largest is a number.

    Minus infinity for other classes is how a network says that they cannot be; any other logit that
    is not finite is no answer.

    Args:
        logits: `(N, K)`.

    Returns:
        `(N,)` bool.
    """
    return logits.amax(1).isfinite()  # which NaN passes through


@torch.no_grad()
def outcome_columns(logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Reduces logits to the columns every probe shares.

    Args:
        logits: `(N, K)`, any float type; reduced in float32.
        label: `(N,)` integer classes.

    Returns:
        `(N,)` tensors: `prediction`, `loss` (cross-entropy, nats), `confidence` (largest softmax),
        `margin` (label's logit minus the largest other; negative when wrong), `logsumexp` (minus
        the energy), `brier` (0 to 2, not halved), `correct`. What is no answer (see `is_answer`)
        counts as wrong.
    """
    logits = logits.float()
    probability = logits.softmax(1)
    is_label = F.one_hot(label, logits.shape[1]).bool()
    prediction = logits.argmax(1)
    return {
        "label": label,
        "prediction": prediction,
        "loss": F.cross_entropy(logits, label, reduction="none"),
        "confidence": probability.amax(1),
        "margin": logits[is_label] - logits.masked_fill(is_label, -torch.inf).amax(1),
        "logsumexp": logits.logsumexp(1),
        "brier": (probability - is_label.float()).square().sum(1),
        "correct": (prediction == label) & is_answer(logits),
    }
