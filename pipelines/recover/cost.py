"""What a repair costs besides time: FLOPs by torch's own counter, and peak memory."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from callbacks.queries import differentiable
from lightning_modules import Classifier
from lightning_modules.memory import peak_memory


@dataclass(frozen=True)
class UnitCost:
    """Of one image, and of one step.

    Args:
        forward: FLOPs of a forward of one image.
        training: FLOPs of a forward and backward of one image.
        forward_memory: bytes at most in use in a forward of a batch, above what was before.
        training_memory: the same of a training step.
    """

    forward: float
    training: float
    forward_memory: float
    training_memory: float

    @classmethod
    def of(cls, classifier: Classifier, image: Tensor, label: Tensor) -> "UnitCost":
        """Measures a classifier on one batch; it is left as it was.

        Args:
            classifier: any.
            image: `(N, C, H, W)`.
            label: `(N,)`.
        """
        device = classifier.device
        image, label = image.to(device), label.to(device)

        def forward() -> None:
            with torch.no_grad():
                classifier(image)

        def training_step() -> None:
            _step(classifier, image, label)

        training = classifier.training
        classifier.eval()
        try:
            flops = [_flops(work) / len(image) for work in (forward, training_step)]
            memory = [float(peak_memory(work, device)) for work in (forward, training_step)]
        finally:
            classifier.train(training)
        return cls(*flops, *memory)


def training_flops(classifier: Classifier, image: Tensor, label: Tensor) -> float:
    """FLOPs of a training step for one image: backward only as far as something learns.

    Args:
        classifier: whose parameters say by `requires_grad` whether they learn.
        image: `(N, C, H, W)`.
        label: `(N,)`.
    """
    modes = [(part, part.training) for part in classifier.modules()]
    classifier.eval()  # dropout would draw numbers, and batch norm would learn
    try:
        batch = image.to(classifier.device), label.to(classifier.device)
        return _flops(lambda: _step(classifier, *batch)) / len(image)
    finally:
        for part, training in modes:
            part.training = training


@torch.enable_grad()
def _step(classifier: Classifier, image: Tensor, label: Tensor) -> None:
    """Differentiates by what learns; gradients that were there stay.

    By `backward`: the hooks of torch's counter refuse `autograd.grad` in parametrised layers.
    """
    kept = [(weight, weight.grad) for weight in classifier.parameters()]
    for weight, _ in kept:
        weight.grad = None
    try:
        loss = F.cross_entropy(classifier(image), label)
        if loss.requires_grad:
            with differentiable():
                loss.backward()
    finally:
        for weight, gradient in kept:
            weight.grad = gradient


def _flops(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
