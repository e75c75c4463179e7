"""The panel behind the score: costs as predicted, controls at 0, closed-form ideals at 1."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from callbacks.interpretability import (
    Gradient,
    IntegratedGradients,
    RandomMap,
    SymmetricRelevanceGain,
)
from callbacks.interpretability.explainer import Explainer
from callbacks.monitoring import Evidence, FailureEvidence, best_panel, check_count, monitorability
from callbacks.monitoring.panel import PER_IMAGE, Panel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from lightning_modules import Classifier

N, SIDE = 40, 8


def images(n: int = N) -> Tensor:
    return torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def draw(n: int = N) -> Draw:
    return Draw(0, torch.arange(n))


class Linear(nn.Module):
    """Two logits, linear in the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(SIDE * SIDE, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


class TopRow(nn.Module):
    """Class 0 as long as the top row, an eighth of the image, is bright."""

    def forward(self, x: Tensor) -> Tensor:
        bright = 200 * (x[:, 0, 0].mean(1) - 0.25)
        return torch.stack([bright, -bright], 1)


class OnlyTheModel:
    """Answers one of two maps whose ranks are unrelated, by which model is asked."""

    forwards = backwards = 0

    def __init__(self, own: nn.Module) -> None:
        self.own = own

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        one = torch.arange(SIDE).repeat(SIDE, 1).double()  # by columns, by rows
        return (one if model.model is self.own else one.T).expand(len(image), 1, SIDE, SIDE)


def value(found: Evidence) -> float:
    means = [np.mean(np.asarray(x)) for x in (found.measured, found.control, found.ideal)]
    return float((means[0] - means[1]) / (means[2] - means[1]))


def top_row() -> tuple[Panel, nn.Module, Tensor]:
    bright = images().clone()
    bright[:, :, 0] = 1.0  # the model is sure of it to 1e-6
    gain = SymmetricRelevanceGain(steps=8, fill="black")
    return Panel(explainer=Gradient(), gain=gain), TopRow(), bright


def linear(**options: Any) -> tuple[Panel, nn.Module, Tensor]:
    torch.manual_seed(0)
    return Panel(explainer=Gradient(), **options), Linear(), images().double()


def reacting() -> tuple[Panel, nn.Module, Tensor]:
    model = Linear()
    return Panel(explainer=OnlyTheModel(model)), model, images().double()


IDEALS: dict[str, Callable[[], tuple[Panel, nn.Module, Tensor]]] = {
    "faithfulness": top_row,
    "stability": linear,
    "randomisation": reacting,
    "surrogate": linear,
}


@pytest.mark.parametrize("part", PER_IMAGE)
def test_closed_form_ideals_are_one(part: str) -> None:
    panel, model, image = IDEALS[part]()
    target = torch.zeros(N, dtype=torch.long)
    found = panel.measure(part, Queries(model, 16), image, target, draw())
    control = np.zeros(N) if part == "faithfulness" else found.control  # its expectation is 0
    assert value(Evidence(found.measured, control, found.ideal)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("part", ["faithfulness", "stability", "randomisation"])
def test_random_maps_are_zero(part: str, classifier: Classifier) -> None:
    n, image = 200, images(200)
    classifier.requires_grad_(False)
    model = Queries(classifier, 64)
    target = model(image).argmax(1)
    found = Panel(explainer=RandomMap()).measure(part, model, image, target, draw(n))
    assert value(found) == pytest.approx(0, abs=0.05), "the bar of the issue"


@pytest.mark.parametrize("part", PER_IMAGE)
@pytest.mark.parametrize("explainer", [Gradient(), IntegratedGradients(points=4)])
def test_costs_are_as_predicted(part: str, explainer: Explainer, classifier: Classifier) -> None:
    panel = Panel(explainer=explainer)
    (item,) = [one for one in panel.items(N) if one.name == part]
    model = Queries(classifier.requires_grad_(False), 16)
    plan = best_panel([item], N, item.cost)
    panel.measure(part, model, images(), torch.zeros(N, dtype=torch.long), draw())
    check_count(plan, model.forwards, model.backwards)


def test_random_maps_depend_on_the_image_alone() -> None:
    one, model = images(), Queries(Linear())
    target = torch.zeros(N, dtype=torch.long)
    first, again = (RandomMap()(model, one, target, draw()) for _ in range(2))
    moved = RandomMap()(model, one + 1e-3, target, draw())
    assert torch.equal(first, again)
    assert abs(np.corrcoef(first.flatten(), moved.flatten())[0, 1]) < 0.1  # 2,560 numbers: sd .02


def test_smaller_budgets_keep_the_estimate(classifier: Classifier) -> None:
    """Fewer images, never another definition: the large estimate lies in the small interval."""
    n, image, panel = 160, images(160), Panel(explainer=Gradient())
    classifier.requires_grad_(False)
    model = Queries(classifier, 64)
    logits = model(image)
    target, clean = logits.argmax(1), logits.softmax(1).amax(1).numpy()
    correct = np.random.default_rng(0).random(n) < clean
    scores = []
    for forwards in (60, 300):
        plan = best_panel(panel.items(n), n, forwards)
        evidence: dict[str, Evidence | FailureEvidence] = {
            part: panel.measure(
                part, model, image[: plan.counts[part]], target[: plan.counts[part]],
                draw(plan.counts[part]),
            )
            for part in PER_IMAGE
        }  # fmt: skip
        evidence["units"] = Evidence(np.ones(4), np.zeros(4), np.ones(4), population=4)
        evidence["failure"] = FailureEvidence(clean, correct, np.arange(n))
        scores.append(monitorability(evidence, resamples=200))
    small, large = scores
    assert small.parts[0].n < large.parts[0].n
    for one, other in zip(small.parts, large.parts, strict=True):
        width = max(one.value.high - one.value.low, 0.02)
        assert one.value.value == pytest.approx(other.value.value, abs=width), one.name


def test_all_units_of_a_layer_leave_no_doubt() -> None:
    some = {
        name: Evidence(np.full(50, 0.5), np.zeros(50), 1.0, np.arange(50)) for name in PER_IMAGE
    }
    perfect = FailureEvidence(np.arange(50.0), np.arange(50) > 9, np.arange(50))
    half, all_of_them = np.arange(50) % 2, np.ones(50)
    cases = [(half, 50, True), (half, None, False), (half, 100, False), (all_of_them, 100, False)]
    for beats, population, certain in cases:
        units = Evidence(beats, np.zeros(50), np.ones(50), population=population)
        found = monitorability({**some, "units": units, "failure": perfect}, resamples=50)
        part = next(one for one in found.parts if one.name == "units")
        assert (part.value.high - part.value.low < 1e-9) == certain


def test_the_most_faithful_explainer_is_chosen_at_the_predicted_cost() -> None:
    """On a model that reads its top row only the gradient knows more than a random map."""
    panel, network, image = top_row()
    candidates = [RandomMap(), Gradient()]
    model = Queries(network, 16)
    chosen = panel.best_of(candidates, model, image, draw())
    assert chosen.explainer == Gradient()
    assert model.forwards + 2 * model.backwards == panel.choosing(candidates, N)
    assert panel.best_of(candidates[:1], model, image, draw()).explainer == RandomMap()
    assert panel.choosing(candidates[:1], N) == 0
