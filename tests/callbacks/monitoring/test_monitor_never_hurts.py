"""The monitor never hurts what it watches, and its stated rate holds for what it is stated for."""

import copy
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import stats
from torch import Tensor, nn

from callbacks.monitoring import DriftTest, Monitor
from callbacks.monitoring import monitor as monitor_module
from callbacks.monitoring.monitor import INPUT, OUTPUT
from datamodules import MNIST, UserError
from lightning_modules import build

WINDOW = 16


class Net(nn.Module):
    """Takes any size; `answer` wraps the logits."""

    def __init__(self, width: int = 4, answer: Callable[[Tensor], Any] = lambda z: z) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu = nn.Conv2d(1, width, 3), nn.ReLU(inplace=True)
        self.head, self.answer = nn.Linear(width, 3), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.head(self.relu(self.conv(x)).mean((2, 3))))


class Plain(Net):
    """The same without a lambda, which no pickle takes."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Identity()


class Lit(nn.Module):
    """What people train with: the network as `model`, normalised images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(2 * x - 1)


def images(n: int, seed: int = 0, side: int = 8) -> Tensor:
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed))


def learnt(model: nn.Module, **options: Any) -> Monitor:
    options = {"layers": ["conv", "relu"], "window": WINDOW, "false_alarms": 0.05, **options}
    return Monitor(model, **options).fit(images(400).split(20))


ANSWERS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda z: z,
    "tuple": lambda z: (z, z.mean()),
    "dict": lambda z: {"loss": z.sum(), "logits": z},
    "object": lambda z: SimpleNamespace(hidden=z.mean(), logits=z),
    "nothing": lambda z: None,
    "text": lambda z: "cat",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_of_any_kind(kind: str) -> None:
    model = Net(answer=ANSWERS[kind]).eval()
    monitor = learnt(model)
    with monitor:
        model(images(WINDOW, 1))
    assert (OUTPUT in monitor.profile) == (kind not in ("nothing", "text"))
    assert len(monitor.report().windows) == 1
    assert not monitor.report().problems
    if OUTPUT in monitor.profile:
        assert len(monitor.profile[OUTPUT].mean) == 3


def test_other_sizes_in_one_window() -> None:
    """Means over places are what windows are judged by, however many places there are."""
    model = Net().eval()
    monitor = learnt(model, places=10**6)
    few, many = images(6, 1), images(10, 2, 13)
    with monitor, torch.no_grad():
        model(few), model(many)
        convolved = torch.cat([model.conv(x).mean((2, 3)) for x in (few, many)])
    (window,) = monitor.report().windows
    assert monitor.test is not None
    wanted = monitor.test.shifts({"conv": convolved.double().mean(0)})["conv"]
    assert window.layers["conv"] == pytest.approx(float(wanted), rel=1e-3)
    assert not monitor.report().problems


def test_transforms_export_and_tracing_are_let_through() -> None:
    model = Plain().eval()
    image = images(WINDOW)
    want = model(image)
    monitor = learnt(model)
    with monitor:
        mapped = torch.vmap(model)(image[:, None])[:, 0]
        gradient = torch.func.grad(lambda x: model(x).sum())(image)
        exported = torch.export.export(model, (image,), strict=False).module()
        assert monitor.report().served == 0
        assert torch.equal(model(image), want)
    torch.testing.assert_close(mapped, want)
    torch.testing.assert_close(exported(image), want)
    assert gradient.shape == image.shape
    assert (monitor.report().served, len(monitor.report().windows)) == (WINDOW, 1)
    assert not monitor.report().problems


@pytest.mark.parametrize("part", ["sampled", "LayerStatistics", "_judged", "answer_of", "alarm"])
def test_whatever_fails_the_served_forward_goes_on(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = Net().eval(), images(4 * WINDOW, 1)
    want, monitor = model(image), learnt(model)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("injected")

    if part == "alarm":
        monitor.on_alarm = broken
        image = image * 0
        want = model(image)
    else:
        monkeypatch.setattr(monitor_module, part, SimpleNamespace(of=broken, __call__=broken)
                            if part == "LayerStatistics" else broken)  # fmt: skip
    with monitor:
        found = torch.cat([model(some) for some in image.split(WINDOW)])
    torch.testing.assert_close(found, want)
    assert sum(monitor.report().problems.values()) >= 4
    assert all("ZeroDivisionError: injected" in told for told in monitor.report().problems)
    assert len(monitor._pending) < WINDOW


def test_a_network_of_other_widths_is_told_not_judged(tmp_path: Path) -> None:
    file = learnt(Net()).save(tmp_path / "m")
    other = Net(6).eval()
    monitor = Monitor.load(file, other)
    with monitor:
        other(images(WINDOW))
    report = monitor.report()
    assert set(report.windows[0].layers) == {INPUT, OUTPUT}
    assert {told.split()[0] for told in report.problems} == {"conv", "relu"}


def test_copies_are_not_watched_and_pickles_are_made() -> None:
    model = Plain().eval()
    monitor = learnt(model).attach()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for one in copies:
        assert torch.equal(one(images(WINDOW)), model(images(WINDOW)))
        model.eval()
    assert monitor.report().served == 2 * WINDOW  # of the model alone
    both = copy.deepcopy(monitor)
    both.model(images(WINDOW))
    assert (both.report().served, both.report().threshold) == (32, monitor.report().threshold)
    with both:
        both.model(images(WINDOW))
    assert both.report().served == 3 * WINDOW
    assert monitor.report().served == 2 * WINDOW
    monitor.remove()


def test_threads() -> None:
    model = Net().eval()
    monitor = learnt(model)
    parts = images(64 * WINDOW, 1).split(4)
    with torch.no_grad():
        want = [model(part) for part in parts]

    def served(part: Tensor) -> Tensor:
        with torch.no_grad():
            return model(part)

    with monitor, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(served, parts))
    report = monitor.report()
    assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))
    assert (report.served, report.watched, len(report.windows)) == (64 * WINDOW, 64 * WINDOW, 64)
    assert not report.problems
    assert report.seen["conv"].count == 64 * WINDOW * 9  # three by three places of an image


def test_a_saved_monitor_fits_the_bare_network_and_the_wrapped_one(tmp_path: Path) -> None:
    net = Net().eval()
    wrapped, normalised = Lit(net).eval(), 2 * images(WINDOW, 1) - 1
    bare = learnt(net).save(tmp_path / "bare")  # type: ignore[arg-type]
    inside = Monitor(wrapped, ["model.conv", "model.relu"], window=WINDOW, false_alarms=0.05)
    outer = inside.fit(images(400).split(20)).save(tmp_path / "wrapped")

    def layers(file: Path, model: nn.Module, image: Tensor) -> dict[str, float]:
        monitor = Monitor.load(file, model)
        with monitor:
            model(image)
        assert not monitor.report().problems
        return dict(monitor.report().windows[0].layers)

    for file, own, other in (
        (bare, (net, normalised), (wrapped, images(WINDOW, 1))),
        (outer, (wrapped, images(WINDOW, 1)), (net, normalised)),
    ):
        one, two = layers(file, *own), layers(file, *other)
        same = {name.removeprefix("model."): value for name, value in one.items()}
        assert {"conv", "relu"} <= set(two)
        assert two == pytest.approx({name: same[name] for name in two})
        assert (INPUT in two) == (file == bare)  # images as the bare network sees them


Break = Callable[[dict[str, Any], dict[str, Tensor]], Any]
BROKEN: dict[str, Break] = {
    "NaN threshold": lambda facts, _: facts["test"].update(threshold=float("nan")),
    "no number": lambda facts, _: facts["test"].update(threshold="high"),
    "NaN reference": lambda _, tensors: tensors["reference/conv"].fill_(torch.nan),
    "no scale": lambda facts, _: facts["test"]["scale"].update(conv=0.0),
    "missing tensor": lambda _, tensors: tensors.pop("mean/conv"),
    "missing layer": lambda facts, _: facts["test"]["centre"].pop("conv"),
    "no window": lambda facts, _: facts["monitor"].update(window=0),
    "other rate": lambda facts, _: facts["monitor"].update(false_alarms=0.5),
    "other order": lambda facts, _: facts["test"].update(order="up"),
    "no layers": lambda facts, _: facts["monitor"].update(layers=[]),
    "NaN spread": lambda _, tensors: tensors["spread/conv"].fill_(torch.nan),
    "negative spread": lambda _, tensors: tensors["spread/conv"].fill_(-1.0),
    "other channels": lambda _, of: of.update({"reference/conv": torch.zeros(1)}),
    "another axis": lambda _, of: of.update({"reference/conv": of["reference/conv"][None]}),
    "whole numbers": lambda _, of: of.update({"reference/conv": of["reference/conv"].int()}),
    "other bins": lambda _, of: of.update({"histogram/conv": torch.ones(3)}),
    "no facts": lambda facts, _: facts.clear(),
}


@pytest.mark.parametrize("kind", [*BROKEN, "no JSON", "half a file"])
def test_broken_files_are_one_sentence(kind: str, tmp_path: Path) -> None:
    file = learnt(Net()).save(tmp_path / "m")
    if kind == "half a file":
        file.write_bytes(file.read_bytes()[:500])
    else:
        with safe_open(str(file), "pt") as opened:
            header = dict(opened.metadata())
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        facts = json.loads(header["facts"])
        BROKEN.get(kind, lambda *_: None)(facts, tensors)
        header["facts"] = "{" if kind == "no JSON" else json.dumps(facts)
        save_file(tensors, str(file), header)
    with pytest.raises(UserError, match="Expected a monitor in"):
        Monitor.load(file, Net())


def test_what_is_not_finite_is_not_learnt() -> None:
    with pytest.raises(UserError, match="Expected finite activations"):
        Monitor(Net(), window=WINDOW).fit([images(100) * float("nan")])
    model = Net(answer=lambda z: z / 0)
    monitor = learnt(model)
    assert OUTPUT not in monitor.profile
    assert monitor.left_out == (OUTPUT,)
    assert monitor.report().threshold == monitor.report().threshold


def stream(n: int, seed: int) -> Tensor:
    """Means of images whose neighbours are alike: an autoregression over about 20 images."""
    generator = torch.Generator().manual_seed(seed)
    noise, slow = torch.randn(n, 2, 3, generator=generator, dtype=torch.float64), []
    state = noise[0, 0]
    for step in noise[:, 0]:
        state = 0.95 * state + (1 - 0.95**2) ** 0.5 * step
        slow.append(state)
    return torch.stack(slow) + noise[:, 1]


@pytest.mark.parametrize("served", ["shuffled", "stream"])
def test_false_alarms_are_as_stated_for_what_they_are_stated_for(served: str) -> None:
    """Over 400 windows; for a stream only blocks give the rate, independent draws far too many."""
    window, rate = 16, 0.05
    clean, later = stream(20_000, 0), stream(400 * window, 1)
    if served == "shuffled":
        generator = torch.Generator().manual_seed(2)
        clean, later = (x[torch.randperm(len(x), generator=generator)] for x in (clean, later))
    means = later.unflatten(0, (400, window)).mean(1)
    alarms = {}
    for order in ("shuffled", "stream"):
        test = DriftTest.fit({"a": clean}, window, rate, order=order)  # type: ignore[arg-type]
        assert test.order == order
        alarms[order] = int((test.score({"a": means}) > test.threshold).sum())
    low, high = stats.binom.interval(0.99, 400, rate)
    assert low <= alarms[served] <= high
    if served == "stream":
        assert alarms["shuffled"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("served", ["shuffled", "stream"])
def test_false_alarms_on_mnist_in_its_own_order(served: str, shared_data: Path) -> None:
    """400 windows of digits behind those that were learnt, as writers follow one another.

    Not of the test images: their second half is by other people, which is a drift.
    """
    torch.manual_seed(0)
    model, window, rate = build("lenet", 10, 1).eval(), 16, 0.01
    digits = MNIST(root=shared_data / "MNIST").load("train").image[:27_000]
    mixed = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    digits = digits.float() / 255 if served == "stream" else digits[mixed].float() / 255
    monitor = Monitor(model, window=window, false_alarms=rate)
    monitor.fit(digits[:20_000].split(200), order="stream" if served == "stream" else "shuffled")
    with monitor, torch.no_grad():
        for image in digits[20_000:][: 400 * window].split(100):
            model(image)
    windows = monitor.report().windows
    assert len(windows) == 400
    low, high = stats.binom.interval(0.99, 400, rate)
    assert low <= sum(one.alarm for one in windows) <= high


def test_a_stream_too_short_for_its_rate_is_refused() -> None:
    with pytest.raises(UserError, match=r"at least 1,584 images in order .* but got 1,000"):
        DriftTest.fit({"a": stream(1000, 0)}, 16, 0.01, order="stream")
