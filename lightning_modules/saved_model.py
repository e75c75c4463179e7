"""A classifier on disk: safetensors and a small JSON file, loadable without executing anything."""

import json
from pathlib import Path

import safetensors.torch
from torch import nn

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build
from lightning_modules.classifier import Classifier

_WEIGHTS, _FACTS = "model.safetensors", "classifier.json"


def save_classifier(classifier: Classifier, folder: Path) -> Path:
    """Writes weights and facts into a folder and returns it.

    Args:
        classifier: any; its `architecture` must be one that `build` can make again.
        folder: made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in classifier.model.state_dict().items()}
    safetensors.torch.save_file(_unshared(state), folder / _WEIGHTS)
    facts = {
        "format": 1,
        "architecture": classifier.architecture,
        "source": classifier.source,
        "classes": list(classifier.classes),
        "preprocessing": classifier.preprocessing.as_dict(),
    }
    (folder / _FACTS).write_text(json.dumps(facts, indent=2))
    return folder


def load_saved(folder: Path) -> Classifier:
    """Loads what `save_classifier` wrote.

    Raises:
        UserError: the folder holds no such files, or the architecture cannot be made.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text())
        state = safetensors.torch.load_file(folder / _WEIGHTS)
    except (OSError, json.JSONDecodeError, safetensors.SafetensorError) as error:
        raise UserError(
            f"Expected {_WEIGHTS} and {_FACTS} in {str(folder)!r}, but: {error}."
        ) from error
    preprocessing = Preprocessing.from_dict(facts["preprocessing"])
    model = _rebuilt(facts["architecture"], len(facts["classes"]), preprocessing.channels)
    model.load_state_dict(state)
    return Classifier(
        model,
        classes=facts["classes"],
        preprocessing=preprocessing,
        architecture=facts["architecture"],
        source=facts["source"],
    )


def _rebuilt(architecture: str, classes: int, channels: int) -> nn.Module:
    model = build(architecture, classes, channels)
    return model.model if isinstance(model, Classifier) else model


def _unshared(state: dict) -> dict:
    """Clones tensors that share memory, which the format does not allow."""
    seen: set[int] = set()
    made = {}
    for name, tensor in state.items():
        made[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return made
