"""A file of weights."""

from pathlib import Path

from datamodules.errors import UserError
from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier
from lightning_modules.heads import fit_ends
from lightning_modules.saved_model import load_saved
from lightning_modules.sources.bare import bare_classifier
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
    if arch is None and isinstance(file.module, Classifier):
        return file.module
    if arch is None and file.module is not None:  # it can be tested but not rebuilt
        return bare_classifier(file.module, f"pickle:{request.rest}", request)
    if arch is None:
        raise UserError(
            f"Expected `--arch` for {str(path)!r}, e.g. cifar_resnet20 or torchvision:resnet18: "
            f"`assay inspect {path}` guesses it."
        )
    made = build(arch, 10)
    model = made.model if isinstance(made, Classifier) else made
    state = named_for(model, file.state)
    fit_ends(model, state)
    load_exactly(model, state, arch, path)
    if isinstance(made, Classifier):  # the user's own code says what it wants
        return made
    if "preprocessing" in facts:
        return Classifier.rebuilt(model, {**facts, "architecture": arch})
    return bare_classifier(model, arch, request, path, facts.get("classes"))
