"""Attacks against closed forms on a linear model, and what every attack promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial import FGSM, L2, PGD, PROBES, Attack, Linf
from callbacks.adversarial.losses import TARGETED_LOSSES
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

CASES: list[tuple[Attack, ThreatModel]] = [
    (FGSM(), Linf(0.1)),
    (FGSM(loss="margin"), Linf(0.1)),
    (FGSM(), L2(0.25)),
    (PGD(steps=20), Linf(0.1)),
    (PGD(steps=20, loss="dlr"), Linf(0.1)),
    (PGD(steps=20, random_start=False), Linf(0.1)),
    (PGD(steps=20, restarts=2), Linf(0.1)),
    (PGD(steps=40, relative_step=10), L2(0.25)),
    (PGD(steps=40, relative_step=10, loss="margin", random_start=False), L2(0.25)),
]
IDS = [f"{attack} {threat}" for attack, threat in CASES]
EACH = pytest.mark.parametrize(("attack", "threat"), CASES, ids=IDS)
SHAPE = (1, 4, 4)


def linear(classes: int = 2, seed: int = 0) -> tuple[Queries, Tensor]:
    """A linear classifier; with two classes the loss is convex along one known direction."""
    weight = torch.randn(classes, 16, generator=torch.Generator().manual_seed(seed))
    return Queries(lambda image: image.flatten(1) @ weight.T, chunk=8), weight


def samples(n: int = 30, low: float = 0.45, high: float = 0.55) -> tuple[Tensor, Tensor, Draw]:
    """Images so far inside the box that no ball of the cases leaves it."""
    generator = torch.Generator().manual_seed(1)
    image = low + (high - low) * torch.rand(n, *SHAPE, generator=generator)
    return image, torch.arange(n) % 2, Draw(0, torch.arange(n))


@EACH
def test_reaches_the_optimum_of_a_linear_model(attack: Attack, threat: ThreatModel) -> None:
    """max over the ball of CE = CE at x + eps · (sign(w) or w/||w||), w = w_other - w_label."""
    model, weight = linear()
    image, label, draw = samples()
    result = attack(model, image, label, threat, draw, objective="loss")
    push = (weight[1 - label] - weight[label]).reshape(-1, *SHAPE)
    best = image + threat.epsilon * threat.ascent(push)
    optimum = F.cross_entropy(model(best), label, reduction="none")
    reached = F.cross_entropy(model(result.worst), label, reduction="none")
    # Exact for FGSM and in the corner of a cube; on a sphere PGD turns towards the optimum by
    # exp(-10) of the angle over a path of 10 radii, and float32 steps leave some 1e-4 of it.
    assert torch.all(reached <= optimum * (1 + 1e-5))
    torch.testing.assert_close(
        reached, optimum, rtol=1e-3 if isinstance(threat, L2) else 1e-5, atol=1e-5
    )


@EACH
@pytest.mark.parametrize("objective", ["verdict", "loss"])
def test_result_is_admissible_and_counted(
    attack: Attack, threat: ThreatModel, objective: str
) -> None:
    model, _ = linear(5)
    image, label, draw = samples(low=0.0, high=1.0)  # at the edges of the box
    before = image.clone()
    result = attack(model, image, label, threat, draw, objective=objective)  # type: ignore[arg-type]
    assert torch.equal(image, before)
    for found in (result.image, result.worst):
        assert threat.contains(found, image).all()
    assert model.backwards == int(result.steps.sum())
    assert model.forwards == int((result.steps + result.forwards).sum())
    assert int(result.steps.max()) <= attack.gradients
    if objective == "loss":
        assert model.backwards == len(image) * attack.gradients


@EACH
def test_dropping_broken_images_changes_no_verdict(attack: Attack, threat: ThreatModel) -> None:
    model, _ = linear(5)
    image, label, draw = samples(60)
    quick = attack(model, image, label, threat, draw, objective="verdict")
    full = attack(model, image, label, threat, draw, objective="loss")
    assert torch.equal(model(quick.image).argmax(1), model(full.image).argmax(1))
    assert torch.equal(quick.image, full.image), "the first adversarial iterate, or the worst"


@EACH
def test_results_do_not_depend_on_the_company(attack: Attack, threat: ThreatModel) -> None:
    model, _ = linear(5)
    image, label, draw = samples()
    together = attack(model, image, label, threat, draw).image
    rows = torch.tensor([29, 3, 4])
    alone = attack(model, image[rows], label[rows], threat, draw.select(rows)).image
    assert torch.equal(alone, together[rows])


@EACH
def test_targeted_moves_towards_the_target(attack: Attack, threat: ThreatModel) -> None:
    model, _ = linear(5)
    image, label, draw = samples()
    target = (label + 2) % 5
    result = attack(model, image, label, threat, draw, target=target, objective="loss")
    loss = TARGETED_LOSSES[attack.loss]
    before, after = (loss(model(x), label, target) for x in (image, result.worst))
    assert (after > before).all()


def test_more_effort_never_breaks_fewer() -> None:
    model, _ = linear(5)
    image, label, draw = samples(200)

    def broken(attack: Attack) -> int:
        found = attack(model, image, label, Linf(0.05), draw).image
        return int((model(found).argmax(1) != label).sum())

    assert broken(PGD(steps=20, restarts=3)) >= broken(PGD(steps=20)) >= broken(PGD(steps=2))
    assert broken(PGD(steps=20)) >= broken(FGSM()) - 2  # random starts may lose an image or two


def test_gradients_far_below_float_resolution_still_attack() -> None:
    """A confident model: cross-entropy gradients near 1e-30 must not leave images in peace."""
    weight = torch.randn(2, 16, generator=torch.Generator().manual_seed(0)) * 60
    model = Queries(lambda image: image.flatten(1) @ weight.T)
    image, _, draw = samples()
    label = model(image).argmax(1)
    for threat in (Linf(0.3), L2(3.0)):
        found = PGD(steps=10, loss="margin")(model, image, label, threat, draw).image
        assert (model(found).argmax(1) != label).float().mean() > 0.9


def test_last_iterate_is_what_other_libraries_return() -> None:
    model, _ = linear(5)
    image, label, draw = samples()
    attack = PGD(steps=3, step_size=0.01, random_start=False, returns="last")
    result = attack(model, image, label, Linf(0.1), draw)
    assert (result.steps == 3).all()
    moved = (result.image - image).abs().flatten(1).amax(1)
    torch.testing.assert_close(moved, torch.full((30,), 0.03), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"restarts": 0}, "at least 1"),
        ({"restarts": 2, "random_start": False}, "all are alike"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PGD(**arguments)


def test_every_attack_is_in_the_table() -> None:
    assert {type(attack) for attack, _ in CASES} == {
        entry.options["attack"] for entry in PROBES.values()
    }
