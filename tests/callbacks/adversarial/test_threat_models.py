"""Balls: projection, sampling and distance against closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from callbacks.adversarial import FGSM, L1, L2, AdversarialProbe, AdversarialTraining, Linf
from callbacks.adversarial.probe import Norm
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.randomness import Draw
from datamodules.errors import UserError

BALLS: list[ThreatModel] = [Linf(0.1), L2(0.8), L1(4.0)]
EACH = pytest.mark.parametrize("ball", BALLS, ids=str)


def images(n: int = 50) -> torch.Tensor:
    return torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@EACH
def test_projection_is_admissible_idempotent_and_leaves_the_inside_alone(ball: ThreatModel) -> None:
    origin = images()
    far = origin + torch.randn(origin.shape, generator=torch.Generator().manual_seed(1))
    once = ball.project(far, origin)
    assert ball.contains(once, origin).all()
    torch.testing.assert_close(ball.project(once, origin), once, rtol=0, atol=1e-6)
    inside = ball.project(origin + 0.01 * (far - origin), origin)
    torch.testing.assert_close(
        inside, (origin + 0.01 * (far - origin)).clamp(0, 1), rtol=0, atol=1e-6
    )


@EACH
def test_distance_is_numpys(ball: ThreatModel) -> None:
    a, b = images(), images().flip(0)
    order = {"linf": np.inf, "l2": 2, "l1": 1}[ball.norm]
    expected = np.linalg.norm((a - b).flatten(1).double().numpy(), order, axis=1)
    np.testing.assert_allclose(ball.measure(a, b), expected, rtol=1e-5)


@EACH
def test_what_is_not_admissible_is_seen(ball: ThreatModel) -> None:
    origin = torch.full((4, 1, 2, 2), 0.5)
    image = origin.clone()
    image[0] += 2 * ball.epsilon
    image[1, 0, 0, 0] = torch.nan
    origin[2], image[2] = 1.0, 1.0 + 1e-3
    assert ball.contains(image, origin).tolist() == [False, False, False, True]


def test_random_starts_fill_the_ball_uniformly() -> None:
    origin = torch.full((4000, 1, 2, 2), 0.5)  # the ball does not reach the box
    draw = Draw(0, torch.arange(4000))
    change = (Linf(0.2).sample(origin, draw, 0) - origin) / 0.2
    assert stats.kstest(change.flatten(), "uniform", (-1, 2)).pvalue > 1e-3
    radius = L2(0.4).measure(L2(0.4).sample(origin, draw, 0), origin) / 0.4
    # uniform in a ball of d dimensions: radius^d is uniform
    assert stats.kstest(radius**4, "uniform").pvalue > 1e-3


def test_steepest_steps() -> None:
    gradient = torch.tensor([3.0, -4e-30, 0.0, 0.0]).reshape(1, 1, 2, 2)
    assert Linf(0.1).ascent(gradient).flatten().tolist() == [1, -1, 0, 0]
    tiny = torch.tensor([3e-30, -4e-30, 0.0, 0.0]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(L2(1.0).ascent(tiny).flatten(), torch.tensor([0.6, -0.8, 0, 0]))
    assert L2(1.0).ascent(torch.zeros(2, 1, 2, 2)).abs().sum() == 0
    assert L1(1.0).ascent(gradient * 1e-30).flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("given", "norm", "value"),
    [("8/255", "linf", 8 / 255), (0.3, "linf", 0.3), ("0.5", "l2", 0.5), (3, "l2", 3.0)],
)
def test_radii_as_people_write_them(given: float | str, norm: Norm, value: float) -> None:
    assert AdversarialProbe(FGSM(), norm, [given]).epsilons == (value,)
    assert AdversarialTraining(given, norm).threat.epsilon == value


@pytest.mark.parametrize(
    ("given", "norm", "message"),
    [
        (8, "linf", r"write 8/255"),
        ("300/255", "linf", "at most 1"),
        ("8/0", "linf", "such as 0.03 or 8/255"),
        ("eight", "l2", "such as 0.03 or 8/255"),
        (float("nan"), "l2", "finite"),
        (-0.1, "linf", "finite"),
    ],
)
def test_radii_that_are_none(given: float | str, norm: Norm, message: str) -> None:
    with pytest.raises(UserError, match=message):
        AdversarialProbe(FGSM(), norm, [given])
    with pytest.raises(UserError, match=message):
        AdversarialTraining(given, norm)
