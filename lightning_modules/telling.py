"""What a user tells of a model, and what its weights must not be."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.answer_rule import Scale
from lightning_modules.classifier import Classifier
from lightning_modules.input_contract import NOTHING_SAID, InputContract
from lightning_modules.trial import is_unmade


def tell(
    classifier: Classifier,
    said: InputContract = NOTHING_SAID,
    classes: Sequence[str] | None = None,
    scale: Scale | None = None,
) -> None:
    """Tells a classifier what its weights do not say of themselves, or say wrong.

    Args:
        classifier: changed in place.
        said: what it wants to see.
        classes: of its outputs, in their order.
        scale: of its answers.

    Raises:
        UserError: it takes other channels, or answers another number of classes.
    """
    if said != NOTHING_SAID:
        classifier.show(*said.over(classifier.preprocessing, classifier.reasons))
    if classes is not None:
        if len(classes) != classifier.num_classes:
            raise UserError(
                f"Expected `classes` of the {classifier.num_classes} outputs of "
                f"{classifier.title!r}, but got {len(classes)} ({', '.join(classes[:6])})."
            )
        classifier.classes = tuple(classes)
    if scale is not None:
        classifier.scale = scale
        classifier.answers = replace(classifier.answers, scale=scale)


def check_finite(classifier: Classifier) -> None:
    """Refuses weights that are NaN or infinite."""
    for name, tensor in classifier.state_dict().items():
        if not isinstance(tensor, Tensor) or is_unmade(tensor) or not tensor.is_floating_point():
            continue
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(
                f"{bad} of {tensor.numel()} numbers in {name.removeprefix('model.')!r} of "
                f"{classifier.title!r} are NaN or infinite: the training that wrote it diverged."
            )
