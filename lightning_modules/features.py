"""What a network says before its head: extracted once, in one pass, and kept."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.chunks import padded
from lightning_modules.classifier import Classifier
from lightning_modules.heads import head_name


@dataclass(frozen=True)
class Features:
    """The answers of a frozen classifier, in the order of the indices.

    Args:
        feature: `(N, D)` float32, what goes into the head; maps are averaged over space.
        logits: `(N, S)` float32 of its own head.
        label: `(N,)` int64.
        index: `(N,)` int64, ascending.
    """

    feature: Tensor
    logits: Tensor
    label: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def at(self, index: Tensor) -> "Features":
        """The samples with these indices, which all must be there, in this order."""
        rows = torch.searchsorted(self.index, index)
        assert bool((self.index[rows] == index).all()), "an index without features"
        return Features(self.feature[rows], self.logits[rows], self.label[rows], index)


@torch.inference_mode()
def extract(
    classifier: Classifier,
    batches: Iterable[Batch],
    device: torch.device | str = "cpu",
    chunk: int | None = None,
) -> Features:
    """Runs every image through a classifier once and keeps what goes into its head.

    Where the network has no head, or does not ask it, the features are the logits.

    Args:
        classifier: put into eval mode for the pass and given back as it was.
        batches: images in [0, 1] in any order.
        device: where to compute.
        chunk: images in every call, the last one padded, so that no answer depends on the batches;
            None calls with the batches as they come.

    Returns:
        Features on the CPU.
    """
    seen: list[Tensor] = []

    def keep(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        seen[:] = [inputs[0]]  # of a head that is called several times the last call counts

    modes = {part: part.training for part in classifier.modules()}
    head = _head(classifier.model)
    hooks = [] if head is None else [head.register_forward_pre_hook(keep)]
    parts: list[tuple[Tensor, ...]] = []
    try:
        classifier.to(device).eval()
        for batch in batches:
            for image, label, index in zip(*(c.split(chunk or len(c)) for c in batch), strict=True):
                logits = classifier(padded(image.to(device), chunk))
                feature = _flat(seen.pop() if seen else logits)
                columns = (feature.float(), logits.float(), label, index)
                parts.append(tuple(column[: len(image)].cpu() for column in columns))
    finally:
        for hook in hooks:
            hook.remove()
        for part, training in modes.items():
            part.training = training
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    order = columns[3].argsort()
    return Features(*(column[order] for column in columns))


def _head(model: torch.nn.Module) -> torch.nn.Module | None:
    """The last layer; None where no linear layer or 1x1 convolution is one."""
    try:
        return model.get_submodule(head_name(model))
    except UserError:
        return None


def _flat(value: Tensor) -> Tensor:
    """`(N, D)`: maps are averaged over space, tokens over the sequence, as is done behind them."""
    if value.ndim == 4:
        return value.mean((2, 3))
    return value.mean(1) if value.ndim == 3 else value.flatten(1)


def cached(file: Path | None, make: Callable[[], Features]) -> Features:
    """Reads features from a file, or makes and keeps them.

    Args:
        file: named by the digests of weights, data and preprocessing; None keeps nothing.
        make: extracts them.
    """
    if file is None:
        return make()
    try:
        return Features(**safetensors.torch.load_file(file))
    except (OSError, safetensors.SafetensorError, TypeError):  # none, or spoiled by the disk
        pass
    made = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
    columns = {name: getattr(made, name).contiguous() for name in made.__dataclass_fields__}
    safetensors.torch.save_file(columns, unfinished)
    unfinished.replace(file)
    return made
