"""The monitor on real networks: nothing changes, nothing stays, drift is told."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.monitoring import DriftTest, Monitor
from callbacks.monitoring.drift_test import standardised_shift
from callbacks.monitoring.layers import watchable
from callbacks.monitoring.leftovers import hooks_left
from callbacks.monitoring.monitor import INPUT, OUTPUT
from callbacks.monitoring.sampling import channels_last, sampled
from datamodules import UserError
from lightning_modules import build

WINDOW = 32


class Functional(nn.Module):
    """Plain functions for activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x), inplace=True)), inplace=True)
        return self.head(x.mean((2, 3)))


class Reused(nn.Module):
    """One in-place activation for two layers, as in torchvision's ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv2(self.relu(self.conv1(x))))
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """A small transformer with a class token, whose attention answers a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(16, 8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(F.unfold(x, 4, stride=4).mT)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(x)).mean(1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "functional": Functional,
    "reused": Reused,
    "tokens": Tokens,
    "lenet": lambda: build("lenet", 10, 1),
}


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def batches(n: int, size: int = 16, seed: int = 0) -> list[Tensor]:
    return list(images(n, seed).split(size))


def made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[kind]().eval()


@pytest.fixture
def fitted() -> Monitor:
    return Monitor(made("reused"), ["conv1", "relu"], window=WINDOW, false_alarms=0.05).fit(
        batches(400)
    )


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("inference", [False, True])
def test_outputs_are_bit_identical_and_no_hook_stays(kind: str, inference: bool) -> None:
    model = made(kind)
    with torch.inference_mode(inference):
        before = [model(image) for image in batches(64)]
        monitor = Monitor(model, window=WINDOW).fit(batches(200))
        with monitor:
            during = [model(image) for image in batches(64)]
    assert all(torch.equal(a, b) for a, b in zip(before, during, strict=True))
    assert hooks_left(model) == 0
    report = monitor.report()
    assert (report.served, report.watched, len(report.windows)) == (64, 64, 2)
    assert {INPUT, OUTPUT} < set(report.profile)
    assert len(report.layers()) == len(report.profile) >= 3


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_still_flow(kind: str) -> None:
    model = made(kind)
    image = images(4).requires_grad_()
    (want,) = torch.autograd.grad(model(image).sum(), image)
    with Monitor(model, window=WINDOW):
        (found,) = torch.autograd.grad(model(image).sum(), image)
    assert torch.equal(want, found)


def test_hooks_go_when_the_model_fails(fitted: Monitor) -> None:
    with pytest.raises(RuntimeError), fitted:
        fitted.model(torch.zeros(1, 3, 5, 5))
    assert hooks_left(fitted.model) == 0
    with fitted:
        fitted.model(images(WINDOW))
    assert len(fitted.report().windows) == 1


def test_a_layer_used_twice_has_two_lines(fitted: Monitor) -> None:
    assert {"relu", "relu:2"} <= set(fitted.profile)


def test_profile_is_of_what_comes_out_of_the_layer() -> None:
    """Also where the next layer works in place on it."""
    model = made("reused")
    monitor = Monitor(model, ["conv1"], places=10**6, window=16).fit(batches(80))
    want = torch.cat([model.conv1(image) for image in batches(80)])
    statistics = monitor.profile["conv1"]
    torch.testing.assert_close(statistics.mean.float(), want.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    assert statistics.zero_rate.max() == 0


def test_every_kth_batch(fitted: Monitor) -> None:
    fitted.every = 4
    with fitted:
        for image in batches(256):
            fitted.model(image)
    report = fitted.report()
    assert (report.served, report.watched, len(report.windows)) == (256, 64, 2)
    assert report.sampling_rate == 0.25
    assert report.shortest_delay == 4 * WINDOW


@pytest.mark.parametrize("size", [5, 16, 100])
def test_windows_do_not_depend_on_batches(size: int, fitted: Monitor) -> None:
    with fitted:
        for image in batches(200, size):
            fitted.model(image)
    scores = [window.score for window in fitted.report().windows]
    fitted.reset()
    with fitted:
        for image in batches(200, 32):
            fitted.model(image)
    # other batch shapes round activations differently in the seventh digit
    assert scores == pytest.approx([w.score for w in fitted.report().windows], rel=1e-3, abs=1e-3)


def test_drift_is_told_and_where(fitted: Monitor) -> None:
    told = []
    fitted.on_alarm = told.append
    with fitted:
        for image in batches(128, seed=1):
            fitted.model(image)
        for image in batches(128, seed=2):
            fitted.model(image * 0.7)
    report = fitted.report()
    assert report.detection_delay(128) == WINDOW
    assert told
    assert all(window.alarm for window in report.windows[-4:])
    timeline = report.timeline()
    assert timeline["end"].tolist() == [32, 64, 96, 128, 160, 192, 224, 256]
    assert report.layers().set_index("layer").loc[INPUT, "psi"] > 0.05


def test_false_alarms_are_as_rare_as_stated() -> None:
    """The stated rate holds for fresh images of the same kind."""
    model = made("reused")
    monitor = Monitor(model, window=16, false_alarms=0.05).fit([images(1000)])
    with monitor, torch.inference_mode():
        model(images(16 * 400, seed=5))
    found = monitor.report().alarm_rate
    # 400 windows: standard error .011; halves make the threshold a little conservative
    assert found.value <= 0.05 + 0.033
    assert found.value >= 0.005


def test_not_finite_activations_are_an_alarm(fitted: Monitor) -> None:
    with fitted:
        fitted.model(images(WINDOW) * float("nan"))
    (window,) = fitted.report().windows
    assert window.alarm
    assert window.score == float("inf")


def test_saved_monitor_says_the_same(fitted: Monitor, tmp_path: Path) -> None:
    file = fitted.save(tmp_path / "monitor.safetensors")
    again = Monitor.load(file, made("reused"))
    for monitor in (fitted, again):
        with monitor:
            monitor.model(images(64, seed=3))
    one, other = fitted.report(), again.report()
    assert one.timeline().equals(other.timeline())
    assert one.layers().equals(other.layers())
    assert one.threshold == other.threshold


def test_mistakes(tmp_path: Path, fitted: Monitor) -> None:
    with pytest.raises(UserError, match=r"no layer 'rellu'.*'relu'"):
        Monitor(made("reused"), ["rellu"])
    with pytest.raises(UserError, match="at least 128 clean images"):
        Monitor(made("reused"), window=WINDOW).fit(batches(100))
    with pytest.raises(UserError, match="call `fit` first"):
        Monitor(made("reused")).save(tmp_path / "x")
    with pytest.raises(UserError, match="`every`"):
        Monitor(made("reused"), every=0)
    (tmp_path / "bad").write_bytes(b"nothing")
    with pytest.raises(UserError, match="a monitor in"):
        Monitor.load(tmp_path / "bad", made("reused"))
    with pytest.raises(UserError, match="no layer"):
        Monitor.load(fitted.save(tmp_path / "m"), made("functional"))


def test_without_a_profile_it_only_counts() -> None:
    model = made("lenet")
    monitor = Monitor(model, window=16)
    with monitor:
        model(images(32))
    report = monitor.report()
    assert len(report.windows) == 2
    assert not any(window.alarm for window in report.windows)


SHAPES = [
    ((6, 5), nn.Linear(1, 5), (6, 1, 5)),
    ((6, 5, 8, 8), nn.Conv2d(1, 5, 3), (6, 4, 5)),
    ((6, 8, 8, 5), nn.GELU(), (6, 4, 5)),
    ((6, 8, 8, 5), nn.LayerNorm(5), (6, 4, 5)),
    ((6, 9, 5), nn.GELU(), (6, 3, 5)),
    ((24, 9, 5), nn.GELU(), (6, 4, 5)),  # four windows an image in the first axis
    # what looks like (N, H, W, C) and is not, and what says so of itself
    *(
        ((6, 8, 8, 12), one, (6, 4, 8))
        for one in (nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.LayerNorm(8), None)
    ),
    ((6, 8, 8, 12), nn.LayerNorm(12), (6, 4, 12)),
    ((6, 5, 9), nn.Conv1d(1, 5, 3), (6, 3, 5)),
]


@pytest.mark.parametrize(("shape", "module", "want"), SHAPES)
def test_sampling(shape: tuple, module: nn.Module | None, want: tuple) -> None:
    value = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    found = sampled(value, 6, channels_last(module, value), 4)
    assert found is not None
    assert tuple(found.shape) == want
    assert found.data_ptr() != value.data_ptr()


def test_sampling_leaves_out_what_has_no_row_an_image() -> None:
    assert sampled(torch.zeros(7, 3), 6, False, 4) is None
    assert sampled(torch.zeros(6), 6, False, 4) is None
    assert sampled(torch.zeros(6, 3, dtype=torch.long), 6, False, 4) is None


def test_layers_are_spread_over_the_depth() -> None:
    assert watchable(made("lenet"), 3) == ["relu1", "relu3", "relu4"]
    assert watchable(made("functional"), 2) == ["conv1", "head"]


def test_drift_test_needs_enough_images() -> None:
    with pytest.raises(UserError, match="at least 40 clean images"):
        DriftTest.fit({"a": torch.zeros(39, 2)}, 10)


def test_drift_test_on_dead_channels_is_quiet() -> None:
    test = DriftTest.fit({"a": torch.zeros(100, 2)}, 10, 0.05)
    assert float(test.score({"a": torch.zeros(2)})) <= test.threshold


FAMILIES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet",
    "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t",
    "vgg11", "vit_b_16", "wide_resnet50_2",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_torchvision_families(name: str) -> None:
    torch.manual_seed(0)
    model = build(f"torchvision:{name}", 10).eval()
    side = 299 if name == "inception_v3" else 224
    image = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        want = model(image)
        with Monitor(model, window=2) as monitor:
            assert torch.equal(model(image), want)
    assert hooks_left(model) == 0
    report = monitor.report()
    assert len(report.windows) == 1
    assert len(report.seen) >= 4, f"watched {list(report.seen)}"


@pytest.mark.parametrize("dead", [(), (1,), (0, 1, 2)])
def test_shift_is_of_living_channels_alone(dead: tuple[int, ...]) -> None:
    """Whatever a channel without any spread does, it does not count."""
    reference, spread = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.1, 2.0])
    mean = torch.tensor([[2.0, 2.1, 3.0], [1.0, 2.0, 7.0]])
    spread[list(dead)] = 0
    mean[:, list(dead)] = torch.inf
    z = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    living = [i for i in range(3) if i not in dead]
    want = z[:, living].square().mean(1).sqrt() if living else torch.zeros(2)
    torch.testing.assert_close(standardised_shift(mean, reference, spread), want)
