"""Each part of the score on models nobody tuned it to: random ones at 0, closed-form ideals at 1.

A line of a table is a model, an explainer and a part; a new one gets both bars for free.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from callbacks.interpretability import (
    ActivationMaximisation,
    Gradient,
    IntegratedGradients,
    RandomMap,
)
from callbacks.interpretability.explainer import Explainer
from callbacks.monitoring import Evidence, FailureEvidence, monitorability
from callbacks.monitoring.panel import PER_IMAGE, Panel
from callbacks.queries import Queries
from callbacks.randomness import Draw

N, SIDE = 128, 12
RANDOM, IDEAL = 0.05, 1e-3
"""The issue's two bars."""

GENERATOR = torch.Generator().manual_seed(0)


class Images(NamedTuple):
    """Grey and colour images."""

    grey: Tensor
    colour: Tensor


IMAGES = Images(
    *(torch.rand(N, c, SIDE, SIDE, generator=torch.Generator().manual_seed(c)) for c in (1, 3))
)


class Function(nn.Module):
    """A closed form as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.unit = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.unit(self.function(x))


def two(score: Tensor) -> Tensor:
    return torch.stack([score, -score], 1)


def hashed(x: Tensor) -> Tensor:
    """White noise: any change of the image gives another number in [0, 1)."""
    place = torch.arange(1, x[0].numel() + 1).sqrt().double()
    content = (x.flatten(1).double() * place).sum(1)
    return ((content * 1e6).sin() * 43758.5453).frac().abs().float()


def linear(channels: int = 1, equal: bool = False) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * SIDE**2, 3)).double()
    if equal:
        nn.init.constant_(net[1].weight, 0.5)
    return net


def sharp(scale: float) -> nn.Module:
    """A random network so sure of itself that one pixel more or less turns the answer round."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 32), nn.ReLU(), nn.Linear(32, 4))
    return Function(lambda x: scale * net(x - 0.5)).requires_grad_(False)


def convolutions() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    ).eval().requires_grad_(False)  # fmt: skip


def patch() -> nn.Module:
    """Sure of class 0 as long as a corner of 4x4 pixels, a ninth of the image, is bright."""
    return Function(lambda x: two(60 * (x[:, :, :4, :4].mean((1, 2, 3)) - 0.5)))


def bright_corner() -> Tensor:
    image = 0.2 * IMAGES.grey
    image[:, :, :4, :4] = 1.0
    return image


# -- random maps, and models that nothing can be said of -----------------------------------------


@dataclass(frozen=True)
class Foreign:
    """A user's random map, of his own distribution, anew for every image."""

    make: Callable[[Draw, Tensor, tuple[int, ...]], Tensor]
    forwards: int = field(default=0, init=False)
    backwards: int = field(default=0, init=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        step = (image.double().flatten(1).sum(1) * 1e7).long()
        return self.make(draw, step, (1, *image.shape[2:])).to(image)


MAPS: dict[str, Explainer] = {
    "ours": RandomMap(),
    "uniform": Foreign(lambda draw, step, shape: draw.uniform("foreign", step, shape)),
    "normal": Foreign(lambda draw, step, shape: draw.normal("foreign", step, shape)),
    "anew whenever asked": Foreign(
        lambda draw, step, shape: torch.rand(len(draw), *shape, generator=GENERATOR)
    ),
    "rare": Foreign(lambda draw, step, shape: draw.uniform("foreign", step, shape) ** 20),
}
MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear": (linear, IMAGES.grey.double()),
    "convolutions": (convolutions, IMAGES.colour),
    "calm": (lambda: sharp(1), IMAGES.grey),
    "sharp": (lambda: sharp(10), IMAGES.grey),
    "one patch": (patch, IMAGES.grey),
}


def part_of(name: str, evidence: Evidence | FailureEvidence) -> tuple[float, float, float]:
    """A part's value and interval through the score, other parts at a half."""
    index = np.arange(20)
    others: dict[str, Evidence | FailureEvidence] = {
        one: Evidence(np.full(20, 0.5), np.zeros(20), 1.0, index) for one in (*PER_IMAGE, "units")
    }
    others["failure"] = FailureEvidence(index, index % 2, index)
    found = monitorability({**others, name: evidence}, resamples=40)
    return next(tuple(one.value) for one in found.parts if one.name == name)


def measured(panel: Panel, part: str, network: nn.Module, image: Tensor) -> Evidence:
    model = Queries(network, 128)
    draw = Draw(0, torch.arange(len(image)))
    return panel.measure(part, model, image, model(image).argmax(1), draw)


@pytest.mark.parametrize("part", ["faithfulness", "stability", "randomisation"])
@pytest.mark.parametrize("which", MAPS)
@pytest.mark.parametrize("network", MODELS)
def test_random_maps_score_zero(part: str, which: str, network: str) -> None:
    make, image = MODELS[network]
    found = measured(Panel(explainer=MAPS[which]), part, make(), image)
    value, low, _ = part_of(part, found)
    # Where one pixel turns the answer round, a random map is right or wrong about whole images:
    # then the bar is beyond what so few can tell, and 0 has to be within three standard errors
    # (one and a half half-widths; of 25 such maps one misses 1.96 of them by chance).
    doubtful = part == "faithfulness" and which != "ours" and value <= 1.5 * (value - low)
    assert value <= RANDOM or doubtful
    assert value == 0 or which != "ours"


def unseen(x: Tensor) -> Tensor:
    """White noise that does not even look at the image, hence has no gradient."""
    return torch.randn(len(x), 4, generator=GENERATOR)


@pytest.mark.parametrize("which", ["white noise", "unseen"])
def test_white_noise_has_no_surrogate(which: str) -> None:
    noise = unseen if which == "unseen" else UNITS["white noise"][0]
    found = measured(Panel(), "surrogate", Function(noise), IMAGES.grey)
    assert np.isfinite(np.asarray(found.measured)).all()
    assert part_of("surrogate", found)[0] <= RANDOM


@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.97])
def test_confidence_that_knows_nothing(accuracy: float) -> None:
    """Three standard errors, Hanley & McNeil 1982: σ(AUROC) ≈ √(1 / 12·min(errors, correct))."""
    n = 6000
    random = np.random.default_rng(0)
    correct = random.random(n) < accuracy
    value, low, _ = part_of("failure", FailureEvidence(random.random(n), correct, np.arange(n)))
    fewer = min(correct.sum(), (~correct).sum())
    assert value <= 3 * 2 / np.sqrt(12 * fewer)
    assert low < 0.01
    sure = FailureEvidence(np.ones(n), correct, np.arange(n))
    assert part_of("failure", sure)[0] == 0, "ties tell nothing"


# -- closed-form ideals --------------------------------------------------------------------------


class OfTheModel:
    """Answers one of two maps whose ranks are unrelated, by which model is asked."""

    forwards = backwards = 0

    def __init__(self, own: nn.Module) -> None:
        self.own = own

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        one = torch.arange(SIDE).repeat(SIDE, 1).double()
        return (one if model.model is self.own else one.T).expand(len(image), 1, SIDE, SIDE)


def reacting() -> tuple[Panel, nn.Module, Tensor]:
    network = linear()
    return Panel(explainer=OfTheModel(network)), network, IMAGES.grey.double()


def dying() -> tuple[Panel, nn.Module, Tensor]:
    """Nothing at all is left of the map once the parameters are drawn anew."""
    network = linear()

    class Dies(OfTheModel):
        def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
            own = super().__call__(model, image, target, draw)
            return own if model.model is self.own else torch.zeros_like(own)

    return Panel(explainer=Dies(network)), network, IMAGES.grey.double()


IDEALS: dict[str, tuple[str, Callable[[], tuple[Panel, nn.Module, Tensor]]]] = {
    "one patch": ("faithfulness", lambda: (Panel(), patch(), bright_corner())),
    "one patch, gradient": ("faithfulness", lambda: (Panel(Gradient()), patch(), bright_corner())),
    "linear": ("stability", lambda: (Panel(Gradient()), linear(), IMAGES.grey.double())),
    "linear in colour": (
        "stability", lambda: (Panel(Gradient()), linear(3), IMAGES.colour.double()),
    ),
    "all pixels alike": (
        "stability", lambda: (Panel(Gradient()), linear(equal=True), IMAGES.grey.double()),
    ),
    "another model, another map": ("randomisation", reacting),
    "another model, no map": ("randomisation", dying),
    "surrogate of a line": ("surrogate", lambda: (Panel(), linear(), IMAGES.grey.double())),
    "surrogate in colour": ("surrogate", lambda: (Panel(), linear(3), IMAGES.colour.double())),
    "surrogate in float32": ("surrogate", lambda: (Panel(), linear().float(), IMAGES.grey)),
}  # fmt: skip


@pytest.mark.parametrize("case", IDEALS)
def test_closed_form_ideals_score_one(case: str) -> None:
    part, make = IDEALS[case]
    assert part_of(part, measured(*_ordered(part, make)))[0] == pytest.approx(1, abs=IDEAL)


def _ordered(
    part: str, make: Callable[[], tuple[Panel, nn.Module, Tensor]]
) -> tuple[Panel, str, nn.Module, Tensor]:
    panel, network, image = make()
    return panel, part, network, image


@pytest.mark.parametrize("errors", [40, 500, 960])
def test_confidence_that_knows_everything(errors: int) -> None:
    rows = np.arange(1000)
    value, low, _ = part_of("failure", FailureEvidence(rows / 1000, rows >= errors, rows))
    assert value == pytest.approx(1, abs=IDEAL)
    assert low < 1, "some doubt is left"
    worst = FailureEvidence(-rows / 1000, rows >= errors, rows)
    assert part_of("failure", worst)[0] == 0


# -- units ---------------------------------------------------------------------------------------


def templates(x: Tensor) -> Tensor:
    """Four units: how much the image looks like each of four patterns."""
    pattern = torch.randn(4, SIDE**2, generator=torch.Generator().manual_seed(3))
    return (x.flatten(1) - 0.5) @ pattern.to(x).T


UNITS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "templates": (templates, 1.0),
    "constant": (lambda x: torch.linspace(-1, 1, 64).to(x) + 0 * x.flatten(1)[:, :64], 0.0),
    "constant by rounding": (
        lambda x: 1e3 + 1e-5 * torch.stack([hashed(x + i) for i in range(4)], 1)
        + 0 * x.flatten(1)[:, :4], 0.0,
    ),
    "white noise": (
        lambda x: torch.stack([hashed(x + i) for i in range(4)], 1) + 0 * x.flatten(1)[:, :4], 0.0,
    ),
}  # fmt: skip


def of_units(function: Callable[[Tensor], Tensor], method: ActivationMaximisation) -> Evidence:
    model, blank = Queries(Function(function), 64), ActivationMaximisation(steps=0)
    seen, control = (one(model, "unit", IMAGES.grey).beats.numpy() for one in (method, blank))
    return Evidence(seen, control, np.ones(len(seen)), population=len(seen))


@pytest.mark.parametrize("case", UNITS)
def test_units(case: str) -> None:
    function, expected = UNITS[case]
    value = part_of("units", of_units(function, ActivationMaximisation(steps=64)))[0]
    assert value == pytest.approx(expected, abs=IDEAL)


@pytest.mark.parametrize("case", UNITS)
def test_images_that_were_not_optimised_score_zero(case: str) -> None:
    """Also with beginnings of other seeds than the control's."""
    function, _ = UNITS[case]
    own = of_units(function, ActivationMaximisation(steps=0))
    assert part_of("units", own)[0] == 0


# -- what cannot be measured is not made up ------------------------------------------------------

UNDEFINED: dict[str, tuple[nn.Module, Explainer, set[str]]] = {
    "constant": (
        Function(lambda x: two(0 * x.flatten(1).sum(1))), IntegratedGradients(4),
        {"stability", "randomisation", "surrogate"},
    ),
    "lookup": (
        Function(lambda x: two((x.flatten(1) * 4).round().sum(1))), Gradient(),
        {"stability", "randomisation"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNDEFINED)
@pytest.mark.parametrize("part", PER_IMAGE)
def test_what_cannot_be_measured_is_no_number(part: str, case: str) -> None:
    network, explainer, undefined = UNDEFINED[case]
    value = part_of(part, measured(Panel(explainer), part, network, IMAGES.grey[:40]))[0]
    assert np.isnan(value) == (part in undefined)
    if part == "faithfulness":
        assert value == 0, "a map without an order knows no more than chance"
