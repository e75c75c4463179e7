"""A classifier on disk: safetensors and a small JSON file, loadable without executing anything."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.architectures import build
from lightning_modules.black_box import black_box_in, open_black_box
from lightning_modules.classifier import Classifier
from lightning_modules.heads import fit_ends
from lightning_modules.maite_model import maite_network
from lightning_modules.weights_file import load_exactly

_WEIGHTS, _FACTS = "model.safetensors", "classifier.json"


def save_classifier(classifier: Classifier, folder: Path) -> Path:
    """Writes weights and facts into a folder and returns it.

    Args:
        classifier: any; its `architecture` must be one that `build` can make again, or it is a
            black box, whose file is copied.
        folder: made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    box = black_box_in(classifier.model)
    if box is not None and box.path is not None:
        shutil.copyfile(box.path, folder / box.path.name)
    everything = save_weights(classifier.model, folder / _WEIGHTS)
    extra = {name: x for name, x in everything.items() if not isinstance(x, Tensor)}
    facts = {
        "format": 1,
        **classifier.kept(),
        "extra_state": _plain(extra),
        **({"black_box": box.path.name} if box and box.path else {}),
    }
    (folder / _FACTS).write_text(json.dumps(facts, indent=2))
    return folder


def save_weights(model: nn.Module, file: Path) -> dict[str, Any]:
    """Writes all tensors of a network as safetensors, also tied ones.

    Returns:
        Its state, of which what is no tensor is not in the file.
    """
    everything = model.state_dict()
    safetensors.torch.save_file(plain_state(everything), file)
    return everything


def load_weights(model: nn.Module, file: Path) -> None:
    """Takes what `save_weights` wrote of the same network, and leaves what is no tensor."""
    own = {name: x for name, x in model.state_dict().items() if not isinstance(x, Tensor)}
    model.load_state_dict({**own, **safetensors.torch.load_file(file)})


def load_into(classifier: Classifier, folder: Path) -> None:
    """Takes what `save_classifier` wrote of the same network."""
    load_weights(classifier.model, folder / _WEIGHTS)
    extra = json.loads((folder / _FACTS).read_text())["extra_state"]
    classifier.model.load_state_dict(extra, strict=False)


def plain_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict as safetensors takes them: contiguous, none sharing memory.

    Args:
        state: of any network: weights under two names, views, and what `get_extra_state` adds.
    """
    seen: set[int] = set()
    made = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensor = value.contiguous()
            memory = tensor.untyped_storage().data_ptr()
            made[name] = tensor.clone() if memory in seen else tensor
            seen.add(memory)
    return made


def load_saved(folder: Path, trust_pickle: bool = False) -> Classifier:
    """Loads what `save_classifier` wrote.

    Args:
        folder: with its files.
        trust_pickle: run a black box that may do more than answer; see `open_black_box`.

    Raises:
        UserError: the folder holds no such files, or the architecture cannot be made.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text())
        state = safetensors.torch.load_file(folder / _WEIGHTS)
        preprocessing = Preprocessing.from_dict(facts["preprocessing"])
        architecture, classes = facts["architecture"], tuple(facts["classes"])
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(
            f"Expected {_WEIGHTS} and {_FACTS} as Assay writes them in {str(folder)!r}, but: "
            f"{type(error).__name__} {error}."
        ) from error
    if "black_box" in facts:
        model = open_black_box(folder / Path(facts["black_box"]).name, trust_pickle)
    elif architecture.startswith("maite:"):  # its module stays where it is
        model = maite_network(architecture.removeprefix("maite:"), preprocessing.channels)
        if black_box_in(model) is None:
            load_exactly(model, state, architecture, folder)
    else:
        model = _rebuilt(architecture, len(classes), preprocessing.channels, folder)
        fit_ends(model, state)
        load_exactly(model, state, architecture, folder)
        model.load_state_dict(facts.get("extra_state", {}), strict=False)
    return Classifier.rebuilt(model, facts)


def _plain(extra: dict[str, Any]) -> dict[str, Any]:
    """What modules keep by `get_extra_state`, of that what JSON gives back as it was."""
    try:
        return {k: value for k, value in extra.items() if json.loads(json.dumps(value)) == value}
    except (TypeError, ValueError):
        return {}


def _rebuilt(architecture: str, classes: int, channels: int, folder: Path) -> nn.Module:
    if architecture.startswith("pickle:"):
        raise UserError(
            f"The network in {str(folder)!r} came whole out of the pickle {architecture[7:]!r}, so "
            "it cannot be built again: give `--model checkpoint:` with that file, or with `--arch`."
        )
    model = build(architecture, classes, channels)
    return model.model if isinstance(model, Classifier) else model
