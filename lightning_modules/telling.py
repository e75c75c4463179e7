"""What a user tells of a model, and what its weights must not be."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.answer_rule import Scale
from lightning_modules.classifier import Classifier
from lightning_modules.input_contract import NOTHING_SAID, InputContract
from lightning_modules.trial import is_unmade, undisturbed


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


def check_open(network: nn.Module, title: str) -> None:
    """Refuses what is a torch module, but whose layers or weights cannot be looked at.

    Args:
        network: left as it is.
        title: for the sentence.
    """
    for part in network.modules():
        if isinstance(part, torch.jit.ScriptModule) and any(p.ndim > 1 for p in part.parameters()):
            raise UserError(
                f"{title!r} holds a TorchScript module, whose layers are sealed: give the network "
                "that it was made of, or save it and say `--model checkpoint:FILE`."
            )
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_meta:
            raise UserError(
                f"{name!r} of {title!r} is on the meta device, without numbers: make the network "
                "on a real device and load its weights."
            )
        if tensor.layout != torch.strided:
            raise UserError(
                f"Expected dense weights, but {name!r} of {title!r} is stored as {tensor.layout}: "
                "take its `to_dense()`."
            )
    try:
        with undisturbed(network):
            pass
    except NotImplementedError as error:  # torch.export's
        raise UserError(
            f"{title!r} cannot be put into eval mode ({str(error).rstrip('.')}): give the network "
            "that it was made of, or `torch.export.save` it and say `--model checkpoint:FILE`."
        ) from error
