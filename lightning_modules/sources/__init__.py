"""Where a pre-trained classifier comes from: one file a source.

A new source is a line in `SOURCES`: `name:rest` on the command line calls it with a `Request`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.answer_rule import Scale
from lightning_modules.architectures import ARCHITECTURES
from lightning_modules.class_matching import give_head, match_classes
from lightning_modules.classifier import Classifier
from lightning_modules.examination import examine
from lightning_modules.input_contract import NOTHING_SAID, InputContract
from lightning_modules.sources.builtin import from_builtin
from lightning_modules.sources.checkpoint import from_checkpoint
from lightning_modules.sources.hub import from_hub
from lightning_modules.sources.huggingface import from_huggingface
from lightning_modules.sources.maite import from_maite
from lightning_modules.sources.mlflow import from_mlflow
from lightning_modules.sources.module import from_module
from lightning_modules.sources.python import from_python
from lightning_modules.sources.request import Request
from lightning_modules.sources.timm import from_timm
from lightning_modules.sources.torchvision import from_torchvision
from lightning_modules.telling import check_finite, tell
from lightning_modules.trial import example, memory

__all__ = ["SOURCES", "give_head", "load_classifier", "match_classes"]

SOURCES: dict[str, Callable[[Request], Classifier]] = {
    "builtin": from_builtin,
    "torchvision": from_torchvision,
    "timm": from_timm,
    "hf": from_huggingface,
    "hub": from_hub,
    "checkpoint": from_checkpoint,
    "mlflow": from_mlflow,
    "python": from_python,
    "maite": from_maite,
}


def load_classifier(
    source: str | nn.Module,
    *,
    arch: str | None = None,
    data_classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    new_head: bool = False,
    trust_pickle: bool = False,
    said: InputContract = NOTHING_SAID,
    classes: Sequence[str] | None = None,
    scale: Scale | None = None,
    weights: str | None = None,
) -> Classifier:
    """Loads a classifier.

    Args:
        source: `SOURCE:NAME` with a key of `SOURCES`, the bare name of a built-in network, or a
            network itself.
        arch: architecture, for sources that hold weights only.
        data_classes: of the data it will meet; None skips the comparison.
        preprocessing: of the data; only its channels are taken, by networks that take any.
        new_head: give the model a fresh last layer when its classes are not the data's.
        trust_pickle: load files that can execute code.
        said: what the model wants to see, before what its weights say.
        classes: what the model's outputs are, in their order, before what its weights say.
        scale: what its answers are; None recognises probabilities.
        weights: key of the set of weights to take where a file holds several, e.g. `ema`.

    Raises:
        UserError: unknown source, unusable weights, or classes that differ.
    """
    names = None if data_classes is None else tuple(data_classes)
    count = len(classes or names or ()) or None
    request = Request("", arch, count, preprocessing, trust_pickle, said, names, weights)
    if isinstance(source, nn.Module):
        classifier = from_module(source, request)
    else:
        classifier = _from_source(source, request)
    check_finite(classifier)
    tell(classifier, said, classes, scale)
    if "shape" in memory(classifier.model):  # a stranger, that was asked about random images
        image = example(classifier.model)
        assert image is not None
        examine(classifier, image, real=False)
    if data_classes is not None:
        match_classes(classifier, data_classes, new_head)
    return classifier


def _from_source(source: str, request: Request) -> Classifier:
    kind, rest = source.split(":", 1) if ":" in source else ("builtin", source)
    if kind not in SOURCES:
        raise UserError(f"There is no model source {kind!r}.{suggestion(kind, SOURCES)}")
    if kind == "builtin" and rest not in ARCHITECTURES:
        if Path(rest).exists():
            raise UserError(
                f"There is no built-in model {rest!r}, but a file or folder of that name: say "
                f"checkpoint:{rest}."
            )
        raise UserError(
            f"There is no built-in model {rest!r}.{suggestion(rest, ARCHITECTURES)} "
            "Other models are named like torchvision:resnet18 or checkpoint:file.pt."
        )
    classifier = SOURCES[kind](replace(request, rest=rest))
    classifier.source = source
    if kind != "checkpoint":
        _tell_unused(classifier, request, rest)
    return classifier


def _tell_unused(classifier: Classifier, request: Request, own: str) -> None:
    """Options of bare files, which of several models may mean others: said, and not refused."""
    if request.arch and request.arch.partition(":")[2] != own != request.arch:
        classifier.note(
            f"`--arch {request.arch}` was not used: {classifier.source} has an architecture of its "
            "own"
        )
    if request.weights:
        classifier.note(
            f"`--weights {request.weights}` was not used: {classifier.source} is no file"
        )
