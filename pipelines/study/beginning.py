"""The checkpoint that a training begins with: whether it is one, and one of this training."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datamodules.errors import UserError


def check_beginning(file: Path, module: nn.Module, epochs: int | None) -> None:
    """Refuses a file that the training cannot go on from.

    Args:
        file: `ckpt_path` of the user.
        module: that would learn on.
        epochs: of the training in all; None or below 0 for no end.

    Raises:
        UserError: it is no checkpoint of a training, or of another network or mode, or it has been
            through all the epochs already.
    """
    saved = _read(file)
    theirs, ours = saved["state_dict"], module.state_dict()
    if strange := sorted(theirs.keys() ^ ours.keys()):
        who = "has" if strange[0] in theirs else "lacks"
        raise _other(file, f"it {who} {strange[0]} and differs in {len(strange):,} names")
    for name, value in theirs.items():
        if value.shape != ours[name].shape:
            raise _other(file, f"{name} is {tuple(value.shape)} and not {tuple(ours[name].shape)}")
    done = int(saved.get("epoch", -1)) + 1
    if epochs is not None and 0 <= epochs <= done:
        raise UserError(
            f"Expected `trainer.max_epochs` above {done}, as {str(file)!r} has been through "
            f"{done} epochs already, but got {epochs}: nothing would be trained."
        )


def is_of_another_optimizer(error: Exception) -> bool:
    """Whether a training failed because the checkpoint's optimizer moved other parameters."""
    return "loaded state dict" in str(error)


def other_optimizer(file: Path | None) -> UserError:
    """The sentence for it."""
    return _other(file, "its optimizer moves other parameters")


def _read(file: Path) -> Mapping[str, Any]:
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _none(file, "it cannot be read as one") from error
    if not isinstance(saved, Mapping) or "pytorch-lightning_version" not in saved:
        raise _none(file, "it holds weights alone" if isinstance(saved, Mapping) else "it is none")
    return saved


def _none(file: Path, why: str) -> UserError:
    return UserError(
        f"Expected `ckpt_path` to be the checkpoint of a training, such as a last.ckpt in "
        f"mlruns/checkpoints, but got {str(file)!r}: {why}. Weights are a model to start with: "
        "--model checkpoint:FILE."
    )


def _other(file: Path | None, what: str) -> UserError:
    return UserError(
        f"Expected `ckpt_path` to be a checkpoint of the same network trained in the same mode, "
        f"but {str(file)!r} is of another training: {what}."
    )
