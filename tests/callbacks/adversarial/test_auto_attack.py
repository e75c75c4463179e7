"""AutoAttack: its stages, its name, what it certifies, and Auto-PGD's and Square's schedules."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from callbacks.adversarial import L1, L2, AdversarialProbe, AutoAttack, Linf, Square
from callbacks.adversarial.apgd_rules import Halving
from callbacks.adversarial.attack import about
from callbacks.adversarial.budget_certificate import Certificate
from callbacks.adversarial.fab import FAB
from callbacks.adversarial.square_patches import PATCHES
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.budget import Budget
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (1000, [220, 410, 570, 700, 800, 870, 930, 990]),
        (50, [11, 21, 30, 38, 45]),
    ],
)
def test_checkpoints_are_those_of_the_authors_code(steps: int, expected: list[int]) -> None:
    assert list(Halving.of(steps).checkpoints)[: len(expected)] == expected


def test_stages_and_budgets_are_those_of_the_definition() -> None:
    assert AutoAttack().certificate("linf") == (
        "APGD-CE 100 steps; APGD-T 9 targets x 100 steps; FAB-T 9 targets x 100 steps; "
        "Square 5,000 queries"
    )
    assert AutoAttack().certificate("l1") == (
        "APGD-CE 5 runs x 100 steps; APGD-T 5 targets x 100 steps; FAB-T 9 targets x 100 steps; "
        "Square 5,000 queries"
    )
    assert AutoAttack("plus").certificate("l2") == (
        "APGD-CE 5 runs x 100 steps; APGD-DLR 5 runs x 100 steps; FAB 5 runs x 100 steps; "
        "Square 5,000 queries; APGD-T 9 targets x 100 steps; FAB-T 9 targets x 100 steps"
    )
    assert AutoAttack("rand").certificate("linf") == (
        "APGD-CE 100 steps x 20 answers averaged; APGD-DLR 100 steps x 20 answers averaged"
    )
    assert not any(getattr(stage, "rescale", False) for stage in AutoAttack().stages("linf"))


def test_only_the_full_budget_bears_the_name() -> None:
    assert about(AutoAttack()).title == "AutoAttack standard"
    assert about(AutoAttack()).name == "autoattack"
    reduced = about(AutoAttack(steps=20, queries=500))
    assert reduced.title == "AutoAttack (reduced: 20 steps, 500 queries)"
    assert reduced.name == "autoattack_reduced"
    assert "standard" not in about(AutoAttack(steps=200)).title
    assert about(AutoAttack("rand", queries=1)).title == "AutoAttack rand", "it has no queries"
    probe = AdversarialProbe.within(Budget(steps=3, objective="loss"), AutoAttack)
    assert probe.attack == AutoAttack(), "presets do not reduce it"
    assert (probe.objective, probe.curve) == ("verdict", (1.0,))


@pytest.mark.parametrize(
    ("classes", "deterministic", "version", "words"),
    [
        (10, True, "standard", ""),
        (10, False, "rand", "answers at random"),
        (3, False, "rand", "answers at random"),
        (5, True, "standard", "4 other classes"),
        (3, True, "standard", "with 3 AutoAttack follows margins"),
        (2, True, "standard", "with 2 AutoAttack follows margins"),
    ],
)
def test_fits_the_model_and_says_so(
    classes: int, deterministic: bool, version: str, words: str
) -> None:
    fitted, note = AutoAttack().fitted(classes, deterministic)
    assert fitted.version == version
    assert words in note
    assert bool(note) == bool(words)


def curved(seed: int = 0) -> tuple[Queries, Tensor, Tensor, Draw]:
    """Images that a small network gets right, some near its boundaries, some far."""
    torch.manual_seed(seed)
    layers = [torch.nn.Flatten(), torch.nn.Linear(36, 20), torch.nn.ReLU(), torch.nn.Linear(20, 5)]
    model = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    image = torch.rand(24, 1, 6, 6)
    return Queries(model, 8), image, model(image).argmax(1), Draw(0, torch.arange(24))


def test_stages_add_up_and_break_what_they_say() -> None:
    model, image, label, draw = curved()
    attack = AutoAttack(steps=5, queries=20)
    result = attack(model, image, label, Linf(0.03), draw)
    broken = model.model(result.image).argmax(1) != label
    columns = {name: column.long() for name, column in result.columns.items()}
    assert torch.equal(columns["stage"] > 0, broken)
    assert 0 < int(broken.sum()) < len(label), "a test of both needs both"
    stages = ("apgd_ce", "apgd_t", "fab_t", "square")
    forwards = sum(columns[f"{stage}_forwards"] for stage in stages)
    backwards = sum(columns[f"{stage}_backwards"] for stage in stages)
    assert torch.equal(forwards, result.steps + result.forwards)
    assert torch.equal(backwards, result.steps)
    for number, stage in enumerate(stages, 1):
        spared = (columns["stage"] > 0) & (columns["stage"] < number)
        assert (columns[f"{stage}_forwards"][spared] == 0).all(), "the broken leave"
    first = attack.stages("linf")[0](model, image, label, Linf(0.03), draw)
    by_first = model.model(first.image).argmax(1) != label
    assert torch.equal(columns["stage"] == 1, by_first)


def test_fab_finds_the_distance_to_a_hyperplane() -> None:
    """On a linear model of two classes |w·x + b| / ||w||_q is the least change, q dual to p."""
    weight = torch.randn(16, generator=torch.Generator().manual_seed(0))
    offset = -0.5 * weight.sum()  # images in the middle lie on both sides
    model = Queries(
        lambda x: torch.stack([0 * x.sum((1, 2, 3)), x.flatten(1) @ weight + offset], 1)
    )
    image = 0.5 + 0.02 * torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    label, draw = model(image).argmax(1), Draw(0, torch.arange(20))
    value = (image.flatten(1) @ weight + offset).abs()
    for ball, dual in ((Linf, 1), (L2, 2), (L1, torch.inf)):
        distance = value / torch.linalg.vector_norm(weight, dual)
        radius = float(distance.median())
        found = FAB(steps=20)(model, image, label, ball(radius), draw).image
        broken = model(found).argmax(1) != label
        assert broken[distance < radius / 1.06].all(), "its overshoot is 1.05"
        assert not broken[distance > radius].any()


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5), L1(2.0)], ids=str)
@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 9, 4), (1, 1, 7)], ids=str)
def test_square_reaches_every_pixel_of_any_shape(ball: ThreatModel, shape: tuple[int, ...]) -> None:
    """The last row and column too, which an exclusive bound would leave alone."""
    image, draw = torch.full((300, *shape), 0.5), Draw(0, torch.arange(300))
    patches = PATCHES[ball.norm]
    start = patches.start(image, ball, draw)
    random = draw.uniform("square", 0, (patches.numbers(shape[0]),))
    moved = patches.proposed(image, image, ball, Square().side(300, *shape[1:]), random)
    for proposal in (start, moved):
        assert ball.contains(proposal, image).all()
    assert ((moved != image).sum((0, 1)) > 0).all()


def test_certificate_tells_stages_costs_and_the_early_verdict() -> None:
    n = 100
    stage = np.repeat([-1, 0, 1, 2, 3, 4], [10, 40, 30, 15, 3, 2])
    names = ("apgd_ce", "apgd_t", "fab_t", "square")
    rows = pd.DataFrame(
        {"index": range(n), "stage": stage, "clean_correct": stage >= 0, "correct": stage == 0}
    ).astype(int)
    for position, name in enumerate(names, 1):
        met = (stage == 0) | (stage >= position)
        cost = {"forwards": 10, "backwards": 5, "seconds": 1.0}
        for kind, each in cost.items():
            rows[f"{name}_{kind}"] = np.where(stage < 0, -1, each * met)
    certificate = Certificate("AutoAttack standard (L∞)", "seed 0", rows)
    assert certificate.stages == [*names]
    numbers = certificate.numbers("autoattack_linf", "")
    assert numbers["autoattack_linf_early_acc"].interval.value == 0.45, "40, and 5 broken later"
    assert numbers["autoattack_linf_forwards"].interval.value == 10 * (90 + 60 + 45 + 42)
    said = " ".join(certificate.sentences())
    assert "APGD-CE broke 30, APGD-T broke 15, FAB-T broke 3, Square broke 2" in said
    assert "after APGD-CE and APGD-T and 63 % of the time, was 45.0 % right" in said


@pytest.mark.parametrize("arguments", [{"version": "custom"}, {"steps": 0}, {"targets": 0}])
def test_bad_arguments(arguments: dict) -> None:
    with pytest.raises(UserError, match="Expected"):
        AutoAttack(**arguments)
