"""Attacks against closed forms on a linear model, and what every attack promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial import (
    APGD,
    FAB,
    FGSM,
    L1,
    L2,
    MIFGSM,
    NES,
    PGD,
    SPSA,
    Attack,
    AutoAttack,
    HopSkipJump,
    Linf,
    RandomStartFGSM,
    Square,
    TargetedAPGD,
    TargetedFAB,
)
from callbacks.adversarial import ATTACKS as KNOWN
from callbacks.adversarial.attack import about
from callbacks.adversarial.losses import TARGETED_LOSSES
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

BALLS: dict[str, ThreatModel] = {"linf": Linf(0.1), "l2": L2(0.25), "l1": L1(0.5)}
ATTACKS: list[Attack] = [
    FGSM(),
    FGSM(loss="margin"),
    RandomStartFGSM(),
    PGD(steps=20),
    PGD(steps=20, loss="dlr"),
    PGD(steps=20, restarts=2),
    PGD(steps=40, relative_step=10),
    PGD(steps=40, relative_step=10, loss="margin", random_start=False),
    MIFGSM(),
    APGD(steps=20),
    APGD(steps=20, loss="dlr", restarts=2),
    APGD(steps=7, eot=2),
    TargetedAPGD(steps=5),
    FAB(steps=4, restarts=2),
    TargetedFAB(steps=4),
    Square(queries=80),
    SPSA(steps=8, samples=16),
    NES(steps=10, samples=32),
    HopSkipJump(steps=3, samples=12),
    AutoAttack(steps=3, queries=70),
    AutoAttack("plus", steps=2, queries=3),
    AutoAttack("rand", steps=2, eot=2),
]
# The versions of AutoAttack are made of the others: each once is enough.
ONCE = {"plus": ("l2",), "rand": ("l1",)}
CASES = [
    (attack, BALLS[norm])
    for attack in ATTACKS
    for norm in ONCE.get(getattr(attack, "version", ""), about(attack).norms)
]
IDS = [f"{attack} {threat}" for attack, threat in CASES]
EACH = pytest.mark.parametrize(("attack", "threat"), CASES, ids=IDS)
# Those that climb a loss, and have the steps to get to the top of a linear one.
CLIMBERS = [
    (attack, threat)
    for attack, threat in CASES
    if isinstance(attack, FGSM | APGD | MIFGSM)
    or (isinstance(attack, PGD) and (attack.relative_step > 3 or threat.norm == "linf"))
    if getattr(attack, "eot", 1) == 1 and threat.norm != "l1"  # whose steps are two pixels wide
]
TARGETS = (TargetedAPGD, TargetedFAB, AutoAttack)  # 9 at most, of the 4 that there are
TARGETED = [case for case in CASES if about(case[0]).targeted and hasattr(case[0], "loss")]
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


@pytest.mark.parametrize(("attack", "threat"), CLIMBERS)
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
    more = 0 if result.backwards is None else int(result.backwards.sum())
    assert model.backwards == int(result.steps.sum()) + more
    assert model.forwards == int((result.steps + result.forwards).sum())
    if threat.norm != "l1":  # there AutoAttack has more restarts and fewer targets
        assert int(result.steps.max()) <= attack.gradients
        assert int(result.forwards.max()) <= about(attack).forwards + (objective == "loss") * 6
    if objective == "loss" and not isinstance(attack, TARGETS):
        assert int(result.steps.sum()) == len(image) * attack.gradients


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


@pytest.mark.parametrize(("attack", "threat"), TARGETED)
def test_targeted_moves_towards_the_target(attack: Attack, threat: ThreatModel) -> None:
    model, _ = linear(5)
    image, label, draw = samples()
    target = (label + 2) % 5
    result = attack(model, image, label, threat, draw, target=target, objective="loss")
    loss = TARGETED_LOSSES[attack.loss]  # type: ignore[attr-defined]
    before, after = (loss(model(x), label, target) for x in (image, result.worst))
    assert (after > before).all()


@EACH
def test_answers_that_are_no_numbers_are_errors_and_spoil_nothing(
    attack: Attack, threat: ThreatModel
) -> None:
    """Dark images get NaN for an answer, and all gradients are NaN there."""
    model, _ = linear(5)

    def half(image: Tensor) -> Tensor:
        dark = image.flatten(1).mean(1, keepdim=True) < 0.5
        return torch.where(dark, torch.nan, 1) * model.model(image)

    image, label, draw = samples()
    found = attack(Queries(half, 8), image, label, threat, draw).image
    assert threat.contains(found, image).all()
    nothing = attack(Queries(lambda x: model.model(x) * torch.nan), image, label, threat, draw)
    assert threat.contains(nothing.image, image).all()
    if threat.norm != "l1":  # where APGD begins outside the ball
        assert (nothing.steps + nothing.forwards <= 3).all(), "the first point is an error"


@EACH
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes(attack: Attack, threat: ThreatModel, classes: int) -> None:
    """Where DLR and nine targets do not exist; on a linear model every attack finds the way."""
    model, _ = linear(classes)
    image, label, draw = samples(low=0.49, high=0.51)
    wide = type(threat)(4 * threat.epsilon)  # type: ignore[call-arg]
    found = attack(model, image, label, wide, draw).image
    assert (model(found).argmax(1) != label).all()


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
    known = {about(made()).name for made in KNOWN.values()}
    tested = {about(type(attack)()).name for attack in ATTACKS}
    variants = {"apgd_dlr", "autoattack_plus", "autoattack_rand", "transfer"}  # see test_transfer
    assert known <= tested | variants
