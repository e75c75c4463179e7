"""How one pattern is learnt for many images: ascent on minibatches, in an order of its own."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.losses import cross_entropy, targeted_cross_entropy
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.batch import Batch

BATCH = 64
"""Images of an update, and of a call of the model while a pattern is learnt."""
_CLIP = 9.0  # nats; of Shafahi et al.: what is broken for sure pulls no more
_FIRST = 0.2  # of the whole reach is the first step; the steps shrink in proportion to what is left


class Shown(NamedTuple):
    """Images with a pattern on them.

    Args:
        image: `(N, C, H, W)` in [0, 1].
        columns: `(N,)` each, as `About.columns` names them: how it lies on each image.
    """

    image: Tensor
    columns: Mapping[str, Tensor]


class UniversalAttack(Protocol):
    """A pattern that is the same for every image, of one severity."""

    @property
    def steps(self) -> int:
        """Passes over the images that it is learnt on."""
        ...

    @property
    def about(self) -> About:
        """Names, the norms that there are, and columns of its own."""
        ...

    def start(self, norm: str, severity: float, shape: tuple[int, ...], device: str) -> Tensor:
        """What learning begins with, for images `(C, H, W)`."""
        ...

    def control(self, pattern: Tensor, norm: str, severity: float, seed: int) -> Tensor:
        """A random pattern of the same size."""
        ...

    def moved(
        self, pattern: Tensor, gradient: Tensor, norm: str, severity: float, part: float
    ) -> Tensor:
        """The pattern after a step of `part` of its reach along the gradient."""
        ...

    def show(
        self, image: Tensor, pattern: Tensor, norm: str, severity: float, draw: Draw, number: int
    ) -> Shown:
        """Puts the pattern on images; `number` tells one placement from the next."""
        ...


class Learnt(NamedTuple):
    """A pattern, and what it cost.

    Args:
        pattern: as `UniversalAttack.show` takes it.
        gradients: of single images: a forward and a backward each.
    """

    pattern: Tensor
    gradients: int


def learn(
    attack: UniversalAttack,
    model: Queries,
    batch: Batch,
    norm: str,
    severity: float,
    seed: int,
    target: int | None = None,
) -> Learnt:
    """Learns a pattern by stochastic gradient ascent (Shafahi et al. 2020, 1811.11304).

    Cross-entropy is cut off at 9 nats, so that images which are broken already leave the pattern to
    the others. Nothing counts but the seed, the images and their indices: each pass shuffles them
    by random numbers of their own.

    Args:
        attack: what kind of pattern.
        model: the classifier, in calls of `BATCH` images.
        batch: images to learn on.
        norm: of the threat.
        severity: radius or size.
        seed: of order and placement.
        target: class that all images shall be taken for; None: anything but their own.
    """
    shape, device = tuple(batch.image.shape[1:]), batch.image.device
    pattern, before = attack.start(norm, severity, shape, str(device)), model.backwards
    draw = Draw(seed, batch.index)
    per_pass = -(-len(batch.image) // BATCH)
    for update in range(attack.steps * per_pass):
        number, place = divmod(update, per_pass)
        order = draw.uniform("learning order", number, ()).argsort(stable=True)
        rows = order[place * BATCH : (place + 1) * BATCH]
        leaf = pattern.clone().requires_grad_()
        with torch.enable_grad():
            shown = attack.show(batch.image[rows], leaf, norm, severity, draw.select(rows), update)
        _, _, slope = model.gradient(shown.image.detach(), *_goal(batch.label[rows], target))
        (gradient,) = torch.autograd.grad(shown.image, leaf, slope.nan_to_num(0.0))
        part = _FIRST * (1 - update / (attack.steps * per_pass))
        pattern = attack.moved(pattern, gradient, norm, severity, part)
    return Learnt(pattern, model.backwards - before)


def _goal(label: Tensor, target: int | None) -> tuple:
    """The loss to be raised, and what it takes for each sample."""
    if target is None:
        return _cut_off, label
    return targeted_cross_entropy, label, torch.full_like(label, target)


def _cut_off(logits: Tensor, label: Tensor) -> Tensor:
    return cross_entropy(logits, label).clamp_max(_CLIP)
