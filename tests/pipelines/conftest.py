"""A tracking store that is made once, and a trained model on disk."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from lightning_modules import build
from pipelines.cli import main
from pipelines.store import open_store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded store with its tables made, which costs seconds, to be copied by each test."""
    root = tmp_path_factory.mktemp("template")
    open_store(None, root, "unused")
    return root


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with a warm store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(template / "mlruns" / "mlflow.db", tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture(scope="session")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet that knows digits fairly well, as a bare state dict."""
    torch.manual_seed(0)
    digits = load_digits()
    image = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    image = torch.nn.functional.interpolate(image, (28, 28), mode="bilinear", antialias=True)
    label = torch.tensor(digits.target)
    model = build("lenet", 10, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(60):
        rows = torch.arange(step * 64, step * 64 + 64) % 1797
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model((image[rows] - 0.3) / 0.4), label[rows]).backward()
        optimizer.step()
    file = tmp_path_factory.mktemp("lenet") / "lenet.pt"
    torch.save(model.state_dict(), file)
    return file


Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def assay(home: Path, capsys: pytest.CaptureFixture[str]) -> Assay:
    """Runs a command in this process and returns exit code, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
