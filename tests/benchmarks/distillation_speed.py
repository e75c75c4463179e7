"""What a teacher costs a training: with its answers cached, and asked anew in every epoch.

Ratios of epochs taken in turn in one process (median of the pairs), so that a machine whose speed
drifts does no harm: `python tests/benchmarks/distillation_speed.py [images] [repeats]`.
"""

import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch

sys.path.insert(0, str(Path(__file__).parent))
from models import SHARED

from datamodules import MNIST, Digits, ImageDataModule
from lightning_modules import Classifier, FineTuning, build
from lightning_modules.distillation import Distillation, DistillationRecipe, Teachers

ACCELERATOR = "gpu" if torch.cuda.is_available() else "cpu"


def data_module(images: int) -> ImageDataModule:
    known = {"limit": images, "batch_size": 128}
    return MNIST(root=SHARED, **known) if (SHARED / "MNIST").is_dir() else Digits(28, **known)


def classifier(name: str, data: ImageDataModule) -> Classifier:
    torch.manual_seed(0)
    network = build(name, 10, 1)
    facts: dict[str, Any] = {"preprocessing": data.native, "architecture": f"builtin:{name}"}
    return Classifier(network, classes=data.classes, **facts)


def epoch(module: FineTuning, data: ImageDataModule) -> float:
    """Seconds between the first and the last step of one epoch, without the Trainer's start."""
    clock = _Clock()
    L.Trainer(
        accelerator=ACCELERATOR, devices=1, max_epochs=1, logger=False, callbacks=[clock],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    ).fit(module, data)  # fmt: skip
    return clock.seconds


class _Clock(L.Callback):
    """Takes the time of a training epoch."""

    seconds = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.start = self._now()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds = self._now() - self.start

    def _now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def main(images: int = 12_000, repeats: int = 5) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    data = data_module(images)
    data.setup("fit")
    teacher = classifier("lenet_wide", data)
    rows: dict[str, tuple[DistillationRecipe, Teachers]] = {
        f"kd, {'cached' if cache else 'asked'}": (
            DistillationRecipe(cache=cache), Teachers([teacher], temperature=4.0)
        )
        for cache in (True, False)
    }  # fmt: skip
    recipe = DistillationRecipe(loss="rkd", cache=True)
    rows["rkd, cached"] = recipe, Teachers([teacher], temperature=4.0, layers=["head_input"])
    example = data.taken("train", 1).image

    def training(recipe: DistillationRecipe, teachers: Teachers) -> Callable[[], float]:
        student = classifier("lenet", data)
        return lambda: epoch(Distillation(teachers, student, recipe, example=example), data)

    plain = classifier("lenet", data)
    print(f"{images:,} images of {data.name}, {ACCELERATOR}; epoch in units of one without teacher")
    for name, (chosen, teachers) in rows.items():
        one = training(chosen, teachers)
        one(), epoch(FineTuning(plain), data)  # fills the cache
        ratios = [one() / epoch(FineTuning(plain), data) for _ in range(repeats)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"  {name:<14} {statistics.median(ratios):.3f}   ({spread})", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
