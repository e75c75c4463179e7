"""Networks by name, without weights."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing
from lightning_modules.cifar_resnet import (
    CIFARResNet,
    cifar_resnet20,
    cifar_resnet32,
    cifar_resnet44,
    cifar_resnet56,
)
from lightning_modules.lenet import LeNet

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "lenet": LeNet,
    "cifar_resnet20": cifar_resnet20,
    "cifar_resnet32": cifar_resnet32,
    "cifar_resnet44": cifar_resnet44,
    "cifar_resnet56": cifar_resnet56,
}
"""Built in; others are named `torchvision:`, `timm:`, `hf:`, `hub:` or `python:`."""

SIZES = {LeNet: 28, CIFARResNet: 32}


def build(architecture: str, classes: int, channels: int = 3) -> nn.Module:
    """Makes a network with random weights.

    Args:
        architecture: a key of `ARCHITECTURES`, `torchvision:NAME`, `timm:NAME`, `hf:NAME`,
            `hub:OWNER/REPO:NAME` or `python:MODULE:CALLABLE`.
        classes: outputs.
        channels: of the input; only the built-in ones and timm take 1.

    Raises:
        UserError: there is no such network.
    """
    kind, name = architecture.split(":", 1) if ":" in architecture else ("builtin", architecture)
    if kind == "builtin":
        if name not in ARCHITECTURES:
            hint = suggestion(name, ARCHITECTURES)
            raise UserError(f"There is no built-in architecture {name!r}.{hint}")
        return ARCHITECTURES[name](classes=classes, channels=channels)
    if kind not in _BUILDERS:
        raise UserError(
            f"Expected an architecture like `torchvision:resnet18`, got {architecture!r}."
        )
    return _BUILDERS[kind](name, classes, channels)


def preprocessing_of(architecture: str, like: Preprocessing | None) -> Preprocessing | None:
    """What a network without weights wants: the size it is made for, in the data's own colours."""
    maker = ARCHITECTURES.get(architecture.removeprefix("builtin:"))
    size = SIZES.get(getattr(maker, "func", maker))  # type: ignore[arg-type]
    if size is None:
        return like
    like = like or Preprocessing()
    return Preprocessing(like.channels, (size, size), mean=like.mean, std=like.std)


def _torchvision(name: str, classes: int, channels: int) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    name = name.partition("@")[0]
    if name not in known:
        raise UserError(f"torchvision has no classifier {name!r}.{suggestion(name, known)}")
    return torchvision.models.get_model(name, weights=None, num_classes=classes)


def _timm(name: str, classes: int, channels: int) -> nn.Module:
    timm = imported("timm", "timm")
    return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)


def _huggingface(name: str, classes: int, channels: int) -> nn.Module:
    from lightning_modules.sources.huggingface import Logits

    transformers = imported("transformers", "hf")
    config = transformers.AutoConfig.from_pretrained(name, num_labels=classes)
    return Logits(transformers.AutoModelForImageClassification.from_config(config))


def _hub(name: str, classes: int, channels: int) -> nn.Module:
    import torch

    repository, _, entry = name.partition(":")
    return torch.hub.load(repository, entry, pretrained=False, trust_repo="check")  # type: ignore[return-value]


def _python(name: str, classes: int, channels: int) -> nn.Module:
    made = python_callable(name)()
    if not isinstance(made, nn.Module):
        raise UserError(
            f"Expected python:{name} to return a torch module, got {type(made).__name__}."
        )
    return made


def python_callable(name: str) -> Callable[..., nn.Module]:
    """Imports `MODULE:CALLABLE`; the current folder comes last on the path, so it hides nothing."""
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"Cannot import `python:{name}`: {error}. Expected python:MODULE:CALLABLE."
        ) from error


def imported(package: str, extra: str) -> Any:
    """Imports an optional package or says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"`{package}` is not installed: pip install 'assay[{extra}]'.") from error


_BUILDERS: dict[str, Callable[[str, int, int], nn.Module]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _huggingface,
    "hub": _hub,
    "python": _python,
}
