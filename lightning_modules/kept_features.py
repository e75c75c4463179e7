"""Whether a network with another last layer can be answered from features that are kept."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.agreement import near
from lightning_modules.classifier import Classifier
from lightning_modules.features import head_features
from lightning_modules.heads import find_head
from lightning_modules.plain_layers import is_plain
from lightning_modules.trial import as_taken, example, undisturbed

_NEAR = 1e-4
"""Share of the largest number, or ten roundings of its type."""


def probed_head(classifier: Classifier) -> tuple["ProbedHead | None", str]:
    """The head, if the answer is linear in what goes into it, or why it cannot be answered so.

    Random images are asked about twice, among others, and with another head, so that what no type
    tells is found out by value: dropout that is always on, a head with a closed gate, an answer
    that depends on the rest of a batch.

    Args:
        classifier: left as it is.

    Raises:
        UserError: what goes into the head changes with the head.
    """
    model = classifier.model
    head = find_head(model)
    layer = model.get_submodule(head.name)
    if not (head.linear and is_plain(layer)):
        return None, f"{head.name!r} is no plain layer at the end"
    image = example(model)
    if image is None:
        return None, "it is not known which images the network takes"
    image = torch.cat([image, 1 - image])
    feature, _ = _asked(classifier, image)
    again, fewer = _asked(classifier, image, seed=1)[0], _asked(classifier, image[:2])[0]
    probed = ProbedHead(head.name, head.scale)
    with _another(layer):
        moved, answer = _asked(classifier, image)
        linear = probed.answered(model, moved).to(answer.dtype).log_softmax(1)
    if not _near(again, feature):
        return None, "what goes into it is random (dropout that is always on, or the like)"
    if not _near(moved, feature):
        raise UserError(
            f"Expected a backbone that stays as it is when the last layer {head.name!r} changes, "
            "but it reads its weights too: take --tuning.mode full."
        )
    if not _near(fewer, feature[:2]):
        return None, "what goes into it depends on the other images of a batch"
    if not _near(linear, answer.log_softmax(1)):
        return None, "the answer is no linear function of what goes into it"
    return probed, ""


class ProbedHead:
    """A plain last layer.

    Args:
        name: dotted.
        scale: the logits are so many times its output.
    """

    def __init__(self, name: str, scale: float) -> None:
        self.name, self.scale = name, scale

    def answered(self, model: nn.Module, feature: Tensor) -> Tensor:
        """Logits `(N, K)` of features `(N, D)`."""
        layer = model.get_submodule(self.name)
        logits = F.linear(feature, layer.weight.flatten(1), layer.bias)  # type: ignore[arg-type, operator]
        return logits if self.scale == 1 else self.scale * logits


def _asked(classifier: Classifier, image: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """What goes into the head last, and the logits."""
    model = classifier.model
    with undisturbed(model, seed), torch.no_grad(), head_features(model) as seen:
        logits = classifier.answers(model(as_taken(model, image)))
    return seen[-1].clone(), logits.clone()


@contextmanager
def _another(layer: nn.Module) -> Iterator[None]:
    """Moves a layer's parameters a little, and back to the bit."""
    generator = torch.Generator().manual_seed(0)
    before = [(p, p.detach().clone()) for p in layer.parameters()]
    try:
        with torch.no_grad():
            for parameter, _ in before:
                drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(drawn * parameter.std(correction=0).clamp_min(0.1))
        yield
    finally:
        with torch.no_grad():
            for parameter, own in before:
                parameter.copy_(own)


def _near(one: Tensor, other: Tensor) -> bool:
    return near(one, other, max(_NEAR, 10 * torch.finfo(other.dtype).eps))
