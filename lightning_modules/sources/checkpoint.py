"""A file of weights."""

from pathlib import Path
from typing import Any

from torch import nn

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build, preprocessing_of
from lightning_modules.classifier import Classifier
from lightning_modules.heads import fit_ends, head_outputs, stem_inputs
from lightning_modules.saved_model import load_saved
from lightning_modules.sources.request import Request
from lightning_modules.weights_file import load_exactly, named_for, read_weights


def from_checkpoint(request: Request) -> Classifier:
    """`checkpoint:FILE` with `--arch`: weights of torch, Lightning, safetensors; or our folder."""
    path = Path(request.rest).expanduser()
    if path.is_dir():
        return load_saved(path)
    file = read_weights(path, request.trust_pickle)
    facts = file.facts or {}
    arch = request.arch or facts.get("architecture")
    if arch is None and file.module is not None:
        return _as_pickled(file.module, request)
    if arch is None:
        raise UserError(
            f"Expected `--arch` for {str(path)!r}, e.g. cifar_resnet20 or torchvision:resnet18: "
            f"`assay inspect {path}` guesses it."
        )
    model = build(arch, 10)
    state = named_for(model, file.state)
    fit_ends(model, state)
    load_exactly(model, state, arch, path)
    return Classifier(
        model,
        classes=facts.get("classes") or head_outputs(model),
        preprocessing=_preprocessing(facts, arch, stem_inputs(model), request.preprocessing),
        architecture=arch,
    )


def _preprocessing(
    facts: dict[str, Any], arch: str, channels: int, like: Preprocessing | None
) -> Preprocessing:
    """What the file says, else what the architecture's weights usually want, else the data's."""
    if "preprocessing" in facts:
        return Preprocessing.from_dict(facts["preprocessing"])
    if "cifar_resnet" in arch:
        like = None  # the published weights were trained with ImageNet's statistics
    if like is not None and like.channels != channels:
        like = None
    found = preprocessing_of(arch, like)
    if found.channels == channels:
        return found
    return Preprocessing(
        channels, found.resize, found.crop, mean=(0.0,) * channels, std=(1.0,) * channels
    )


def _as_pickled(module: nn.Module, request: Request) -> Classifier:
    """Takes a whole module out of a trusted file; it can be tested but not rebuilt."""
    if isinstance(module, Classifier):
        return module
    preprocessing = _preprocessing({}, "pickle", stem_inputs(module), request.preprocessing)
    return Classifier(
        module,
        classes=head_outputs(module),
        preprocessing=preprocessing,
        architecture=f"pickle:{request.rest}",
    )
