"""A linear probe on fixed features, solved to the optimum."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.freezing import refuse_tied_head
from lightning_modules.heads import find_head
from lightning_modules.newton import Point, newton_cg
from lightning_modules.plain_layers import plain_layer

STRENGTHS = tuple(10.0 ** (1 - 0.75 * i) for i in range(10))
"""Ten, from 10 down to 2e-6; for features of unit size, strongest first for warm starts."""
_ROUGH = 1e-4  # gradient from which Newton's steps are quicker


@dataclass(frozen=True)
class LinearProbe:
    """A multinomial logistic regression.

    Args:
        weight: `(K, D)` float64.
        bias: `(K,)` float64.
        strength: of the L2 penalty it was solved with.
        accuracy: on the samples it was selected by; NaN where there were none.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    accuracy: float = float("nan")

    def __call__(self, feature: Tensor) -> Tensor:
        """From features `(N, D)` to float32 logits `(N, K)`."""
        return (feature.double() @ self.weight.T + self.bias).float()

    def install(self, model: nn.Module) -> None:
        """Writes the probe into the head of a network, which has K outputs already.

        Raises:
            UserError: the network's answer is not a linear function of what goes into its head, or
                the head's weight is one of the backbone's too.
        """
        refuse_tied_head(model)
        head = find_head(model)
        if not head.linear:
            raise UserError(
                f"Expected a head whose answer is linear in what goes into it, to put a linear "
                f"probe into it, but {head.name!r} is followed by a {head.link}, a "
                f"{head.reduction}, or is no plain layer."
            )
        layer = plain_layer(model, head.name)
        if layer.bias is None:
            raise UserError("Expected a head with a bias, to put a linear probe into it.")
        with torch.no_grad():
            layer.weight.copy_((self.weight / head.scale).view_as(layer.weight))
            layer.bias.copy_(self.bias / head.scale)


class Regression:
    """The samples of one regression in coordinates that make every solve quick.

    Minimises mean cross-entropy + strength/2 |W|^2 over features that are centred and divided by
    one number, their root mean square; the bias is free. That is scikit-learn's objective with
    C = 1 / (N strength) on the same features. Rotating features onto their principal axes changes
    neither loss nor penalty, leaves at most min(N, D) coordinates, and makes the curvature bound
    (Böhning 1992) diagonal, by which the weights are preconditioned.

    Args:
        feature: `(N, D)`.
        label: `(N,)`.
        classes: K, also those without a sample here.
    """

    def __init__(self, feature: Tensor, label: Tensor, classes: int) -> None:
        if not bool(torch.isfinite(feature).all()):
            raise UserError("Expected finite features for a linear probe, but got NaN or infinity.")
        feature = feature.double()
        self.mean = feature.mean(0)
        centred = feature - self.mean
        self.scale = float(centred.square().mean().sqrt()) or 1.0
        self.axes, self.spread = _principal(centred / self.scale)
        self.rotated = centred / self.scale @ self.axes
        self.target = F.one_hot(label, classes).double()

    def solve(
        self, strength: float, start: Tensor | None = None, tolerance: float = 1e-8
    ) -> Tensor:
        """Finds the optimum.

        Args:
            strength: of the penalty, > 0.
            start: `(K, r + 1)` of a neighbouring strength; None starts at zero.
            tolerance: largest component of the preconditioned gradient at the end.

        Returns:
            `(K, r + 1)` weights on the principal axes, bias last.
        """
        curvature = torch.cat([self.spread / 2, self.spread.new_full((1,), 0.5)])
        penalty = torch.full_like(curvature, strength)
        penalty[-1] = 0
        scale = (curvature + penalty).rsqrt()
        begin = scale.new_zeros(self.target.shape[1], len(scale)) if start is None else start
        rough = self._descended(begin / scale, scale, penalty, max(tolerance, _ROUGH))
        if tolerance >= _ROUGH:
            return rough * scale
        return newton_cg(rough, lambda x: self._at(x, scale, penalty), tolerance) * scale

    def _descended(self, start: Tensor, scale: Tensor, penalty: Tensor, tolerance: float) -> Tensor:
        """L-BFGS, which is quick as long as the curvature bound is near the curvature."""
        inner = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [inner],
            max_iter=500,
            tolerance_grad=tolerance,
            tolerance_change=1e-12,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        @torch.no_grad()
        def closure() -> Tensor:
            loss, inner.grad, _ = self._at(inner, scale, penalty)
            return loss

        optimizer.step(closure)
        return inner.detach()

    def _at(self, inner: Tensor, scale: Tensor, penalty: Tensor) -> Point:
        """Loss, gradient and Hessian by preconditioned weights `(K, r + 1)`."""
        weight = inner * scale
        n = len(self.target)
        log_probability = self._logits(weight).log_softmax(1)
        probability = log_probability.exp()

        def back(error: Tensor, weight: Tensor) -> Tensor:
            gradient = torch.cat([error.T @ self.rotated, error.sum(0)[:, None]], 1)
            return (gradient / n + penalty * weight) * scale

        def hessian(direction: Tensor) -> Tensor:
            change = probability * self._logits(direction * scale)
            return back(change - probability * change.sum(1, keepdim=True), direction * scale)

        loss = (penalty * weight.square()).sum() / 2 - (log_probability * self.target).sum() / n
        return loss, back(probability - self.target, weight), hessian

    def _logits(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight[:, -1], self.rotated, weight[:, :-1].T)

    def probe(
        self, solution: Tensor, strength: float, accuracy: float = float("nan")
    ) -> LinearProbe:
        """Turns a solution back into weights for the features as they came."""
        weight = solution[:, :-1] @ self.axes.T / self.scale
        return LinearProbe(weight, solution[:, -1] - weight @ self.mean, strength, accuracy)

    def coordinates(self, probe: LinearProbe) -> Tensor:
        """The inverse of `probe`, for a probe of any other samples: a start near the solution."""
        weight = probe.weight * self.scale @ self.axes
        bias = probe.bias + probe.weight @ self.mean
        return torch.cat([weight, bias[:, None]], 1)


def fit_linear_probe(
    feature: Tensor,
    label: Tensor,
    classes: int,
    selection: tuple[Tensor, Tensor] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    refit: bool = True,
) -> LinearProbe:
    """Selects the penalty on held-out samples, then solves anew on all (Kornblith et al. 2019).

    Args:
        feature: `(N, D)`, of the backbone in inference mode.
        label: `(N,)`.
        classes: K.
        selection: features and labels to select by; None (too few samples) takes the middle.
        strengths: of the penalty, strongest first; each solve starts from the one before. Equal
            accuracies are decided by the held-out loss.
        refit: solve anew on all samples; False leaves those to select by unlearnt.

    Returns:
        The probe; its accuracy is that on the held-out samples before they were learnt from.
    """
    if len(label.unique()) < 2:
        raise UserError("Expected samples of at least two classes for a linear probe, but got one.")
    if selection is None or len(selection[1]) == 0:
        strength = strengths[len(strengths) // 2]
        regression = Regression(feature, label, classes)
        return regression.probe(regression.solve(strength), strength)
    best = _selected(Regression(feature, label, classes), selection, strengths)
    if not refit:
        regression = Regression(feature, label, classes)
        solution = regression.solve(best.strength, regression.coordinates(best))
        return regression.probe(solution, best.strength, best.accuracy)
    together = Regression(
        torch.cat([feature, selection[0]]), torch.cat([label, selection[1]]), classes
    )
    solution = together.solve(best.strength, together.coordinates(best))
    return together.probe(solution, best.strength, best.accuracy)


def _selected(
    regression: Regression, selection: tuple[Tensor, Tensor], strengths: Sequence[float]
) -> LinearProbe:
    """The probe with the best held-out accuracy."""
    feature, label = selection[0].double(), selection[1]
    fits: list[tuple[float, float, LinearProbe]] = []
    solution = None
    for strength in strengths:
        # Near enough to tell strengths apart; the refit is solved to the end.
        solution = regression.solve(strength, solution, tolerance=3e-4)
        logits = regression.probe(solution, strength)(feature)
        accuracy = float((logits.argmax(1) == label).double().mean())
        probe = regression.probe(solution, strength, accuracy)
        fits.append((accuracy, -float(F.cross_entropy(logits, label)), probe))
    return max(fits, key=lambda fit: fit[:2])[2]


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Axes `(D, r)` and mean squares `(r,)` of centred features, by the smaller Gram matrix."""
    n, d = centred.shape
    if d <= n:
        values, vectors = torch.linalg.eigh(centred.T @ centred / n)
        kept = values > 1e-12 * values[-1]
        return vectors[:, kept], values[kept]
    values, vectors = torch.linalg.eigh(centred @ centred.T / n)
    kept = values > 1e-12 * values[-1]
    axes = centred.T @ vectors[:, kept] / (n * values[kept]).sqrt()
    return axes, values[kept]
