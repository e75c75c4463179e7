"""What every command takes besides its own options: documented once, the same flags everywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from torch import nn
from torch.utils.data import DataLoader, Dataset

from datamodules import ImageDataModule
from lightning_modules.answer_rule import Scale
from pipelines.tracking import Parent, Tracking

ModelLike = str | nn.Module
"""A source such as `torchvision:resnet18`, or a network."""
DataLike = str | ImageDataModule | DataLoader | Dataset
"""A name such as `MNIST` or `ImageFolder:photos`, or what gives images with labels."""


class Options(TypedDict, total=False):
    """What every command takes.

    Args:
        arch: architecture of a bare checkpoint, e.g. cifar_resnet20 or torchvision:resnet18; of
            several models one for all, or one each.
        seed: of every random number.
        chunk: images in every model call; larger is faster on a GPU.
        fresh: measure again what earlier runs of this folder have measured, and replace it.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        mean: that the model wants subtracted from images in [0, 1]: a number, three by commas, or
            none, half, imagenet, cifar10, mnist, clip, bytes, caffe, inverted (std too).
        std: that it wants divided by.
        resize: short side that it wants before the crop; 0 keeps the size.
        crop: side of the centre crop that it wants; 0 takes all.
        channels: that it takes.
        classes: what the model's outputs are, in their order.
        answers: what its answers are; default: probabilities are recognised, else logits.
        weights: set of weights to take where a file holds several, e.g. ema.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.
        parent: the command that this one is a part of; from Python alone.
    """

    arch: str | list[str] | None
    seed: int
    chunk: int
    fresh: bool
    trust_pickle: bool
    mean: str | None
    std: str | None
    resize: int | None
    crop: int | None
    channels: Literal["grey", "rgb", "bgr"] | None
    classes: list[str] | None
    answers: Scale | None
    weights: str | None
    tracking: Tracking
    root: Path
    trainer: dict[str, Any] | None
    config: str
    parent: Parent | None


DEFAULTS: Options = {
    "arch": None, "seed": 0, "chunk": 128, "fresh": False, "trust_pickle": False,
    "mean": None, "std": None, "resize": None, "crop": None, "channels": None, "classes": None,
    "answers": None, "weights": None,
    "tracking": Tracking(), "root": Path(), "trainer": None, "config": "",
    "parent": None,
}  # fmt: skip


def options_in(asked: Mapping[str, Any]) -> Options:
    """Those of a command's arguments that every command takes."""
    options: Any = {name: asked[name] for name in DEFAULTS if name in asked}
    return options
