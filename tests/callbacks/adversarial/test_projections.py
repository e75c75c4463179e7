"""Projections inside the box against general solvers of quadratic and linear programs."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from callbacks.adversarial.projections import onto_hyperplane, onto_l1_ball

CASES = range(12)
PIXELS = 6


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """A point of the box (sometimes on its edge), a direction (sometimes 0), and a number."""
    generator = torch.Generator().manual_seed(seed)
    point = (1.6 * torch.rand(1, PIXELS, generator=generator) - 0.3).clamp(0, 1)
    direction = torch.randn(1, PIXELS, generator=generator)
    direction[0, seed % PIXELS] = 0
    return point, direction, float(torch.rand(1, generator=generator))


@pytest.mark.parametrize("seed", CASES)
def test_l1_ball_in_box_is_the_solution_of_the_quadratic_program(seed: int) -> None:
    """Changes are split into what is added and what is taken, so that the ball is linear."""
    point, direction, number = drawn(seed)
    shape, epsilon = (1, 1, 2, 3), 1.5 * number
    image = (point + direction).reshape(shape)
    nearest = onto_l1_ball(image, point.reshape(shape), epsilon).flatten().double().numpy()
    origin, far = point[0].double().numpy(), (point + direction)[0].double().numpy()

    def excess(change: np.ndarray) -> np.ndarray:
        return origin + change[:PIXELS] - change[PIXELS:] - far

    solved = minimize(
        lambda change: excess(change) @ excess(change),
        np.zeros(2 * PIXELS),
        jac=lambda change: 2 * np.concatenate([excess(change), -excess(change)]),
        bounds=[(0, 1 - x) for x in origin] + [(0, x) for x in origin],
        constraints=[{"type": "ineq", "fun": lambda change: epsilon - change.sum()}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    # SLSQP stops where the squared distance no longer falls by 1e-14, float32 pixels at 6e-8.
    np.testing.assert_allclose(nearest, excess(solved.x) + far, atol=1e-5)


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_onto_hyperplane_is_the_solution_of_the_linear_program(seed: int, norm: str) -> None:
    point, normal, value = drawn(seed)
    change = onto_hyperplane(point, normal, torch.tensor([value]), norm)[0].double().numpy()
    origin, slope = point[0].double().numpy(), normal[0].double().numpy()
    one = np.eye(PIXELS)
    if norm == "linf":  # the last variable is the length
        edge = np.ones((PIXELS, 1))
        solved = linprog(
            [0] * PIXELS + [1],
            A_ub=np.block([[one, -edge], [-one, -edge]]),
            b_ub=np.zeros(2 * PIXELS),
            A_eq=[[*slope, 0]],
            b_eq=[-value],
            bounds=[(-x, 1 - x) for x in origin] + [(0, None)],
        )
        length = np.abs(change).max()
    else:
        solved = linprog(
            [1] * 2 * PIXELS,
            A_eq=[[*slope, *-slope]],
            b_eq=[-value],
            bounds=[(0, 1 - x) for x in origin] + [(0, x) for x in origin],
        )
        length = np.abs(change).sum()
    reached = abs(value + slope @ change) < 1e-5  # float32
    assert reached == solved.success
    if reached:
        np.testing.assert_allclose(length, solved.fun, atol=1e-5)
    assert ((origin + change >= -1e-7) & (origin + change <= 1 + 1e-7)).all()


@pytest.mark.parametrize("seed", CASES)
def test_onto_hyperplane_is_the_solution_of_the_quadratic_program(seed: int) -> None:
    point, normal, value = drawn(seed)
    change = onto_hyperplane(point, normal, torch.tensor([value]), "l2")[0].double().numpy()
    origin, slope = point[0].double().numpy(), normal[0].double().numpy()
    solved = minimize(
        lambda change: change @ change,
        np.zeros(PIXELS),
        jac=lambda change: 2 * change,
        bounds=[(-x, 1 - x) for x in origin],
        constraints=[{"type": "eq", "fun": lambda c: slope @ c + value, "jac": lambda _: slope}],
        method="SLSQP",
        options={"ftol": 1e-15},
    )
    if solved.success:
        np.testing.assert_allclose(change, solved.x, atol=1e-4)  # SLSQP's own accuracy
    else:  # the box ends before: everything at its edge
        at_edge = np.isclose(origin + change, 0) | np.isclose(origin + change, 1) | (slope == 0)
        assert at_edge.all()


def test_many_pixels_end_on_the_ball() -> None:
    """Sums of float32 over a photograph's pixels: 2e-6 of the radius is what they can tell."""
    generator = torch.Generator().manual_seed(0)
    origin = torch.rand(3, 3, 64, 64, generator=generator)
    image = origin + torch.randn(origin.shape, generator=generator)
    change = (onto_l1_ball(image, origin, 12.0) - origin).double().flatten(1)
    torch.testing.assert_close(
        change.abs().sum(1), torch.full((3,), 12.0).double(), rtol=2e-6, atol=0
    )


def test_a_gradient_of_nothing_moves_nothing_and_a_tiny_one_does() -> None:
    point = torch.full((2, 2), 0.5)
    normal = torch.tensor([[0.0, 0.0], [1e-30, 0.0]])
    for norm in ("linf", "l2", "l1"):
        change = onto_hyperplane(point, normal, torch.tensor([1.0, 1e-31]), norm)
        torch.testing.assert_close(change, torch.tensor([[0.0, 0.0], [-0.1, 0.0]]))
