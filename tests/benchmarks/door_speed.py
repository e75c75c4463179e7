"""What meeting model and data costs: `door_speed.py`.

The check at the door answers up to 512 images under the usual readings. Bars: 3 seconds on 2 cores,
and 5 % of a `quick` evaluation. LeNet on MNIST and ResNet-20 on CIFAR-10 test images, both with
nothing stated, so that all readings are tried. Prediction, written before the first run: 0.2 s and
2 s, which is 1 and 3 % of the evaluations.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from models import SHARED, lenet_on_mnist
from torch import nn

from callbacks.door import meet
from datamodules import CIFAR10, MNIST, ImageDataModule
from lightning_modules import load_classifier
from pipelines import evaluate


def resnet20() -> nn.Module:
    """The published weights in a network that says nothing of its input."""
    file = SHARED / "weights" / "resnet20-12fca82f.th"
    return load_classifier(f"checkpoint:{file}", arch="cifar_resnet20").model.eval()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def line(name: str, network: nn.Module, data: ImageDataModule) -> str:
    """One line of the table; images are read before the clock runs."""
    data.images("test")
    classifier = load_classifier(network, data_classes=data.classes)
    data.adopt(classifier.preprocessing)
    door = seconds(lambda: meet(classifier, data))
    with tempfile.TemporaryDirectory() as folder:
        whole = seconds(lambda: evaluate(network, data, root=Path(folder)))
    return f"{name:<10} {door:6.2f} s {whole:8.1f} s {100 * door / whole:6.1f} %"


def main() -> None:
    torch.set_num_threads(2)
    print(f"{'network':<10} {'door':>8} {'quick':>10} {'share':>8}   (bars: 3 s, 5 %)")
    print(line("LeNet", lenet_on_mnist()[0], MNIST(root=SHARED)))
    print(line("ResNet-20", resnet20(), CIFAR10(root=SHARED / "cifar10")))


if __name__ == "__main__":
    main()
