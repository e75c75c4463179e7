"""Searches along a decision boundary that ask for nothing but decisions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.directions import Directions, groups
from callbacks.adversarial.found import Found
from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw

MOST_ROUNDS = 24
"""Of halving: a float32 share near 1 is not known any better."""
MOST_HALVINGS = 20
"""Of a step that leads out of the adversarial region."""


class Decisions:
    """Whether images are adversarial, counted: of an answer the largest logit alone is looked at.

    Args:
        model: the classifier.
        found: counts the questions, image by image.
    """

    def __init__(self, model: Queries, found: Found) -> None:
        self.model, self.found = model, found

    def __call__(self, active: Active, image: Tensor) -> Tensor:
        """`(n,)` bool of `(n, C, H, W)` images, one for each that is active."""
        self.found.pay(active.rows, "forwards")
        return active.broken(self.model(image))

    def of_several(self, active: Active, image: Tensor) -> Tensor:
        """`(n, g)` bool of `(n, g, C, H, W)` images."""
        size = image.shape[1]
        self.found.pay(active.rows, "forwards", size)
        logits = self.model(image.flatten(0, 1)).unflatten(0, image.shape[:2])
        return torch.stack([active.broken(logits[:, i]) for i in range(size)], 1)


def noise_starts(
    decide: Decisions, active: Active, draw: Draw, trials: int
) -> tuple[Active, Tensor]:
    """Moves images to noise that is adversarial for them.

    One kind of noise is often one class to a model, and no start for its own images: so uniform
    noise comes first, then noise in ever larger squares, down to one colour, and so on in turn.

    Args:
        decide: asked once a trial.
        active: `n` images.
        draw: of these images.
        trials: at most.

    Returns:
        The images, those without a start where they were, and `(n,)` bool: those with one.
    """
    point = active.point.clone()
    left = torch.arange(len(point), device=point.device)
    for trial in range(trials):
        noise = _noise(draw.select(left), trial, tuple(point.shape[1:]))
        hit = decide(active.select(left), noise)
        point[left[hit]] = noise[hit]
        left = left[~hit]
        if not len(left):
            break
    has_start = torch.ones(len(point), dtype=torch.bool, device=point.device)
    has_start[left] = False
    return active._replace(point=point), has_start


def onto_boundary(
    decide: Decisions, active: Active, threat: ThreatModel, precision: float
) -> Tensor:
    """Halves the way from adversarial points to their origins until it is known where it ends.

    L2 goes straight; L∞ keeps the sign of every pixel's change and limits its size.

    Args:
        decide: asked once a round.
        active: `n` images at adversarial points.
        threat: its norm.
        precision: of the way, as a share of it.

    Returns:
        `(n, C, H, W)`, the nearest point that was found adversarial.
    """
    best, change = active.point, active.point - active.origin
    low = torch.zeros(len(best), device=best.device)
    high, largest = torch.ones_like(low), change.abs().flatten(1).amax(1)
    for _ in range(min(math.ceil(math.log2(1 / precision)), MOST_ROUNDS)):
        share = (low + high) / 2
        if threat.norm == "linf":
            limit = beside(share * largest)
            kept = change.clamp(-limit, limit)
        else:
            kept = change * beside(share)
        middle = (active.origin + kept).clamp_(0, 1)
        hit = decide(active, middle)
        best = torch.where(beside(hit), middle, best)
        low, high = torch.where(hit, low, share), torch.where(hit, share, high)
    return best


def estimated_normal(
    decide: Decisions,
    active: Active,
    draw: Draw,
    directions: Directions,
    *,
    first: int,
    count: int,
    width: Tensor,
) -> Tensor:
    """Estimates which way the adversarial region lies, from decisions near the boundary.

    The mean of changes times their decisions (+1 or -1), less the mean decision, which removes what
    is common to all (Chen et al. 2020, 1904.02144, equation 16).

    Args:
        decide: asked `count` times.
        active: `n` images at points on the boundary.
        draw: of these images.
        directions: of the changes, which are brought to length 1.
        first: number of the first direction.
        count: directions.
        width: `(n,)` lengths of the changes.

    Returns:
        `(n, C, H, W)`, of any length.
    """
    inside, outside = torch.zeros_like(active.point), torch.zeros_like(active.point)
    hits = torch.zeros(len(inside), device=inside.device)
    shape, most = tuple(inside.shape[1:]), decide.model.chunk or len(inside)
    length = width[:, None, None, None, None]
    for group in groups(directions, draw, shape, first, count, most):
        unit = F.normalize(group.direction.flatten(2), dim=2).reshape(group.direction.shape)
        image = (active.point[:, None] + length * unit).clamp_(0, 1)
        change = (image - active.point[:, None]) / length
        hit = decide.of_several(active, image)
        hits += hit.sum(1)
        for i in range(group.size):  # one by one: sums are rounded alike in any group
            adversarial = beside(hit[:, i])
            inside += change[:, i] * adversarial
            outside += change[:, i] * ~adversarial
    mean = 2 * hits / count - 1
    both = beside(1 - mean) * inside - beside(1 + mean) * outside
    return torch.where(beside(mean.abs() == 1), inside - outside, both)


def stepped(
    decide: Decisions, active: Active, normal: Tensor, threat: ThreatModel, length: Tensor
) -> Tensor:
    """Steps into the adversarial region, half as far wherever that leads out of it.

    Args:
        decide: asked once a halving, about images without a step so far.
        active: `n` images at adversarial points.
        normal: `(n, C, H, W)`.
        threat: its norm.
        length: `(n,)` of the first steps.

    Returns:
        `(n, C, H, W)` adversarial points; where no step is one, those that there were.
    """
    point, move = active.point.clone(), threat.ascent(normal)
    left = torch.arange(len(point), device=point.device)
    for halving in range(MOST_HALVINGS):
        part = active.select(left)
        candidate = part.point + beside(length[left] / 2**halving) * move[left]
        hit = decide(part, candidate.clamp_(0, 1))
        point[left[hit]] = candidate[hit]
        left = left[~hit]
        if not len(left):
            break
    return point


def _noise(draw: Draw, trial: int, shape: tuple[int, ...]) -> Tensor:
    """Uniform noise in squares: single pixels, then 1, 2, 4, ... squares a side."""
    channels, height, width = shape
    kinds = 1 + math.ceil(math.log2(max(height, width, 2)))
    kind = trial % kinds
    if kind == 0:
        return draw.uniform("start", trial, shape)
    coarse = draw.uniform("start", trial, (channels, *[2 ** (kind - 1)] * 2))
    return F.interpolate(coarse, (height, width), mode="nearest")
