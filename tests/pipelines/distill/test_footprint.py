import pytest
import torch
from torch import nn

from lightning_modules import build
from pipelines.distill.footprint import footprint, macs, peak_memory, timed

# conv1 24x24 places x 150 weights, conv2 8x8 x 2,400, then the linear layers
LENET_MACS = 576 * 150 + 64 * 2400 + 256 * 120 + 120 * 84 + 84 * 10


def test_work_of_lenet_by_hand() -> None:
    assert macs(build("lenet", 10, 1), torch.rand(1, 1, 28, 28)) == LENET_MACS
    assert macs(build("lenet", 10, 1), torch.rand(8, 1, 28, 28)) == LENET_MACS, "of one image"


def test_memory_by_hand() -> None:
    """The first layer's output lives until the activation is there; then it goes."""
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10))
    assert peak_memory(model, torch.rand(8, 100)) == 2 * 8 * 1000 * 4
    in_place = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(inplace=True), nn.Linear(1000, 10))
    assert peak_memory(in_place, torch.rand(8, 100)) == 8 * (1000 + 10) * 4


def test_footprint() -> None:
    model, image = build("lenet", 10, 1), torch.rand(16, 1, 28, 28)
    found = footprint(model, image)
    assert (found.parameters, found.bytes, found.macs) == (44_426, 177_704, LENET_MACS)
    assert found.batch == 16
    ((latency, throughput),) = timed([(model, image)], rounds=1, seconds=0.01)
    assert 0 < latency < 1
    assert throughput > 1 / latency / 10


def test_a_larger_model_takes_longer() -> None:
    image = torch.rand(64, 1, 28, 28)
    models = [build(name, 10, 1) for name in ("lenet", "lenet_wide")]
    small, large = timed([(model, image) for model in models], rounds=3, seconds=0.02)
    assert large[1] < small[1]  # 12 times the work
    little, much = (peak_memory(model, image) for model in models)
    assert much == pytest.approx(4 * little, rel=0.05)
