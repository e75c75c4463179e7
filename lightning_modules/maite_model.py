"""Models that follow MAITE's protocol for image classification, as networks."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datamodules.errors import UserError
from datamodules.maite_data import maite_object
from lightning_modules.black_box import BlackBox
from lightning_modules.black_box_runners import Contract


class MAITENetwork(nn.Module):
    """A torch module that takes a list of images, as a network that takes a batch.

    Args:
        model: from a list of `(C, H, W)` tensors to scores `(K,)` of each.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` to scores `(N, K)`."""
        return _stacked(self.model([*image]), image.device)


class _Runner:
    """Calls a model that takes arrays.

    Args:
        model: from a list of `(C, H, W)` arrays to scores `(K,)` of each.
        channels: of the images; None where nobody knows.
    """

    def __init__(self, model: Any, channels: int | None) -> None:
        self.model, self.contract = model, Contract(image=(channels, None, None))

    def __call__(self, image: Tensor) -> Tensor:
        """Scores `(N, K)`; whatever the model raises is its own business."""
        arrays = [*self.contract.sent(image).detach().cpu().numpy()]
        try:
            answer = self.model(arrays)
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise RuntimeError(first) from error
        return _stacked(answer, image.device)


def maite_network(name: str, channels: int | None) -> nn.Module:
    """A `MAITENetwork`, where gradients come through a torch module, else a `BlackBox`.

    Args:
        name: `MODULE:NAME`.
        channels: of the images that are tried first.

    Raises:
        UserError: there is no such model, or it answers no batch of images.
    """
    model = opened_maite(name)
    if isinstance(model, nn.Module) and _gives_gradients(model, channels):
        return MAITENetwork(model)
    return open_maite(name, channels)


def opened_maite(name: str) -> Any:
    """A model of MAITE's protocol, as it is.

    Raises:
        UserError: there is none of that name.
    """
    return maite_object(name, ("__call__", "metadata"), "a MAITE model")


def open_maite(name: str, channels: int | None = None) -> BlackBox:
    """Opens a MAITE model as a black box.

    Args:
        name: `MODULE:NAME`.
        channels: of the images that are tried first.

    Raises:
        UserError: there is no such model, or it answers no batch of images.
    """
    model = opened_maite(name)
    told = f"maite:{name} is a model by MAITE's protocol"
    content, reopen = _source(model, name), (open_maite, (name, channels))
    try:
        return BlackBox(told, _Runner(model, channels), content, reopen)
    except UserError:
        if channels is None:
            raise
    return BlackBox(told, _Runner(model, None), content, (open_maite, (name,)))


def _stacked(answer: Sequence[Any], device: torch.device) -> Tensor:
    """Scores of every image as one tensor, with their graph where they have one.

    Raises:
        ValueError: they are no scores.
    """
    parts = [one if isinstance(one, Tensor) else torch.from_numpy(np.array(one)) for one in answer]
    if not parts or any(part.ndim != 1 or len(part) < 2 for part in parts):
        shapes = sorted({tuple(part.shape) for part in parts})
        raise ValueError(f"expected a score a class for each image, but got shapes {shapes[:3]}")
    scores = torch.stack(parts).to(device)
    return scores if scores.is_floating_point() else scores.float()


def _gives_gradients(model: nn.Module, channels: int | None) -> bool:
    """Whether the answer about some random image can be differentiated by its pixels."""
    for depth in dict.fromkeys((channels or 3, 3, 1)):
        for side in (32, 28, 224, 64, 8):
            image = torch.rand(2, depth, side, side, generator=torch.Generator().manual_seed(0))
            try:
                with torch.enable_grad():
                    scores = MAITENetwork(model.eval())(image.requires_grad_())
            except Exception:  # of the user's own code, about a size it does not take
                continue
            return scores.requires_grad
    return False


def _source(model: Any, name: str) -> bytes:
    """What tells one model from another before it answers: its name and its module's text."""
    try:
        text = Path(inspect.getfile(type(model))).read_bytes()
    except (OSError, TypeError):  # made in a notebook
        text = b""
    return name.encode() + b"\0" + text
