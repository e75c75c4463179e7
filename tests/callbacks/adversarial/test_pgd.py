"""What PGD alone promises: restarts, the active set, step lengths, models that misbehave."""

import pytest
import torch
from torch import Tensor

from callbacks.adversarial import FGSM, L2, PGD, Linf, active
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

BALLS: list[ThreatModel] = [Linf(0.04), L2(0.3)]
EACH = pytest.mark.parametrize("ball", BALLS, ids=str)


def network(seed: int = 0) -> torch.nn.Module:
    """Curved enough that iterates cross the boundary at different steps, and back."""
    torch.manual_seed(seed)
    layers = [
        torch.nn.Conv2d(1, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(288, 5),
    ]
    return torch.nn.Sequential(*layers).eval().requires_grad_(False)


def samples(model: torch.nn.Module, n: int = 60) -> tuple[Tensor, Tensor, Draw]:
    """Images the model gets right."""
    image = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return image, model(image).argmax(1), Draw(0, torch.arange(n))


@EACH
def test_looking_seldom_as_on_a_gpu_changes_nothing(
    ball: ThreatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    image, label, draw = samples(model)
    each_step = PGD(steps=10)(Queries(model, 8), image, label, ball, draw)
    monkeypatch.setattr(active, "STEPS_BETWEEN_LOOKS", {})
    asked = Queries(model, 8)
    seldom = PGD(steps=10)(asked, image, label, ball, draw)
    for one, other in zip(each_step[:5], seldom[:5], strict=True):
        assert torch.equal(one, other)
    assert asked.backwards >= int(seldom.steps.sum()), "counts what was sent, not what was needed"


@EACH
def test_first_success_counts_else_the_highest_loss(ball: ThreatModel) -> None:
    model = network()
    image, label, draw = samples(model)
    attack = PGD(steps=5, restarts=3)
    both = attack(Queries(model, 8), image, label, ball, draw, objective="loss")
    broken = model(both.image).argmax(1) != label
    assert 0 < int(broken.sum()) < len(label), "a test of both rules needs both kinds"
    assert torch.equal(both.image[~broken], both.worst[~broken])
    assert (both.steps == 15).all()
    assert (both.forwards == 3).all()
    quick = attack(Queries(model, 8), image, label, ball, draw)
    assert torch.equal(quick.image, both.image)
    assert (quick.steps[~broken] == 15).all()
    first = PGD(steps=5)(Queries(model, 8), image, label, ball, draw)
    in_first = model(first.image).argmax(1) != label
    assert torch.equal(quick.image[in_first], first.image[in_first])


def test_restarts_begin_elsewhere() -> None:
    image, draw = torch.full((50, 1, 8, 8), 0.5), Draw(0, torch.arange(50))
    starts = [ball.sample(image, draw, restart) for ball in BALLS for restart in range(3)]
    for i, one in enumerate(starts):
        for other in starts[:i]:
            assert not (one == other).flatten(1).all(1).any()


@EACH
def test_one_long_step_without_start_is_fgsm(ball: ThreatModel) -> None:
    model = network()
    image, label, draw = samples(model)
    one = PGD(steps=1, relative_step=1.0, random_start=False, returns="last")
    found = one(Queries(model, 8), image, label, ball, draw).image
    expected = FGSM()(Queries(model, 8), image, label, ball, draw).image
    assert torch.equal(found, expected)


def test_step_lengths() -> None:
    image, label, draw = (
        torch.full((4, 1, 8, 8), 0.5),
        torch.zeros(4).long(),
        Draw(0, torch.arange(4)),
    )
    model = Queries(lambda x: torch.stack([-x.sum((1, 2, 3)), x.sum((1, 2, 3))], 1))
    for attack, expected in [
        (PGD(steps=2, step_size=0.01, random_start=False, returns="last"), 0.02),
        (PGD(steps=10, relative_step=0.5, random_start=False, returns="last"), 0.05),
        (PGD(steps=10, random_start=False, returns="last"), 0.1),  # 2.5 radii: stopped at the edge
    ]:
        moved = (
            (attack(model, image, label, Linf(0.1), draw).image - image).abs().flatten(1).amax(1)
        )
        torch.testing.assert_close(moved, torch.full((4,), expected))


@EACH
def test_no_gradient_means_no_step(ball: ThreatModel) -> None:
    model = Queries(lambda x: x.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 0.0, 0.0]))
    image, label, draw = torch.rand(4, 1, 8, 8), torch.zeros(4).long(), Draw(0, torch.arange(4))
    found = PGD(steps=3, random_start=False)(model, image, label, ball, draw)
    assert torch.equal(found.image, image)


@EACH
def test_gradients_that_are_not_numbers_do_not_spoil_images(ball: ThreatModel) -> None:
    def model(x: Tensor) -> Tensor:  # the root has an infinite slope at 0: 0 · inf is not a number
        root = (x.flatten(1)[:, :3] * 0).sqrt()
        return torch.cat([root + 1, x.flatten(1)[:, 3:5]], 1)

    image, label, draw = torch.rand(4, 1, 8, 8), torch.zeros(4).long(), Draw(0, torch.arange(4))
    found = PGD(steps=3)(Queries(model, 8), image, label, ball, draw)
    assert found.image.isfinite().all()
    assert ball.contains(found.image, image).all()


def test_an_answer_that_is_not_finite_is_a_wrong_answer() -> None:
    def model(x: Tensor) -> Tensor:  # class 0 everywhere, but nothing at all for bright images
        mean = x.mean((1, 2, 3))
        logits = torch.stack([1 - mean, -1 + mean, -2 + mean], 1)
        return torch.where(mean[:, None] > 0.55, torch.nan, logits)

    image, label, draw = (
        torch.full((4, 1, 8, 8), 0.5),
        torch.zeros(4).long(),
        Draw(0, torch.arange(4)),
    )
    attack = PGD(steps=20, step_size=0.02, random_start=False)
    found = attack(Queries(model), image, label, Linf(0.4), draw)
    assert model(found.image).isnan().all()
    assert (found.steps == 4).all(), "0.50, 0.52, 0.54, 0.56: the fourth iterate, at once"


def test_targets_are_reached() -> None:
    model = network()
    image, label, draw = samples(model)
    target = (label + 1) % 5
    found = PGD(steps=20)(Queries(model, 8), image, label, Linf(0.5), draw, target=target)
    reached = model(found.image).argmax(1) == target
    assert reached.float().mean() > 0.9
    assert (found.steps[~reached] == 20).all(), "another wrong class is no success"


BAD = [
    ({"step_size": 0.0}, "Expected `step_size` to be a number above 0, but got 0.0."),
    ({"relative_step": -1.0}, "Expected `relative_step` to be a number above 0, but got -1.0."),
    ({"restarts": 2, "returns": "last"}, "need `returns='best'`"),
    ({"loss": "cw"}, "Expected `loss` to be one of ce, margin, dlr, but got 'cw'."),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PGD(**arguments)
