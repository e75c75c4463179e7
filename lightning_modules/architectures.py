"""Networks by name, without weights."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn

from datamodules.errors import UserError, suggestion
from datamodules.python_objects import python_object
from lightning_modules.cifar_resnet import (
    cifar_resnet20,
    cifar_resnet32,
    cifar_resnet44,
    cifar_resnet56,
)
from lightning_modules.huggingface_logits import Logits
from lightning_modules.lenet import LeNet
from lightning_modules.unwrapping import unwrapped

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "lenet": LeNet,
    "lenet_wide": partial(LeNet, width=4),
    "cifar_resnet20": cifar_resnet20,
    "cifar_resnet32": cifar_resnet32,
    "cifar_resnet44": cifar_resnet44,
    "cifar_resnet56": cifar_resnet56,
}
"""Built in; others are named `torchvision:`, `timm:`, `hf:`, `hub:` or `python:`."""

_AUXILIARY = ("aux1", "aux2", "AuxLogits")


def build(architecture: str, classes: int, channels: int = 3) -> nn.Module:
    """Makes a network with random weights.

    Args:
        architecture: a key of `ARCHITECTURES`, `torchvision:NAME`, `timm:NAME`, `hf:NAME`,
            `hub:OWNER/REPO:NAME` or `python:MODULE:CALLABLE`.
        classes: outputs.
        channels: of the input; the built-in ones and timm take 1, see `fit_ends` for others.

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
            "Expected an architecture like lenet or torchvision:resnet18, but got "
            f"{architecture!r}.{suggestion(kind, _BUILDERS)}"
        )
    return _BUILDERS[kind](name, classes, channels)


def without_auxiliary(model: nn.Module) -> nn.Module:
    """Takes the auxiliary heads off GoogLeNet and Inception, which only their own training used.

    So a network answers with one tensor in every mode, whatever weights it was made with.
    """
    for name in _AUXILIARY:
        if hasattr(model, name):
            setattr(model, name, None)
            model.aux_logits = False  # type: ignore[assignment]
    return model


def auxiliary(key: str) -> bool:
    """Whether a weight belongs to a head that `without_auxiliary` takes off."""
    return key.partition(".")[0] in _AUXILIARY


def zoo() -> list[str]:
    """Names of torchvision's classifiers."""
    return torchvision.models.list_models(module=torchvision.models)


def _torchvision(name: str, classes: int, channels: int) -> nn.Module:
    name = name.partition("@")[0]
    if name not in zoo():
        raise UserError(f"torchvision has no classifier {name!r}.{suggestion(name, zoo())}")
    # GoogLeNet and Inception warn that their slow initialisation will change.
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **quick)
    return without_auxiliary(model)


def _timm(name: str, classes: int, channels: int) -> nn.Module:
    timm = imported("timm", "timm")
    return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)


def _huggingface(name: str, classes: int, channels: int) -> nn.Module:
    transformers = imported("transformers", "hf")
    config = transformers.AutoConfig.from_pretrained(name, num_labels=classes)
    return Logits(transformers.AutoModelForImageClassification.from_config(config))


def _hub(name: str, classes: int, channels: int) -> nn.Module:
    repository, _, entry = name.partition(":")
    try:
        network = torch.hub.load(repository, entry, pretrained=False, trust_repo="check")
    except EOFError as error:  # torch asks on the terminal, and there is none
        raise UserError(
            f"The code of {repository!r} is not trusted on this machine: load --model hub:{name} "
            "--trust_pickle true once."
        ) from error
    return _module(network, f"hub:{name}")


def _python(name: str, classes: int, channels: int) -> nn.Module:
    return _module(python_callable(name)(), f"python:{name}")


def _module(network: object, name: str) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise UserError(
            f"Expected {name} to return a torch module, but got {type(network).__name__}."
        )
    return unwrapped(network)


def python_callable(name: str) -> Callable[..., Any]:
    """Imports `MODULE:CALLABLE`, see `python_object`."""
    target = python_object(name)
    if not callable(target):
        raise UserError(
            f"Expected python:{name} to be callable, but got {type(target).__name__}: give a "
            "function that returns the model."
        )
    return target


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
