"""A tracking store that is made once, and a trained model on disk."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from callbacks.results import ProbeResult
from lightning_modules import build
from pipelines.cli import main
from pipelines.evaluate.result import Evaluation
from pipelines.report.about import About
from pipelines.tracking.store import open_store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded store with its tables made, which costs seconds, to be copied by each test."""
    root = tmp_path_factory.mktemp("template")
    open_store(None, root, "unused")
    return root


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a warm store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(template / "mlruns" / "mlflow.db", tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


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


def probe_result(
    name: str, epsilons: tuple[float, ...], strength: float, n: int, classes: int, seed: int = 0
) -> ProbeResult:
    """Rows of a make-believe attack: an image stands up to a radius of its own, over `strength`."""
    random = np.random.default_rng(seed)
    label = random.integers(classes, size=n)
    stands = random.exponential(0.1, n) * (random.random(n) > 0.05)
    norm = {"linf": "L∞", "l2": "L2"}.get(name.split("_")[-1], "")
    tables = []
    for epsilon in epsilons:
        margin = np.where(epsilon > 0, stands / strength - epsilon, stands) * 20 - 1e-9
        correct = (margin > 0).astype(int)
        loss = np.logaddexp(0, -margin)
        columns = {
            "setting": name, "severity": round(1000 * epsilon), "value": epsilon,
            "index": np.arange(n), "label": label, "prediction": (label + 1 - correct) % classes,
            "loss": loss, "confidence": 1 / (1 + np.exp(-np.abs(margin))), "margin": margin,
            "logsumexp": 1.0, "brier": 2 * (1 - np.exp(-loss)) ** 2, "correct": correct,
            "forwards": 12.0, "backwards": 10.0, "seconds": 0.01,
        }  # fmt: skip
        tables.append(pd.DataFrame(columns | ({"worst_loss": loss * 1.2} if norm else {})))
    title = f"{name.split('_')[0].upper()} ({norm})" if norm else "Clean images"
    return ProbeResult(
        name=name,
        family="adversarial" if norm else "test",
        title=title,
        unit=f"epsilon ({norm})" if norm else "none",
        algorithm=f"{name}(steps=10)",
        headline=epsilons[-1] if norm else None,
        rows=pd.concat(tables, ignore_index=True),
    )


MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def made_evaluation() -> MakeEvaluation:
    """Makes evaluations out of nothing; strength grows, accuracy falls."""

    def make(
        name: str = "lenet", strength: float = 1.0, n: int = 200, classes: int = 10,
        probes: tuple[str, ...] = ("fgsm_linf", "pgd_linf"),
        epsilons: tuple[float, ...] = (0.05, 0.1, 0.2), **more: object,
    ) -> Evaluation:  # fmt: skip
        results = [probe_result("clean", (0.0,), 1.0, n, classes)]
        for i, probe in enumerate(probes):
            results.append(probe_result(probe, epsilons, strength * (1 + i), n, classes))
        names = [f"class {i}" for i in range(classes)]
        model = {
            "name": name, "source": f"builtin:{name}", "architecture": f"builtin:{name}",
            "parameters": 44426, "digest": "0123456789abcdef", "classes": names,
        }  # fmt: skip
        data = {
            "name": "Digits", "title": "Digits", "digest": "e" * 32, "skipped": [], "notes": [],
            "splits": {"test": {"samples": n, "digest": "d" * 64}}, "preprocessing": {},
        }  # fmt: skip
        facts: dict[str, object] = {
            "environment": {"device": "cpu", "precision": "32-true", "torch": "2.15.0"},
            "command": f"assay evaluate --model {name} --data Digits",
            "seed": 0, "seconds": 1.5, "created": "2026-11-21T10:00:00+00:00",
        }  # fmt: skip
        about = About(**{"models": [model], "data": [data], **facts, **more})  # type: ignore[arg-type]
        return Evaluation(about, results)

    return make
