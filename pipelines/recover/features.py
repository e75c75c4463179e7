"""What can be seen of a damaged model before any repair: distances, likeness, sharpness, loss."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.damage.sharpness import sharpness
from callbacks.damage.variant import answered_with, with_aliases
from callbacks.monitoring.layers import watchable
from callbacks.transfer import activation_distance, layer_similarity, weight_distance
from lightning_modules import Classifier
from pipelines.recover.damages import Damaged
from pipelines.recover.original import answers

FEATURES = {
    "weight_distance": "weights' way from the original's, relative to these",
    "weight_distance_mean": "the same of each tensor, their mean",
    "weight_distance_max": "the same of each tensor, the largest",
    "activation_distance": "activations' way from the original's, mean over layers",
    "logit_distance": "logits' way from the original's",
    "cka_mean": "linear CKA with the original, mean over layers",
    "cka_min": "linear CKA with the original, least of the layers",
    "sharpness": "rise of the damaged model's loss under weight noise of a tenth",
    "accuracy": "right answers of the damaged model",
    "loss": "cross-entropy of the damaged model",
}
"""By column, with what each is; all are of validation images, never of those that judge."""
_IMAGES = 256
_BATCH = 64
"""CKA squares a batch; its terms add up over batches."""
_LOGITS = ""
"""The network itself, as a layer."""


@torch.no_grad()
def features(damaged: Damaged) -> dict[str, float]:
    """Describes a damaged model by `FEATURES`; the original stands beside it, no repair is made.

    Args:
        damaged: its data give validation images, labelled for sharpness, accuracy and loss alone.

    Returns:
        By name. A likeness that is not defined, as activations are constant or no numbers, is 0;
        any other number that is none is infinite.
    """
    original, model = damaged.original, damaged.classifier
    shown, weights, layers = original.data.taken("val", _IMAGES), _whole(damaged), _layers(damaged)
    image, label = shown.image.to(model.device), shown.label.to(model.device)
    batches = image.tensor_split(math.ceil(len(image) / _BATCH))
    before = {name: w for name, w in original.classifier.named_parameters() if bool(w.any())}
    moved = [weight_distance({name: weight}, weights) for name, weight in before.items()]
    apart = activation_distance(original.classifier, model, batches, layers)
    comparable = [distance for distance in apart.values() if not math.isnan(distance)]
    likeness = layer_similarity(original.classifier, model, batches, layers)
    alike = [0.0 if math.isnan(cka) else cka for cka in likeness.values()]
    told = answers(model, shown)
    numbers = {
        "weight_distance": weight_distance(before, weights),
        "weight_distance_mean": sum(moved) / len(moved),
        "weight_distance_max": max(moved),
        "activation_distance": sum(comparable) / max(len(comparable), 1),
        "logit_distance": apart[_LOGITS],
        "cka_mean": sum(alike) / len(alike),
        "cka_min": min(alike),
        "sharpness": _sharpness(model, image, label),
        "accuracy": float(told.correct.double().mean()),
        "loss": float(told.loss.double().mean()),
    }
    return {name: math.inf if math.isnan(value) else value for name, value in numbers.items()}


def _whole(damaged: Damaged) -> dict[str, Tensor]:
    """The damaged parameters in the undamaged shapes: what is gone is 0."""
    left, whole = dict(damaged.classifier.named_parameters()), {}
    for name, weight in damaged.original.classifier.named_parameters():
        whole[name] = left.get(name, torch.zeros_like(weight))
        if whole[name].shape != weight.shape:
            kept = damaged.kept[name].to(weight.device)
            whole[name] = torch.zeros_like(weight).put_(kept, left[name])
    return whole


def _layers(damaged: Damaged) -> list[str]:
    """Layers that both models have, and the logits."""
    left = dict(damaged.classifier.named_modules())
    names = [name for name in watchable(damaged.original.classifier) if name in left]
    return [*names, _LOGITS]


def _sharpness(model: Classifier, image: Tensor, label: Tensor) -> float:
    def loss(weights: Mapping[str, Tensor]) -> Tensor:
        return F.cross_entropy(answered_with(model, with_aliases(model, weights), image), label)

    return sharpness(loss, dict(model.named_parameters()))
