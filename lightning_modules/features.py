"""What a network says before its head: extracted once, in one pass, and kept."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.chunks import padded
from lightning_modules.classifier import Classifier
from lightning_modules.heads import find_head
from lightning_modules.trial import first_tensor


@dataclass(frozen=True)
class Features:
    """The answers of a frozen classifier, in the order of the indices.

    Args:
        feature: `(N, D)` float32, what goes into the head; see `Head.feature`.
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


@contextmanager
def head_features(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what goes into the head, one `(N, D)` tensor for every call inside.

    Args:
        network: from images to answers.

    Raises:
        UserError: no layer's output is its answer.
    """
    head = find_head(network)
    seen: list[Tensor] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = first_tensor(args, kwargs)
        assert given is not None
        seen.append(head.feature(layer, given))

    layer = network.get_submodule(head.name)
    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


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
    modes = {part: part.training for part in classifier.modules()}
    parts: list[tuple[Tensor, ...]] = []
    try:
        classifier.to(device).eval()
        with _watched(classifier.model) as seen:
            for batch in batches:
                pieces = zip(*(c.split(chunk or len(c)) for c in batch), strict=True)
                for image, label, index in pieces:
                    logits = classifier(padded(image.to(device), chunk)).float()
                    # Of the last call, where a head is called several times.
                    feature = seen[-1].float() if seen else logits
                    seen.clear()
                    columns = (feature, logits, label, index)
                    parts.append(tuple(column[: len(image)].cpu() for column in columns))
    finally:
        for part, training in modes.items():
            part.training = training
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    order = columns[3].argsort()
    return Features(*(column[order] for column in columns))


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """Like `head_features`; collects nothing where the network has no head."""
    try:
        find_head(network)
    except UserError:
        yield []
        return
    with head_features(network) as seen:
        yield seen


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
    features = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
    columns = {name: getattr(features, name).contiguous() for name in features.__dataclass_fields__}
    safetensors.torch.save_file(columns, unfinished)
    unfinished.replace(file)
    return features
