"""DeepLIFT: differences from a baseline, carried back from the logit to the pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from callbacks.interpretability.explainer import target_logit
from callbacks.interpretability.methods.functions import (
    ELEMENTWISE,
    POOLS,
    Before,
    Slope,
    may_write,
    out_of_place,
    plain_name,
    require_linear,
    watched_by,
)
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class DeepLift:
    """Slopes between image and baseline in the place of derivatives (1704.02685, 2017).

    The rescale rule: an activation a passes on (a(x) - a(x0)) / (x - x0); of a maximum, what it
    rises is its largest pixel's, what it falls the baseline's largest pixel's. Captum 0.9 agrees,
    but its hooks meet on the tensor between two activations (a maximum after a ReLU), its maximum
    uses the first image's gradient for the whole batch and keeps one share of a pixel where
    windows overlap; then its contributions do not add up to f(x) - f(x0). Here they do if the
    model is made of linear layers, sums, maxima of windows and activations. A product of two of
    them, as in squeeze-and-excitation, passes on its ordinary derivatives: with it they do not add
    up, which the metric `completeness` tells. Every other function of the image is refused.
    Activations in place, reused or plain functions need no copy of the model here, and the
    baseline is not differentiated.

    Args:
        baseline: what the image is compared with.
    """

    baseline: FillName = "black"
    forwards: int = field(default=2, init=False, repr=False)
    backwards: int = field(default=1, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`.

        Raises:
            UserError: the model bends in a way for which there is no rule.
        """
        found = differences(model, image, filled(self.baseline, image, draw), target)
        return found.sum(1, keepdim=True).to(image)


def differences(model: Queries, image: Tensor, start: Tensor, target: Tensor) -> Tensor:
    """Contributions of every pixel and channel.

    Args:
        model: asked for `start`, and for `image` with a gradient.
        image: `(N, C, H, W)`.
        start: `(N, C, H, W)` baselines.
        target: `(N,)`.

    Returns:
        `(N, C, H, W)` in logits; how far they add up to f(x) - f(x0) is told by `DeepLift`.
    """
    parts, size = [], model.chunk or 128
    for one, zero, label in zip(
        image.split(size), start.split(size), target.split(size), strict=True
    ):
        rules = _Rescale()
        with watched_by(rules, model):
            model(zero)
            rules.turn()
            _, _, slope = model.gradient(one, target_logit, label)
        parts.append((one - zero) * slope)
    return torch.cat(parts)


class _Rescale(TorchFunctionMode):
    """Notes what activations do to baselines, then answers an image with slopes for derivatives.

    Activations are told by the order of their calls, which is that of the network's code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[Before] = []
        self._turn: Iterator[Before] | None = None

    def turn(self) -> None:
        """From now on answers with slopes."""
        self._turn = iter(self._seen)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Answers in the place of an activation and lets everything else through."""
        name, options = plain_name(func), kwargs or {}
        over = may_write(func, args, options)
        if over and self._turn is None:
            self._spare([*args[:1], options.get("input"), options.get("out")])
        if name not in ELEMENTWISE and name not in POOLS:
            answer = func(*args, **options)
            require_linear("DeepLIFT", func, args, options, answer)
            return answer
        over = over and name not in POOLS
        value, bend = out_of_place(name, args, options)
        if self._turn is not None:
            return Slope.apply(value, bend, self._next(name, value), over)
        if over:
            self._seen.append(Before(name, value.clone(), func(*args, **options)))
        else:
            shared = any(_memory(value) == _memory(seen.answer) for seen in self._seen)
            self._seen.append(Before(name, value.clone() if shared else value, *bend(value)))
        return self._seen[-1].answer

    def _next(self, name: str, value: Tensor) -> Before:
        """What the baseline did at this call."""
        before = next(self._turn, None) if self._turn else None
        if before is None or (before.name, before.value.shape) != (name, value.shape):
            raise UserError(
                "DeepLIFT compares an image with a baseline step by step, but this model takes "
                f"other steps for the one than for the other ({name}): explain it by "
                "integrated_gradients, which does not."
            )
        return before

    def _spare(self, written: list[Any]) -> None:
        """Copies what was noted in memory that is about to be written to."""
        places = {_memory(one) for one in written if isinstance(one, Tensor)}
        for seen in self._seen:
            if _memory(seen.value) in places:
                seen.value, seen.given_over = seen.value.clone(), True
            if _memory(seen.answer) in places:
                seen.answer, seen.answer_over = seen.answer.clone(), True


def _memory(value: Tensor) -> int:
    """Where a tensor and its views are."""
    return value.untyped_storage().data_ptr()
