"""What a model takes: numbers, work, bytes, and measured time and memory."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode


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


def footprint(model: nn.Module, image: Tensor) -> Footprint:
    """Counts what a model in eval mode takes; see `timed` for the times.

    Args:
        model: from images to logits.
        image: a batch `(N, C, H, W)` as the model sees it, on the model's device.
    """
    model.eval()
    tensors = [*model.parameters()]
    return Footprint(
        parameters=sum(one.numel() for one in tensors),
        macs=macs(model, image[:1]),
        bytes=sum(one.numel() * one.element_size() for one in tensors),
        batch=len(image),
        memory=peak_memory(model, image),
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
    shape = (rounds, len(models))
    one, many = ([[0.0] * shape[1] for _ in range(shape[0])] for _ in range(2))
    for turn in range(rounds):
        for place, (model, image) in enumerate(models):
            one[turn][place] = _median(model, image[:1], seconds)
            many[turn][place] = len(image) / _median(model, image, seconds)
    return [
        (median(latencies), median(rates))
        for latencies, rates in zip(zip(*one, strict=True), zip(*many, strict=True), strict=True)
    ]


@torch.no_grad()
def macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products, half of torch's FLOP count."""
    with FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops() // 2 // len(image)


@torch.no_grad()
def peak_memory(model: nn.Module, image: Tensor) -> int:
    """Most bytes of tensors that one forward holds at once, without weights and images."""
    if image.is_cuda:
        model(image)  # what libraries allocate once is not the model's
        torch.cuda.reset_peak_memory_stats(image.device)
        before = torch.cuda.memory_allocated(image.device)
        model(image)
        return torch.cuda.max_memory_allocated(image.device) - before
    with _Allocations() as seen:
        model(image)
    return seen.peak


@torch.no_grad()
def _median(model: nn.Module, image: Tensor, seconds: float) -> float:
    """Median time of a forward; torch's timer warms up and waits for a GPU."""
    timer = Timer("with no_grad(): model(image)", globals={"model": model, "image": image,
                  "no_grad": torch.no_grad}, num_threads=torch.get_num_threads())  # fmt: skip
    return float(timer.blocked_autorange(min_run_time=seconds).median)


class _Allocations(TorchDispatchMode):
    """Follows every storage that an operation makes until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = {one.untyped_storage()._cdata for one in _tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for one in _tensors(made):
            storage = one.untyped_storage()
            if storage._cdata not in self._seen | given:
                self._seen.add(storage._cdata)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return made

    def _add(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
