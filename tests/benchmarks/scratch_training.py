"""A training from random weights by Assay beside a plain PyTorch loop of the same recipe.

CIFAR ResNet-20 on CIFAR-10 where it lies beside the project, else LeNet on the digits of
scikit-learn. Epochs are taken in turn in one process and timed by its CPU time, so that a busy
machine does no harm; the ratio does not depend on the machine's speed:
`nice -n 15 python tests/benchmarks/scratch_training.py [images] [epochs] [seeds]`;
small: `256 2 2`, whose epochs of two steps show what each epoch costs beside its steps.
"""

import copy
import logging
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from models import SHARED
from scipy.stats import t as student_t

from datamodules import CIFAR10, Digits, ImageDataModule
from lightning_modules import Classifier, FineTuning, Tuning, build

BATCH, RATE, DECAY = 128, 0.1, 5e-4
RECIPE = Tuning(optimizer="sgd", lr=RATE, weight_decay=DECAY, schedule="cosine", warmup=0)


def data_module(images: int, seed: int) -> ImageDataModule:
    known: dict[str, Any] = {"batch_size": BATCH, "seed": seed, "augment": "crop_flip"}
    if (SHARED / "cifar10").is_dir():
        return CIFAR10(root=SHARED / "cifar10", limit=images, num_workers=0, **known)
    return Digits(28, limit=images, num_workers=0, **known)


def tensors(data: ImageDataModule, split: str) -> tuple[Tensor, Tensor]:
    """Images uint8 `(N, C, H, W)` and labels of a split."""
    images = data.images(split)
    batch = images.__getitems__(list(range(len(images))))
    return batch.image, batch.label


class PlainLoop:
    """What one would write by hand; knows nothing of Assay.

    Args:
        network: takes normalised images.
        split: images uint8 `(N, C, H, W)` and labels.
        mean: of the normalisation, by channel.
        std: likewise.
        epochs: of the whole training.
        seed: of order and augmentation.
    """

    def __init__(
        self, network: nn.Module, split: tuple[Tensor, Tensor], mean: Tensor, std: Tensor,
        epochs: int, seed: int,
    ) -> None:  # fmt: skip
        self.network, (self.image, self.label) = network, split
        self.mean, self.std = mean, std
        self.generator = torch.Generator().manual_seed(seed)
        groups = [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, RATE, momentum=0.9, nesterov=True)
        steps = epochs * -(-len(self.label) // BATCH)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def epoch(self) -> None:
        self.network.train()
        for rows in torch.randperm(len(self.label), generator=self.generator).split(BATCH):
            image = (self.augmented(self.image[rows]).float() / 255 - self.mean) / self.std
            self.optimizer.zero_grad()
            F.cross_entropy(self.network(image), self.label[rows]).backward()
            self.optimizer.step()
            self.schedule.step()

    def augmented(self, image: Tensor) -> Tensor:
        """Pads by 4, cuts out at random and flips; the whole batch at once."""
        side, rows = image.shape[-1], torch.arange(len(image))
        down, right = torch.randint(0, 9, (2, len(image)), generator=self.generator)
        windows = F.pad(image, [4] * 4).unfold(2, side, 1).unfold(3, side, 1)
        cut = windows[rows, :, down, right]
        flipped = torch.rand(len(image), generator=self.generator) < 0.5
        return torch.where(flipped[:, None, None, None], cut.flip(3), cut)

    @torch.no_grad()
    def accuracy(self, image: Tensor, label: Tensor) -> float:
        self.network.eval()
        parts = [(x.float() / 255 - self.mean) / self.std for x in image.split(500)]
        found = torch.cat([self.network(x).argmax(1) for x in parts])
        return float((found == label).float().mean())


class InTurn(L.Callback):
    """After each epoch of Assay one of the plain loop; CPU seconds of both."""

    def __init__(self, plain: PlainLoop) -> None:
        self.plain, self.ours, self.its = plain, [], []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.start = time.process_time()

    def on_train_epoch_end(self, *_: Any) -> None:
        middle = time.process_time()
        self.plain.epoch()
        self.ours.append(middle - self.start)
        self.its.append(time.process_time() - middle)


def pair(images: int, epochs: int, seed: int) -> tuple[float, float, list[float]]:
    """Accuracies of Assay and of the plain loop, and the ratios of their epochs' CPU time."""
    data = data_module(images, seed)
    data.setup("fit")
    data.setup("test")
    L.seed_everything(seed, verbose=False)
    name = "cifar_resnet20" if data.name == "CIFAR10" else "lenet"
    network = build(name, 10, data.native.channels or 3)
    mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (data.native.mean, data.native.std))
    plain = PlainLoop(copy.deepcopy(network), tensors(data, "train"), mean, std, epochs, seed)
    classifier = Classifier(
        network, classes=data.classes, preprocessing=data.native, architecture=name
    )
    clock = InTurn(plain)
    L.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, logger=False, callbacks=[clock],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    ).fit(FineTuning(classifier, RECIPE), data)  # fmt: skip
    image, label = tensors(data, "test")
    classifier.eval()
    with torch.no_grad():
        found = torch.cat([classifier(x.float() / 255).argmax(1) for x in image.split(500)])
    ratios = [a / b for a, b in zip(clock.ours, clock.its, strict=True)]
    return float((found == label).float().mean()), plain.accuracy(image, label), ratios


def main(images: int = 20_000, epochs: int = 3, seeds: int = 3) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    differences, ratios = [], []
    for seed in range(seeds):
        ours, its, times = pair(images, epochs, seed)
        differences.append(ours - its)
        ratios += times
        print(f"seed {seed}: Assay {ours:.4f}, plain loop {its:.4f}", flush=True)
    if seeds > 1:
        mean = statistics.mean(differences)
        half = student_t.ppf(0.975, seeds - 1) * statistics.stdev(differences) / seeds**0.5
        interval = f"(95 %: {mean - half:+.4f} to {mean + half:+.4f})"
        print(f"accuracy, Assay - plain: {mean:+.4f} {interval}")
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"CPU time, Assay / plain: {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
