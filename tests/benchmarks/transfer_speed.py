"""What a feature pass and a probe sweep cost, in forwards and in epochs of training.

`python tests/benchmarks/transfer_speed.py [images]` on MNIST's LeNet shape and a CIFAR ResNet-20;
times are taken in turn in one process, medians of five.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from datamodules import Batch, Preprocessing
from lightning_modules import Classifier, build
from lightning_modules.features import extract
from lightning_modules.linear_probe import fit_linear_probe


def seconds(*works: Callable[[], object], rounds: int = 5) -> list[float]:
    """Median seconds of pieces of work, done in turn."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times in zip(works, taken, strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return [median(times) for times in taken]


def measure(name: str, channels: int, side: int, n: int) -> None:
    """Prints both ratios for one network."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(n, channels, side, side, generator=generator)
    label = (image.flatten(1).mean(1).argsort().argsort() * 10) // n
    half = (0.5,) * channels
    preprocessing = Preprocessing(channels=channels, mean=half, std=half)
    classifier = Classifier(
        build(name, 10, channels), classes=10, preprocessing=preprocessing, architecture=name
    ).eval()
    batches = [Batch(*parts) for parts in zip(
        image.split(256), label.split(256), torch.arange(n).split(256), strict=True
    )]  # fmt: skip

    @torch.inference_mode()
    def forward() -> None:
        for batch in batches:
            classifier(batch.image)

    optimizer = torch.optim.AdamW(classifier.parameters(), 1e-5)

    def epoch() -> None:
        classifier.train()
        for batch in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(classifier(batch.image), batch.label).backward()
            optimizer.step()
        classifier.eval()

    known, cut = extract(classifier, batches), n * 4 // 5

    def sweep() -> None:
        chosen = (known.feature[cut:], known.label[cut:])
        fit_linear_probe(known.feature[:cut], known.label[:cut], 10, chosen)

    forward()
    plain, features = seconds(forward, lambda: extract(classifier, batches))
    training, sweeping = seconds(epoch, sweep, rounds=3)
    print(f"{name}, {n:,} images, {torch.get_num_threads()} threads")
    print(f"  features {features:.2f} s = {features / plain:.3f} x one forward an image")
    print(f"  sweep of 10 and refit {sweeping:.2f} s = {sweeping / training:.2f} x one epoch")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    measure("lenet", 1, 28, count)
    measure("cifar_resnet20", 3, 32, count // 4)
