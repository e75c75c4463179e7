"""What goes into the last layer and what comes out, for images of any split."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError
from datamodules.preprocessing import in_unit_range
from datamodules.splits import stratified_order
from lightning_modules import Classifier
from lightning_modules.chunks import padded
from lightning_modules.heads import head_name


@dataclass(frozen=True)
class Features:
    """Of some images, on the CPU.

    Args:
        features: `(N, D)` input of the last layer.
        logits: `(N, K)`.
        label: `(N,)`.
        head: the last layer; None where there is none that is asked, and the features are the
            logits.
    """

    features: Tensor
    logits: Tensor
    label: Tensor
    head: nn.Module | None


def batches(data: ImageDataModule, split: str, count: int | None, size: int) -> Iterator[Batch]:
    """Yields images of a split in [0, 1]: always the same, classes balanced, in random order.

    Args:
        data: any.
        split: `train`, `val` or `test`.
        count: how many at most; None for all.
        size: of a batch.
    """
    images = data.images(split)
    images.check()
    rows = stratified_order(images.label, data.seed)[:count]
    mixed = torch.randperm(len(rows), generator=torch.Generator().manual_seed(data.seed))
    for part in rows[mixed].split(size):
        batch = images.__getitems__(part.tolist())
        yield Batch(in_unit_range(batch.image), batch.label, batch.index)


def head_of(classifier: Classifier, like: Features) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of the last layer, where it is linear and made those answers.

    Args:
        classifier: any.
        like: what it saw and said; an answer may also be scaled behind the layer, or not be its.
    """
    head = _head(classifier)
    if not isinstance(head, nn.Linear) or like.head is not head:
        return None
    weight = head.weight.detach().cpu()
    return weight, weight.new_zeros(len(weight)) if head.bias is None else head.bias.detach().cpu()


@torch.no_grad()
def features_of(
    classifier: Classifier, labelled: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> Features:
    """Sends images forward and keeps what the last layer saw and said.

    Args:
        classifier: in evaluation mode, on `device`.
        labelled: images `(n, C, H, W)` in [0, 1] with labels `(n,)`.
        device: of the model.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple) -> None:
        value = args[0].detach()
        if value.ndim == 4:  # a 1x1 convolution before the pooling
            value = value.mean((2, 3))
        seen.append(value.flatten(1, -2).mean(1) if value.ndim == 3 else value.flatten(1))

    head = _head(classifier)
    handles = [] if head is None else [head.register_forward_pre_hook(keep)]
    features, logits, label, asked = [], [], [], False
    try:
        for image, target in labelled:
            for part in image.split(classifier.chunk):
                answer = classifier(padded(part.to(device), classifier.chunk))
                logits.append(answer[: len(part)].float().cpu())
                features.append((seen or [answer])[-1][: len(part)].float().cpu())
                asked = bool(seen)
                seen.clear()
            label.append(target)
    finally:
        for handle in handles:
            handle.remove()
    own = head if asked else None
    return Features(torch.cat(features), torch.cat(logits), torch.cat(label), own)


def _head(classifier: Classifier) -> nn.Module | None:
    """The last layer; None where no linear layer or 1x1 convolution is one."""
    try:
        return classifier.model.get_submodule(head_name(classifier.model))
    except UserError:
        return None
