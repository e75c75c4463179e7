"""The check of model and data before anything is measured: is it shown what it was trained on?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from callbacks.class_check import ClassCheck, check_classes
from callbacks.input_check import InputCheck, Reading, check_input
from callbacks.leave_no_trace import leave_no_trace
from lightning_modules.classifier import Classifier
from lightning_modules.input_contract import NORMALISATIONS, NOTHING

_NAMES = {
    "none": "images in [0, 1] as they are",
    "half": "mean 0.5, std 0.5",
    "imagenet": "ImageNet's mean and std",
    "bytes": "images in 0 to 255",
    "caffe": "0 to 255 less ImageNet's mean colour",
    "inverted": "inverted images (1 - x)",
}
"""The usual readings, most usual first."""


@dataclass(frozen=True)
class DoorCheck:
    """What was tried, and what must be said first.

    Args:
        input: of mean, std and colours; nothing better where permuted classes explain more.
        classes: of the answers, under the better reading where there is one.
    """

    input: InputCheck
    classes: ClassCheck

    @property
    def sentences(self) -> list[str]:
        """To be said before any number; empty where all is well."""
        return [text for text in (self.input.sentence, *self.classes.sentences) if text]


def is_unstated(classifier: Classifier) -> bool:
    """Whether nobody says which mean and std the model wants, so that other readings are tried."""
    return NOTHING in (classifier.reasons.get("mean"), classifier.reasons.get("std"))


def is_untrained(classifier: Classifier) -> bool:
    """Whether head or network have random weights, so that answers tell nothing of the input."""
    return bool(classifier.facts.get("fresh"))


def check_door(
    classifier: Classifier,
    image: Tensor,
    label: Tensor,
    data: tuple[Sequence[float], Sequence[float]] | None = None,
    readings: bool = True,
) -> DoorCheck:
    """Tries the usual readings on some images, and looks for permuted classes.

    Args:
        classifier: left as it is.
        image: `(N, C, H, W)` in [0, 1] as the data serve them to it; training or validation images
            where there are any; 512 are enough.
        label: `(N,)`.
        data: mean and std of the data, by channel; None leaves them out.
        readings: try others than the one that holds; needless where it is stated.
    """
    held, others = _readings(classifier, data)
    with leave_no_trace(classifier), torch.no_grad():
        checked = check_input(
            classifier.answered,
            held,
            others if readings else [],
            image.to(classifier.device),
            label,
        )
    classes = _classes(classifier, checked.logits, checked.label)
    if (
        checked.better is not None
    ):  # which permuted classes may pretend, where all answers are wrong
        as_held = _classes(classifier, checked.held_logits, checked.label)
        if as_held.order is not None and as_held.permuted > classes.accuracy:
            return DoorCheck(replace(checked, better=None, as_good=()), as_held)
    return DoorCheck(checked, classes)


def _classes(classifier: Classifier, logits: Tensor, label: Tensor) -> ClassCheck:
    prediction, outputs = logits.argmax(1).numpy(), classifier.facts.get("outputs")
    return check_classes(prediction, label.numpy(), classifier.classes, outputs)


def _readings(
    classifier: Classifier, data: tuple[Sequence[float], Sequence[float]] | None
) -> tuple[Reading, list[Reading]]:
    """The reading that holds, and the usual ones for its channels."""
    wanted = classifier.preprocessing
    held = Reading(_held(classifier), wanted.mean, wanted.std, wanted.bgr)
    readings = [
        Reading(text, *NORMALISATIONS[name], flag=f"--mean {name}")
        for name, text in _NAMES.items()
        if wanted.channels == 3 or len(NORMALISATIONS[name][0]) == 1
    ]
    if data is not None and len(data[0]) in (1, wanted.channels):
        mean, std = (tuple(float(x) for x in values) for values in data)
        flag = f"--mean {_typed(mean)} --std {_typed(std)}"
        readings.append(Reading("the data's mean and std", mean, std, flag=flag))
    return held, [replace(reading, bgr=wanted.bgr) for reading in readings]


def _held(classifier: Classifier) -> str:
    """What the model is shown now, and why."""
    wanted, reason = classifier.preprocessing, classifier.reasons.get("mean", "")
    return f"mean {_short(wanted.mean)}, std {_short(wanted.std)} ({reason})"


def _short(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _typed(values: Sequence[float]) -> str:
    return ",".join(f"{value:.4g}" for value in values)
