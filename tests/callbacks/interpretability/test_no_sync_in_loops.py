"""Nobody waits for the device inside a loop: what waits is counted at two sizes, on a CPU."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from callbacks.interpretability import EXPLAINERS, METRICS, KernelShap, Lime, Rise, metric
from callbacks.monitoring import Monitor
from callbacks.queries import Queries
from callbacks.randomness import Draw

_WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "bincount", "masked_select", "unique")
"""Operators whose answer, or the size of it, the host must know."""
_READING = ("tolist", "numpy", "cpu")
"""Methods that copy to the host; on a CPU they call no operator."""
_CHUNK = 2


class Operators(TorchDispatchMode):
    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None):  # noqa: ANN204
        name = operator.__name__.split(".")[0]
        if name.startswith(_WAITING):
            self.waits[name] += 1
        if name in ("index", "index_put", "index_put_"):
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            self.waits["index by mask"] += bool(masks)
        return operator(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # noqa: ANN204
        name = getattr(function, "__name__", "")
        if name in _READING:
            self.waits[name] += 1
        return function(*args, **(kwargs or {}))


def waits(call: Any, *args: Any) -> dict[str, int]:
    """How often the host would have waited for a device, by what for."""
    counted: Counter[str] = Counter()
    with Methods(counted), Operators(counted):
        call(*args)
    return dict(+counted)


@pytest.fixture
def queries() -> Queries:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    ]  # fmt: skip
    return Queries(nn.Sequential(*layers).eval().requires_grad_(False), _CHUNK)


def given(images: int) -> tuple[Tensor, Tensor, Draw]:
    image = torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return image, torch.zeros(images, dtype=torch.long), Draw(0, torch.arange(images))


MADE = {
    **EXPLAINERS,
    # their usual 500 draws take seconds
    "rise": lambda: Rise(draws=32),
    "kernel_shap": lambda: KernelShap(draws=100),
    "kernel_shap of superpixels": lambda: KernelShap(draws=100, segments="superpixels"),
    "lime": lambda: Lime(draws=100, held_out=20),
    "lime of superpixels": lambda: Lime(draws=100, held_out=20, segments="superpixels"),
}


@pytest.mark.parametrize("name", MADE)
def test_explainers_do_not_wait_in_loops(name: str, queries: Queries) -> None:
    few, many = (waits(MADE[name](), queries, *given(n)) for n in (_CHUNK, 3 * _CHUNK))
    assert many == few, "waits more often for more chunks"


@pytest.mark.parametrize("name", METRICS)
def test_metrics_do_not_wait_in_loops(name: str, queries: Queries) -> None:
    found = []
    for images in (_CHUNK, 3 * _CHUNK):
        image, target, draw = given(images)
        maps = EXPLAINERS["gradient"]()(queries, image, target, draw)
        judge = metric(name, EXPLAINERS["gradient"]())
        found.append(waits(judge, queries, image, target, maps, draw))
    assert found[1] == found[0], "waits more often for more chunks"


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (lambda x: x.sum().item(), {"_local_scalar_dense": 1}),
        (lambda x: bool((x > 0).any()), {"_local_scalar_dense": 1}),
        (lambda x: x[x > 0], {"index by mask": 1}),
        (lambda x: (x > 0).nonzero(), {"nonzero": 1}),
        (lambda x: x.long().bincount(), {"bincount": 1}),
        (lambda x: x.tolist(), {"tolist": 1}),
        (lambda x: x.cpu().numpy(), {"cpu": 1, "numpy": 1}),
        (lambda x: x.relu().sum(), {}),
        (lambda x: torch.where(x > 0, x, 0)[x.argsort()], {}),
    ],
)
def test_the_counter_counts(call: Any, want: dict[str, int]) -> None:
    assert {n: c for n, c in waits(call, torch.arange(5.0)).items() if n != "is_nonzero"} == want


@pytest.fixture
def monitor(queries: Queries, tmp_path: Path) -> Monitor:
    """As it is deployed: learnt elsewhere, saved and loaded."""
    model = queries.model
    assert isinstance(model, nn.Module)
    learnt = Monitor(model, window=8).fit([given(8)[0]] * 8)
    return Monitor.load(learnt.save(tmp_path / "monitor.safetensors"), model)


def test_a_watched_batch_does_not_wait(monitor: Monitor) -> None:
    with monitor, torch.no_grad():
        assert waits(monitor.model, given(7)[0]) == {}
    assert (monitor.watched, len(monitor.windows)) == (7, 0)


@pytest.mark.parametrize("learnt", [True, False])
def test_a_window_waits_once(learnt: bool, monitor: Monitor) -> None:
    """However many layers there are; not at all without a profile."""
    monitor.test = monitor.test if learnt else None
    with monitor, torch.no_grad():
        for windows in (1, 2, 3):
            found = waits(monitor.model, given(8)[0])
            assert found == ({"tolist": 1} if learnt else {})
            assert len(monitor.windows) == windows
    assert len(monitor.seen) >= 4
