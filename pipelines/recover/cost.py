"""What a repair costs besides time: FLOPs by torch's own counter, and peak memory."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules import Classifier


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
        image, label = image.to(classifier.device), label.to(classifier.device)

        def ahead() -> None:
            with torch.no_grad():
                classifier(image)

        def both() -> None:
            loss = F.cross_entropy(classifier(image), label)
            weights = [one for one in classifier.parameters() if one.requires_grad]
            torch.autograd.grad(loss, weights)

        training = classifier.training
        classifier.eval()
        try:
            flops = [_flops(work) / len(image) for work in (ahead, both)]
            memory = [peak_memory(work) for work in (ahead, both)]
        finally:
            classifier.train(training)
        return cls(*flops, *memory)


def peak_memory(work: Callable[[], object]) -> float:
    """Bytes allocated at most at one time, above what was allocated before.

    Torch's profiler on a CPU, its allocator on a GPU.
    """
    work()
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return float(torch.cuda.max_memory_allocated() - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    assert profiler.profiler is not None
    results = profiler.profiler.kineto_results
    assert results is not None
    now = most = 0.0
    events = [event for event in results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()  # type: ignore[attr-defined]  # torch's stubs leave it out
        most = max(most, now)
    return most


def _flops(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
