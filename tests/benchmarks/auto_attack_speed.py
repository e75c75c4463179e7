"""AutoAttack against its own counted evaluations, and what its early verdict is worth.

The limit is the time of as many forwards and backwards as the attack counted, in full chunks, taken
before and after it in the same process.
`python tests/benchmarks/auto_attack_speed.py [images] [part of a network's name]`.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import (
    images_of_cifar10,
    images_of_mnist,
    lenet_on_mnist,
    resnet20_on_cifar10,
    small_on_mnist,
)

from callbacks.adversarial import AttackResult, AutoAttack, Linf
from callbacks.queries import Queries
from callbacks.randomness import Draw

Images = tuple[Tensor, Tensor, str]
NETWORKS: dict[str, tuple[Callable[[], tuple[nn.Module, str]], Callable[[int], Images], float]] = {
    "LeNet": (lenet_on_mnist, images_of_mnist, 0.3),
    "small": (small_on_mnist, images_of_mnist, 0.3),
    "ResNet-20": (resnet20_on_cifar10, images_of_cifar10, 8 / 255),
    "robust LeNet": (lambda: lenet_on_mnist(robust=True), images_of_mnist, 0.2),
    "robust small": (lambda: small_on_mnist(robust=True), images_of_mnist, 0.3),
}


def seconds_of_a_chunk(model: nn.Module, image: Tensor, label: Tensor) -> tuple[float, float]:
    """Median times of a forward alone, and of a forward with its backward to the image."""

    def forward() -> None:
        with torch.no_grad():
            model(image)

    def gradient() -> None:
        leaf = image.detach().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(leaf), label, reduction="sum"), leaf)

    def seconds(work: Callable[[], None]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    forward(), gradient()
    pairs = [(seconds(forward), seconds(gradient)) for _ in range(40)]
    alone, both = zip(*pairs, strict=True)
    return statistics.median(alone), statistics.median(both)


def total(column: Tensor | None) -> float:
    return 0.0 if column is None else float(column.clamp(min=0).sum())


def spent(result: AttackResult, cost: str) -> list[float]:
    """Of each stage."""
    return [total(column) for name, column in result.columns.items() if name.endswith(cost)]


def row(name: str, n: int) -> str:
    """One network: counts, time over limit, and the early verdict beside the last."""
    make, images, epsilon = NETWORKS[name]
    model, kind = make()
    image, label, _ = images(n)
    with torch.no_grad():
        right = model(image).argmax(1) == label
    image, label = image[right], label[right]
    size = -(-len(image) // -(-len(image) // 128))
    queries = Queries(model, size)
    before = seconds_of_a_chunk(model, image[:size], label[:size])
    start = time.perf_counter()
    draw = Draw(0, torch.arange(len(image)))
    result = AutoAttack()(queries, image, label, Linf(epsilon), draw)
    took = time.perf_counter() - start
    after = seconds_of_a_chunk(model, image[:size], label[:size])
    alone, both = ((a + b) / 2 for a, b in zip(before, after, strict=True))
    limit = ((queries.forwards - queries.backwards) * alone + queries.backwards * both) / size
    stage, seconds = result.columns["stage"], spent(result, "seconds")
    held, early = (stage == 0).sum() / n, ((stage == 0) | (stage > 2)).sum() / n
    return (
        f"{name} ({kind}, {epsilon:.3g}): robust {held:.1%}, early {early:.1%} in "
        f"{sum(seconds[:2]) / sum(seconds):.0%} of the time; an image {queries.forwards / n:.1f} "
        f"forwards, {queries.backwards / n:.1f} gradients; {took:.1f} s, time / limit "
        f"{took / limit:.2f} (drift of the limit {after[1] / before[1]:.2f})"
    )


def main() -> None:
    """Prints one row a network."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    for name in NETWORKS:
        if wanted in name:
            print(row(name, n), flush=True)


if __name__ == "__main__":
    main()
