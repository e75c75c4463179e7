import pytest
import torch

from lightning_modules import build
from lightning_modules.memory import peak_memory
from pipelines.distill.footprint import footprint, macs, timed

# conv1 24x24 places x 150 weights, conv2 8x8 x 2,400, then the linear layers
LENET_MACS = 576 * 150 + 64 * 2400 + 256 * 120 + 120 * 84 + 84 * 10


def test_work_of_lenet_by_hand() -> None:
    assert macs(build("lenet", 10, 1), torch.rand(1, 1, 28, 28)) == LENET_MACS
    assert macs(build("lenet", 10, 1), torch.rand(8, 1, 28, 28)) == LENET_MACS, "of one image"


def test_footprint() -> None:
    model, image = build("lenet", 10, 1).eval(), torch.rand(16, 1, 28, 28)
    taken = footprint(model, image)
    assert (taken.parameters, taken.bytes, taken.macs) == (44_426, 177_704, LENET_MACS)
    assert taken.batch == 16
    with torch.no_grad():
        assert taken.memory == peak_memory(lambda: model(image))
    ((latency, throughput),) = timed([(model, image)], rounds=1, seconds=0.01)
    assert 0 < latency < 1
    assert throughput > 1 / latency / 10


def test_a_larger_model_takes_longer() -> None:
    image = torch.rand(64, 1, 28, 28)
    models = [build(name, 10, 1) for name in ("lenet", "lenet_wide")]
    small, large = timed([(model, image) for model in models], rounds=3, seconds=0.02)
    assert large[1] < small[1]  # 12 times the work
    little, much = (footprint(model, image).memory for model in models)
    assert much == pytest.approx(4 * little, rel=0.05)  # the last layer is no wider
