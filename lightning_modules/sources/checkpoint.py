"""A file of weights, or with a whole network."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from datamodules.errors import UserError
from lightning_modules.architectures import build
from lightning_modules.black_box import open_black_box
from lightning_modules.checkpoint_files.beside import Beside
from lightning_modules.checkpoint_files.kinds import NETWORKS, Kind, file_kind
from lightning_modules.checkpoint_files.logged import logged_file
from lightning_modules.checkpoint_files.weight_sets import best_set
from lightning_modules.class_names import are_names
from lightning_modules.classifier import Classifier
from lightning_modules.heads import fit_ends
from lightning_modules.input_contract import (
    ARCHITECTURE,
    NOTHING,
    WEIGHTS,
    InputContract,
    unknown_input,
)
from lightning_modules.saved_model import load_saved
from lightning_modules.sources.bare import bare_classifier
from lightning_modules.sources.huggingface import from_huggingface
from lightning_modules.sources.request import Request
from lightning_modules.weights_choice import choice_notes, weights_for
from lightning_modules.weights_file import WeightsFile, load_exactly, read_weights


def from_checkpoint(request: Request) -> Classifier:
    """`checkpoint:FILE` with `--arch`: weights of any kind; or a file or folder with a network."""
    path = Path(request.rest).expanduser()
    kind = file_kind(path)
    if kind is Kind.ASSAY:
        return load_saved(path, request.trust_pickle)
    if kind is Kind.HUGGING_FACE and request.arch is None:
        return from_huggingface(replace(request, rest=str(path)))
    if kind is Kind.ONNX or (kind in NETWORKS and request.arch is None):
        return sealed(path, request)
    if kind is Kind.MLFLOW:
        return from_checkpoint(replace(request, rest=str(logged_file(path, request.trust_pickle))))
    return _with_weights(read_weights(path, request.trust_pickle, request.weights), request)


def _with_weights(file: WeightsFile, request: Request) -> Classifier:
    """Builds the network and loads the weights that fit it."""
    facts = file.facts or {}
    arch = request.arch or facts.get("architecture")
    if arch is None:
        if file.module is None:
            raise UserError(_no_architecture(file))
        return _noted(
            _as_pickled(file.module, request), file, choice_notes(best_set(file.sets), file.sets)
        )
    network = build(arch, 10)
    model = network.model if isinstance(network, Classifier) else network
    weights = weights_for(model, file)
    fit_ends(model, weights.state)
    load_exactly(model, weights.state, arch, file.path, weights.advice)
    return _noted(_known(network, facts, arch, file.path, request), file, weights.notes)


def _known(
    network: nn.Module, facts: Mapping[str, Any], arch: str, path: Path, request: Request
) -> Classifier:
    """A classifier that is shown what the user's code or the file says; else of a bare network."""
    if isinstance(network, Classifier):
        return network
    if "preprocessing" in facts:
        return Classifier.rebuilt(network, {**facts, "architecture": arch})
    return bare_classifier(network, arch, request, path, facts.get("classes"))


def _noted(classifier: Classifier, file: WeightsFile, notes: Iterable[str]) -> Classifier:
    """Takes what the file says beside its weights, and says all that was done."""
    for note in (*notes, *_taken(classifier, file.beside)):
        classifier.note(f"{file.path.name}: {note}")
    return classifier


def _taken(classifier: Classifier, beside: Beside) -> Iterator[str]:
    """Tells a classifier what nothing else says of it."""
    channels = classifier.preprocessing.channels
    if beside.mean is not None and classifier.reasons.get("mean") == NOTHING:
        if len(beside.mean) in (1, channels):
            said = InputContract(mean=beside.mean, std=beside.std)
            wanted, reasons = said.over(classifier.preprocessing, classifier.reasons)
            classifier.show(wanted, {**reasons, "mean": WEIGHTS, "std": WEIGHTS})
        else:
            yield f"its mean of {len(beside.mean)} numbers does not fit {channels} channel(s)"
    if beside.classes is not None and not are_names(classifier.classes):
        if len(beside.classes) == classifier.num_classes:
            classifier.classes = beside.classes
        else:
            yield f"its {len(beside.classes)} class names are not {classifier.num_classes} outputs"
    yield from beside.notes


def sealed(path: Path, request: Request) -> Classifier:
    """A file that holds its own network, as a black box that sees images in [0, 1] as they are."""
    box = open_black_box(path, request.trust_pickle)
    channels, height, width = box.contract.image
    wanted, reasons = unknown_input(1 if channels == 1 else 3)
    if height and width:
        wanted = replace(wanted, resize=(height, width))
        reasons["resize"] = ARCHITECTURE
    classifier = Classifier(
        box,
        classes=box.outputs,
        preprocessing=wanted,
        architecture=f"black_box:{path.name}",
        reasons=reasons,
    )
    classifier.note(box.described())
    if request.arch:
        classifier.note(
            f"`--arch {request.arch}` was not used: the weights in an ONNX file are its own"
        )
    return classifier


def _no_architecture(file: WeightsFile) -> str:
    path = str(file.path)
    if file.pickled:
        return (
            f"{path!r} is a whole pickled network ({file.pickled}), and loading it could execute "
            "code: give `--arch` to take its weights only, or say `--trust_pickle true` if the "
            "file is your own."
        )
    beside = file.path.parent / "config.json"
    folder = f" Or name its folder, checkpoint:{file.path.parent}, which knows." * beside.is_file()
    return (
        f"Expected `--arch` for {path!r}, e.g. cifar_resnet20 or torchvision:resnet18: "
        f"`assay inspect {path}` guesses it.{folder}"
    )


def _as_pickled(module: nn.Module, request: Request) -> Classifier:
    """Takes a whole module out of a trusted file; it can be tested but not rebuilt."""
    if isinstance(module, Classifier):
        return module
    return bare_classifier(module, f"pickle:{request.rest}", request)
