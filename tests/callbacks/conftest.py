"""A small trained classifier and one pass over digits, for the tests every probe gets for free."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from callbacks.probe import Probe
from datamodules import Digits, Preprocessing
from lightning_modules import Classifier

Pass = Callable[..., dict[str, pd.DataFrame]]


@pytest.fixture(scope="session")
def trained() -> Classifier:
    """A convolution with batch norm and dropout, a second or two of training, about 90 % right."""
    torch.manual_seed(0)
    digits = load_digits()
    image = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    label = torch.tensor(digits.target)
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1)]
    model = nn.Sequential(*layers, nn.Linear(8 * 36, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(60):
        rows = torch.arange(step * 64, step * 64 + 64) % 1797
        optimizer.zero_grad()
        F.cross_entropy(model(image[rows]), label[rows]).backward()
        optimizer.step()
    preprocessing = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    return Classifier(
        model, classes=10, preprocessing=preprocessing, architecture="test", chunk=16
    ).eval()


@pytest.fixture
def classifier(trained: Classifier) -> Classifier:
    return copy.deepcopy(trained)


def trainer(*probes: L.Callback, **flags: Any) -> L.Trainer:
    """A quiet CPU trainer for `trainer.test`."""
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    return L.Trainer(**{**quiet, **flags}, callbacks=list(probes))


@pytest.fixture
def one_pass(classifier: Classifier) -> Pass:
    """Runs `trainer.test` over some digits and returns the rows of every probe."""

    def run(
        *probes: Probe,
        batch_size: int = 16,
        limit: int = 23,
        resume: Path | None = None,
        data: type[Digits] = Digits,
        **flags: Any,
    ) -> dict[str, pd.DataFrame]:
        for probe in probes:
            probe.resume_folder = resume
        data_module = data(batch_size=batch_size, limit=limit)
        trainer(*probes, **flags).test(classifier, data_module, verbose=False)
        return {probe.name: getattr(probe, "rows", None) for probe in probes}  # forked ranks: None

    return run


@pytest.fixture
def same_rows() -> Callable[[pd.DataFrame, pd.DataFrame], None]:
    """Compares two tables of rows: discrete columns exactly, floats closely, time not at all."""

    def check(one: pd.DataFrame, other: pd.DataFrame) -> None:
        # The chunk shape fixes the arithmetic, so that even float columns agree to the last bit on
        # one machine; 1e-6 is what another thread count or kernel may change.
        left, right = (table.filter(regex="^(?!.*seconds$)") for table in (one, other))
        pd.testing.assert_frame_equal(left, right, rtol=1e-6, atol=1e-6)

    return check
