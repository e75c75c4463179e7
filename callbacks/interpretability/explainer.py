"""What an explainer is, and how many disturbed copies of images are put to a model in chunks."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from callbacks.queries import Queries
from callbacks.randomness import Draw

Make = Callable[[Tensor, Tensor], Tensor]
"""From `(sample (n,), step (n,))` to disturbed copies `(n, C, H, W)` of those samples."""


class Explainer(Protocol):
    """Says which pixels matter for a class; frozen dataclasses, so that their repr is a label.

    One that draws masks may have a method `estimated` too, of the same arguments: the map with its
    sampling error; see `sampling_error.Estimated`.
    """

    @property
    def forwards(self) -> int:
        """Images sent forward for each image explained."""
        ...

    @property
    def backwards(self) -> int:
        """Images differentiated for each image explained."""
        ...

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """Explains why the model gives its score to a class.

        Args:
            model: answers logits and gradients, in chunks.
            image: `(N, C, H, W)` in [0, 1].
            target: `(N,)` classes to be explained.
            draw: the samples' random numbers.

        Returns:
            `(N, 1, H, W)`, larger where a pixel speaks more for the class; in logits, where the
            method has units. An image's map does not depend on its neighbours.
        """
        ...


def target_logit(logits: Tensor, target: Tensor) -> Tensor:
    """The logits `(N,)` of the classes `target`, out of `(N, K)`."""
    return logits.gather(1, target[:, None])[:, 0]


def target_probability(logits: Tensor, target: Tensor) -> Tensor:
    """The softmax `(N,)` of the classes `target`, in [0, 1], out of logits `(N, K)`."""
    return target_logit(logits.softmax(1), target)


def pairs(model: Queries, image: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (sample, step) for `count` copies of every image, one full chunk of them at a time.

    Copies of one image come in the order of their steps, whatever the chunk: what is summed with
    `index_add_` is summed in one order.
    """
    size, total = model.chunk or 128, len(image) * count
    for start in range(0, total, size):
        item = torch.arange(start, min(start + size, total), device=image.device)
        yield item // count, item % count


def scores(
    model: Queries,
    image: Tensor,
    target: Tensor,
    count: int,
    make: Make,
    score: Callable[[Tensor, Tensor], Tensor] = target_logit,
) -> Tensor:
    """Scores `count` disturbed copies of every image; no more than a chunk exists at a time.

    Args:
        model: asked `N·count` times.
        image: `(N, C, H, W)`.
        target: `(N,)` classes scored.
        count: copies of each image.
        make: the copies.
        score: of logits and classes.

    Returns:
        `(N, count)`.
    """
    parts = [
        score(model(make(sample, step)), target[sample])
        for sample, step in pairs(model, image, count)
    ]
    return torch.cat(parts).reshape(len(image), count)


def mean_gradient(
    model: Queries,
    image: Tensor,
    target: Tensor,
    count: int,
    make: Make,
    weight: Tensor | None = None,
) -> Tensor:
    """Averages the gradient of the target's logit over `count` copies of every image.

    Args:
        model: asked for `N·count` gradients.
        image: `(N, C, H, W)`.
        target: `(N,)`.
        count: copies of each image.
        make: the copies.
        weight: `(count,)` of the copies; None weighs them equally.

    Returns:
        `(N, C, H, W)`.
    """
    weights = image.new_full((count,), 1 / count) if weight is None else weight.to(image)
    total = torch.zeros_like(image)
    for sample, step in pairs(model, image, count):
        _, _, gradient = model.gradient(make(sample, step), target_logit, target[sample])
        total.index_add_(0, sample, gradient.to(image) * weights[step, None, None, None])
    return total
