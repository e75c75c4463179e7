"""What a model takes: numbers, work, bytes, and measured time and memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from lightning_modules.distillation import macs
from lightning_modules.memory import peak_memory


@dataclass(frozen=True)
class Footprint:
    """Of one model on one device.

    Args:
        parameters: that are not pruned away.
        macs: multiply-accumulates of one image.
        bytes: of the weights as they would be stored.
        batch: images in a batch for what follows.
        memory: bytes of all activations that are alive at once for a batch, at most.
        latency: median seconds of one image; NaN until it is timed.
        throughput: images a second in batches; NaN until it is timed.
    """

    parameters: int
    macs: int
    bytes: int
    batch: int
    memory: int
    latency: float = float("nan")
    throughput: float = float("nan")


@torch.no_grad()
def footprint(model: nn.Module, image: Tensor) -> Footprint:
    """Counts what a model in eval mode takes; see `timed` for the times.

    Args:
        model: from images to logits.
        image: a batch `(N, C, H, W)` as the model sees it, on the model's device.
    """
    model.eval()
    weights = [*model.parameters()]
    return Footprint(
        parameters=sum(weight.numel() for weight in weights),
        macs=macs(model, image[:1]),
        bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        batch=len(image),
        memory=peak_memory(lambda: model(image), image.device),
    )


def timed(
    models: Sequence[tuple[nn.Module, Tensor]], rounds: int = 5, seconds: float = 0.02
) -> list[tuple[float, float]]:
    """Times models in turn, so that a machine whose speed drifts is as fair to one as to another.

    Args:
        models: each with a batch of images as it sees them, on its device.
        rounds: of all models; the median counts.
        seconds: to spend on each number in a round.

    Returns:
        Seconds of one image and images a second in batches, for each model.
    """
    latency: list[list[float]] = [[] for _ in models]
    throughput: list[list[float]] = [[] for _ in models]
    for _ in range(rounds):
        for place, (model, image) in enumerate(models):
            latency[place].append(_median(model, image[:1], seconds))
            throughput[place].append(len(image) / _median(model, image, seconds))
    return [
        (median(times), median(rates)) for times, rates in zip(latency, throughput, strict=True)
    ]


@torch.no_grad()
def _median(model: nn.Module, image: Tensor, seconds: float) -> float:
    """Median time of a forward; torch's timer warms up and waits for a GPU."""
    timer = Timer("with no_grad(): model(image)", globals={"model": model, "image": image,
                  "no_grad": torch.no_grad}, num_threads=torch.get_num_threads())  # fmt: skip
    return float(timer.blocked_autorange(min_run_time=seconds).median)
