"""A small network with everything that is hard to freeze, and a few digits to train it on."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

from datamodules import Batch, Preprocessing
from lightning_modules import Classifier

PLAIN = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))


def network() -> nn.Sequential:
    """Convolution, batch norm, dropout, head: what a backbone can change without gradients."""
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(8 * 36, 10))


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(network(), classes=10, preprocessing=PLAIN, architecture="test", chunk=16)


@pytest.fixture(scope="session")
def digits() -> Batch:
    """200 of scikit-learn's digits."""
    data = load_digits()
    image = torch.tensor(data.images[:200], dtype=torch.float32)[:, None] / 16
    return Batch(image, torch.tensor(data.target[:200]), torch.arange(200))


Loader = Callable[[], DataLoader]


@pytest.fixture
def loader(digits: Batch) -> Loader:
    """Batches of 50 in a fixed order."""
    parts = [Batch(*(column[i : i + 50] for column in digits)) for i in range(0, 200, 50)]
    return lambda: DataLoader(parts, batch_size=None)  # type: ignore[arg-type]


Fit = Callable[..., L.Trainer]


@pytest.fixture
def fit(loader: Loader) -> Fit:
    """Trains quietly on the digits and returns the trainer."""

    def run(module: L.LightningModule, ckpt_path: Any = None, **flags: Any) -> L.Trainer:
        quiet = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "max_epochs": 2,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        trainer = L.Trainer(**{**quiet, **flags})
        trainer.fit(module, loader(), loader(), ckpt_path=ckpt_path)
        return trainer

    return run
