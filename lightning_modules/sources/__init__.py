"""Where a pre-trained classifier comes from: one file a source.

A new source is a line in `SOURCES`: `name:rest` on the command line calls it with a `Request`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import ARCHITECTURES
from lightning_modules.classifier import Classifier
from lightning_modules.heads import replace_head
from lightning_modules.sources.builtin import from_builtin
from lightning_modules.sources.checkpoint import from_checkpoint
from lightning_modules.sources.hub import from_hub
from lightning_modules.sources.huggingface import from_huggingface
from lightning_modules.sources.mlflow import from_mlflow
from lightning_modules.sources.module import from_module
from lightning_modules.sources.python import from_python
from lightning_modules.sources.request import Request
from lightning_modules.sources.timm import from_timm
from lightning_modules.sources.torchvision import from_torchvision

SOURCES: dict[str, Callable[[Request], Classifier]] = {
    "builtin": from_builtin,
    "torchvision": from_torchvision,
    "timm": from_timm,
    "hf": from_huggingface,
    "hub": from_hub,
    "checkpoint": from_checkpoint,
    "mlflow": from_mlflow,
    "python": from_python,
}


def load_classifier(
    source: str | nn.Module,
    *,
    arch: str | None = None,
    data_classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    new_head: bool = False,
    trust_pickle: bool = False,
) -> Classifier:
    """Loads a classifier.

    Args:
        source: `SOURCE:NAME` with a key of `SOURCES`, the bare name of a built-in network, or a
            network itself.
        arch: architecture, for sources that hold weights only.
        data_classes: of the data it will meet; None skips the comparison.
        preprocessing: of the data, used where the weights say nothing of their own.
        new_head: give the model a fresh last layer when its classes are not the data's.
        trust_pickle: load files that can execute code.

    Raises:
        UserError: unknown source, unusable weights, or classes that differ.
    """
    count = None if data_classes is None else len(data_classes)
    if isinstance(source, nn.Module):
        classifier = from_module(source, preprocessing)
    else:
        request = ("", arch, count, preprocessing, trust_pickle)
        classifier = _from_source(source, Request(*request))
    _check_finite(classifier)
    if data_classes is not None:
        match_classes(classifier, data_classes, new_head)
    return classifier


def _from_source(source: str, request: Request) -> Classifier:
    kind, rest = source.split(":", 1) if ":" in source else ("builtin", source)
    if kind not in SOURCES:
        raise UserError(f"There is no model source {kind!r}.{suggestion(kind, SOURCES)}")
    if kind == "builtin" and rest not in ARCHITECTURES:
        raise UserError(
            f"There is no built-in model {rest!r}.{suggestion(rest, ARCHITECTURES)} "
            "Other models are named like torchvision:resnet18 or checkpoint:file.pt."
        )
    classifier = SOURCES[kind](replace(request, rest=rest))
    classifier.source = source
    return classifier


def match_classes(classifier: Classifier, classes: Sequence[str], new_head: bool = False) -> None:
    """Compares the classes of model and data, and gives the model a new head where asked to.

    Args:
        classifier: changed in place.
        classes: of the data, in the order of its labels.
        new_head: replace the last layer when the classes are not the data's.

    Raises:
        UserError: their number or order differs and no new head was asked for.
    """
    classes, own = tuple(classes), classifier.classes
    unnamed = own == tuple(map(str, range(len(own))))
    if len(own) == len(classes) and (unnamed or set(own) != set(classes) or own == classes):
        # A model that only counts its classes takes the data's names.
        classifier.classes = classes if unnamed else own
        return
    if not new_head:
        what = f"{len(own)}" if len(own) != len(classes) else f"the order {', '.join(own[:4])}, ..."
        raise UserError(
            f"Expected a model of the data's {len(classes)} classes ({', '.join(classes[:4])}"
            f"{', ...' if len(classes) > 4 else ''}), but {classifier.source!r} has {what}: give "
            "it a head for them with `assay fine-tune`, or choose other data."
        )
    replace_head(classifier.model, len(classes))
    classifier.classes = classes


def _check_finite(classifier: Classifier) -> None:
    for name, tensor in classifier.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(
                f"{bad} of {tensor.numel()} numbers in {name.removeprefix('model.')!r} of "
                f"{classifier.source!r} are NaN or infinite: the training that wrote it diverged."
            )
