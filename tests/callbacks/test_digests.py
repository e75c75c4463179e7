"""Rows are used again only if nothing that an answer depends on has changed."""

import copy
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from callbacks import PGD, AdversarialProbe, Clean
from callbacks.digests import (
    callable_digest,
    classes_in,
    model_digest,
    source_digest,
    weights_digest,
)
from lightning_modules import Classifier

HOME = Path(__file__).resolve().parents[2]

SOURCE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(64, 10)
        self.scale = 1.0
    def forward(self, x):
        return self.fc(x.flatten(1)) * self.scale
"""


def imported(folder: Path, text: str, name: str = "mine") -> ModuleType:
    file = folder / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def scaled(net: nn.Module) -> None:
    net.scale = 2.0  # type: ignore[assignment]


def buffered(net: nn.Module) -> None:
    net.register_buffer("shift", torch.ones(1), persistent=False)


def weighted(net: nn.Module) -> None:
    with torch.no_grad():
        net.fc.weight[0, 0] += 1e-6  # type: ignore[union-attr, index]


def tensored(net: nn.Module) -> None:
    net.offsets = [torch.ones(2), torch.zeros(2)]  # type: ignore[assignment]


def hidden(net: nn.Module) -> None:
    net._threshold = 0.5  # type: ignore[assignment]


def aliased(net: nn.Module) -> None:
    net.second = net.fc


@pytest.mark.parametrize("change", [scaled, buffered, weighted, tensored, hidden, aliased])
def test_what_a_network_computes_with(change: Callable[[nn.Module], None], tmp_path: Path) -> None:
    module = imported(tmp_path, SOURCE)
    one, other = module.Net(), module.Net()
    assert model_digest(one) == model_digest(other)
    change(other)
    assert model_digest(one) != model_digest(other)


def test_what_does_not_matter(tmp_path: Path) -> None:
    net = imported(tmp_path, SOURCE).Net()
    before = model_digest(net)
    net.eval().requires_grad_(False)
    assert model_digest(net) == before
    assert model_digest(copy.deepcopy(net)) == before


def test_another_forward_is_another_network(tmp_path: Path) -> None:
    before = imported(tmp_path, SOURCE).Net()
    digest, weights = model_digest(before), weights_digest(before)
    after = imported(tmp_path, SOURCE.replace("* self.scale", "* -self.scale")).Net()
    assert weights_digest(after) == weights
    assert model_digest(after) != digest


def test_a_file_that_the_module_leans_on(tmp_path: Path) -> None:
    imported(tmp_path, "FACTOR = 1\n", "factors")
    net = imported(tmp_path, SOURCE).Net()
    before = model_digest(net)
    (tmp_path / "factors.py").write_text("FACTOR = 2\n")
    assert model_digest(net) != before


def test_the_source_of_probe_and_attack(tmp_path: Path) -> None:
    text = "class Mine:\n    steps = 3\n"
    before = source_digest(imported(tmp_path, text).Mine)
    assert before != source_digest(imported(tmp_path, text.replace("3", "4")).Mine)
    assert PGD in classes_in(AdversarialProbe(PGD()))


READS = """
import types
import torch
from torch import nn
import numbers_of_mine
SETTINGS = {"t": 1.0, "names": {"b", "a"}}
CONFIG = types.SimpleNamespace(t=1.0)
class Limits:
    t = 1.0
def warm(x, by=1.0):
    return x * by * SETTINGS["t"] * numbers_of_mine.T
class Net(nn.Module):
    slope = 1.0
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(64, 10)
    def forward(self, x):
        return self.slope * warm(self.fc(x.flatten(1))) * CONFIG.t / Limits.t
"""
CHANGES: dict[str, Callable[[ModuleType], object]] = {
    "a dictionary that a called function reads": lambda m: m.SETTINGS.update(t=2.0),
    "an attribute of an object": lambda m: setattr(m.CONFIG, "t", 2.0),
    "an attribute of a class": lambda m: setattr(m.Limits, "t", 2.0),
    "a variable of another module": lambda m: setattr(m.numbers_of_mine, "T", 2.0),
    "what all instances of the class have": lambda m: setattr(m.Net, "slope", 2.0),
    "a default": lambda m: setattr(m.warm, "__defaults__", (2.0,)),
    "a function put in another's place": lambda m: setattr(m, "warm", lambda x: x),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_forward_reads_elsewhere(change: str, tmp_path: Path) -> None:
    imported(tmp_path, "T = 1.0\n", "numbers_of_mine")
    module = imported(tmp_path, READS)
    net = module.Net()
    before = model_digest(net)
    assert model_digest(net) == before
    CHANGES[change](module)
    assert model_digest(net) != before


def test_what_a_hook_reads_and_what_holds_itself(tmp_path: Path) -> None:
    net, outer = imported(tmp_path, SOURCE).Net(), [1.0, []]
    outer[1] = outer  # type: ignore[call-overload]
    net.register_forward_hook(lambda module, inputs, output: output * outer[0])
    before = model_digest(net)
    outer[0] = -1.0
    assert model_digest(net) != before


@pytest.mark.slow  # torch is imported twice
def test_a_set_has_one_digest_in_every_process(tmp_path: Path) -> None:
    """The order of a set of texts is another one in every process."""
    (tmp_path / "numbers_of_mine.py").write_text("T = 1.0\n")
    (tmp_path / "mine.py").write_text(READS.replace("def warm(x", "def warm(x, _={'p', 'q', 'r'}"))
    program = "import callbacks.digests as d, mine; print(d.model_digest(mine.Net()))"
    found = set()
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}:{HOME}"}
        found.add(subprocess.check_output([sys.executable, "-c", program], env=environment))
    assert len(found) == 1


def test_another_answer_of_the_same_weights(
    one_pass: Callable, classifier: Classifier, tmp_path: Path
) -> None:
    """A closure is in no source and no attribute; the bits of some answers tell."""
    sign = [1.0]
    classifier.model.register_forward_hook(lambda module, inputs, output: output * sign[0])
    one_pass(Clean(chunk=16), resume=tmp_path)
    before = len(list(tmp_path.iterdir()))
    sign[0] = -1.0
    probe = Clean(chunk=16)
    (rows,) = one_pass(probe, resume=tmp_path).values()
    assert isinstance(rows, pd.DataFrame)
    assert rows["correct"].mean() < 0.5
    assert len(list(tmp_path.iterdir())) == before + 1
    assert probe.reused == ""


def test_what_is_used_again_is_said(one_pass: Callable, tmp_path: Path) -> None:
    one_pass(Clean(chunk=16), resume=tmp_path)
    probe = Clean(chunk=16)
    one_pass(probe, resume=tmp_path)
    assert probe.reused.startswith("23 rows are from an earlier run of 20")


ROUNDING = """
import torch
class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1.0
"""


def test_another_package_of_the_same_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models/net.py` leans on `layers/rounding.py`, as people sort their projects."""
    for name, text in (
        ("layers/rounding.py", ROUNDING),
        ("models/net.py", f"from layers.rounding import Round\n{SOURCE}"),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("layers", "layers.rounding", "models", "models.net"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    net = importlib.import_module("models.net").Net()
    before = model_digest(net)
    (tmp_path / "layers/rounding.py").write_text(ROUNDING.replace("1.0", "-1.0"))
    assert model_digest(net) != before


def test_another_gradient_of_the_same_answers(
    one_pass: Callable, classifier: Classifier, tmp_path: Path
) -> None:
    """A backward that a closure changes leaves answers, weights and sources as they were."""
    slope = [1.0]

    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * slope[0]

    classifier.model.register_forward_hook(lambda module, inputs, output: Same.apply(output))

    def attacked() -> tuple[str, float]:
        probe = AdversarialProbe(PGD(steps=2), epsilons=[0.2], objective="loss", chunk=16)
        (rows,) = one_pass(probe, resume=tmp_path).values()
        return probe.reused, float(rows["loss"].mean())

    _, before = attacked()
    assert attacked()[0].startswith("23 rows")
    slope[0] = -1.0
    reused, after = attacked()
    assert reused == ""
    assert after < before, "it went the other way"


def made(lr: float) -> Callable:
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


DIFFERENT: list[tuple[Callable, Callable]] = [
    (lambda p: torch.optim.SGD(p, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.2)),
    (made(0.1), made(0.2)),
    (partial(torch.optim.SGD, lr=0.1), partial(torch.optim.SGD, lr=0.2)),
    (partial(made(0.1), x=1), partial(made(0.2), x=1)),
    (torch.optim.SGD, torch.optim.Adam),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_callables_of_one_name_are_told_apart(one: Callable, other: Callable) -> None:
    assert callable_digest(one) != callable_digest(other)
    assert callable_digest(one) == callable_digest(one)
