"""Sharpness against closed forms of losses whose curvature is known."""

import math

import pytest
import torch
from torch import Tensor

from callbacks.damage.sharpness import sharpness

WEIGHTS = {
    "wide": torch.randn(40, 50, generator=torch.Generator().manual_seed(0)),
    "small": 0.01 * torch.randn(3000, generator=torch.Generator().manual_seed(1)),
}
CURVATURE = {"wide": 2.0, "small": 500.0}


def quadratic(w: dict[str, Tensor]) -> Tensor:
    """With a slope, which must cancel."""
    return sum(CURVATURE[name] * (x**2).sum() / 2 + 3 * x.sum() for name, x in w.items())  # type: ignore[return-value]


def test_of_a_quadratic_it_is_half_the_trace_times_the_variance() -> None:
    """The variance is the share squared times the tensor's mean square."""
    closed = sum(CURVATURE[name] * (0.1 * w).square().sum() / 2 for name, w in WEIGHTS.items())
    # A sum of squares of 2,000 draws of the noise, 8 times: deviation sqrt(2 / 16000) = 1.1 %.
    assert sharpness(quadratic, WEIGHTS, 0.1, draws=8) == pytest.approx(float(closed), rel=0.04)


def test_it_grows_with_the_square_of_the_noise() -> None:
    small, large = (sharpness(quadratic, WEIGHTS, share, seed=3) for share in (0.1, 0.2))
    assert large == pytest.approx(4 * small, rel=1e-3)  # the loss is a float32 of about 2,000


def test_a_slope_has_none_and_a_hill_less_than_none() -> None:
    ones = {"w": torch.ones(1000, dtype=torch.float64)}
    assert sharpness(lambda w: 5 * w["w"].sum(), ones) == pytest.approx(0, abs=1e-9)
    assert sharpness(lambda w: -(w["w"] ** 2).sum() / 2, ones) == pytest.approx(-5, rel=0.1)


def test_layers_that_are_rescaled_are_as_sharp_as_before() -> None:
    """relu(a x) b = relu(10 a x) b / 10: the same function, though its Hessian differs."""
    a, b = torch.rand(30, 5), torch.rand(30)
    x = torch.rand(7, 5)

    def loss(w: dict[str, Tensor]) -> Tensor:
        return ((w["a"] @ x.T).relu().T @ w["b"] - 1).square().mean()

    one, other = ({"a": s * a, "b": b / s} for s in (1.0, 10.0))
    assert sharpness(loss, one) == pytest.approx(sharpness(loss, other), rel=1e-3)  # float32


def test_a_loss_that_is_no_number_is_told() -> None:
    assert not math.isfinite(sharpness(lambda w: w["w"].sum() / 0, {"w": torch.ones(3)}))
