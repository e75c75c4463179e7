"""DeepLIFT: differences from a baseline, carried back from the logit to the pixels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from callbacks.interpretability.explainer import target_logit
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_ELEMENTWISE = {
    "relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
    "hardtanh", "sigmoid", "tanh", "softplus", "leaky_relu", "logsigmoid", "softsign",
    "hardshrink", "softshrink", "tanhshrink", "square",
}  # fmt: skip
_POOLS: dict[str, Callable[..., Any]] = {
    "max_pool1d": F.max_pool1d,
    "max_pool2d": F.max_pool2d,
    "max_pool3d": F.max_pool3d,
}
_NO_RULE = {
    "softmax", "log_softmax", "prelu", "rrelu", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "layer_norm", "group_norm", "instance_norm", "rms_norm", "multi_head_attention_forward",
    "scaled_dot_product_attention", "max_pool2d_with_indices", "clamp", "clamp_min", "clamp_max",
    "abs", "threshold", "maximum", "minimum", "exp", "pow", "glu", "where", "max", "min", "amax",
    "amin", "aminmax", "fmax", "fmin", "sort", "msort", "argsort", "topk", "kthvalue", "median",
    "cummax", "cummin", "sqrt", "rsqrt", "reciprocal", "log", "log1p", "expm1", "sin", "cos",
    "lp_pool1d", "lp_pool2d", "fractional_max_pool2d", "gumbel_softmax", "logsumexp",
}  # fmt: skip
Bend = Callable[[Tensor], tuple[Tensor, Tensor | None]]
_TINY = 1e-10
"""A difference below which the ordinary derivative takes the place of the slope; Captum's."""


@dataclass(frozen=True)
class DeepLift:
    """Slopes between image and baseline in the place of derivatives (1704.02685, 2017).

    The rescale rule: an activation a passes on (a(x) - a(x0)) / (x - x0); of a maximum, what it
    rises is its largest pixel's, what it falls the baseline's largest pixel's. Captum 0.9 agrees,
    but its hooks meet on the tensor between two activations (a maximum after a ReLU), its maximum
    uses the first image's gradient for the whole batch and keeps one share of a pixel where
    windows overlap; then its contributions do not add up to f(x) - f(x0). Here they do if the
    model is made of linear layers, sums, maxima of windows and activations. What is in neither
    list of this file passes on its ordinary derivative, such as the product of two activations in
    squeeze-and-excitation: with it they do not add up, which the metric `completeness` tells.
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
        with rules:
            model(zero)
        with rules.slopes():
            _, _, slope = model.gradient(one, target_logit, label)
        parts.append((one - zero) * slope)
    return torch.cat(parts)


@dataclass
class _Seen:
    """What an activation was given by the baseline and answered; `answer` is nobody else's.

    `given_over` and `answer_over` say that the model then wrote over one of them: it will do so
    with the image's as well.
    """

    value: Tensor
    answer: Tensor
    place: Any
    given_over: bool = False
    answer_over: bool = False


class _Rescale(TorchFunctionMode):
    """Notes what activations do to baselines, then answers images with slopes for derivatives.

    Activations are told by the order of their calls, which is that of the network's code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[_Seen] = []
        self._turn: Iterator[_Seen] | None = None

    @contextmanager
    def slopes(self) -> Iterator[None]:
        """Answers with slopes as long as the context is entered."""
        self._turn = iter(self._seen)
        with self:
            yield

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Answers in the place of an activation and lets everything else through."""
        raw, options = getattr(func, "__name__", ""), kwargs or {}
        name = raw.strip("_")
        if name in _NO_RULE:
            raise UserError(
                f"DeepLift has no rule for {name}, which this model uses: explain it by "
                "integrated_gradients, which needs none."
            )
        over = _may_write(raw, args, options)
        if over and self._turn is None:
            self._spare([*args[:1], options.get("input"), options.get("out")])
        if name not in _ELEMENTWISE and name not in _POOLS:
            return func(*args, **options)
        over = over and name not in _POOLS
        value = args[0] if args else options["input"]
        rest = {key: one for key, one in options.items() if key != "input"}
        bend = _out_of_place(name, args[1:], rest)
        if self._turn is not None:
            return _Slope.apply(value, bend, next(self._turn), over)
        if over:
            self._seen.append(_Seen(value.clone(), func(*args, **options), None))
        else:
            shared = any(_memory(value) == _memory(seen.answer) for seen in self._seen)
            self._seen.append(_Seen(value.clone() if shared else value, *bend(value)))
        return self._seen[-1].answer

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


def _may_write(raw: str, args: tuple, options: dict[str, Any]) -> bool:
    """Whether a function may write to its first argument, its `input` or its `out`.

    Of `F.relu(x, True)` no name says that it does; True for something else costs a copy only.
    """
    named = raw == "__setitem__" or (raw[:3] == "__i" if raw[-2:] == "__" else raw[-1:] == "_")
    asked = bool(options.get("inplace")) or options.get("out") is not None
    return named or asked or any(one is True for one in args[1:])


def _out_of_place(name: str, rest: tuple, options: dict[str, Any]) -> Bend:
    """The activation, which overwrites nothing; of a maximum with the places it was found at."""
    if name in _POOLS:
        options = {**options, "return_indices": True}
        return lambda value: _POOLS[name](value, *rest, **options)
    function = getattr(F, name, None) or getattr(torch, name)
    rest = tuple(False if one is True else one for one in rest)  # `inplace` without its name
    options = {**options, "inplace": False} if "inplace" in options else options
    return lambda value: (function(value, *rest, **options), None)


class _Slope(torch.autograd.Function):
    """An activation whose derivative is its slope from what the baseline gave it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, bend: Bend, before: _Seen, over: bool) -> Tensor:
        """Answers as the activation does, if it is to do so `over` what it was given."""
        given = value.detach().clone() if over or before.given_over else value.detach()
        with torch.enable_grad():
            ctx.value = given.requires_grad_()
            ctx.answer, ctx.place = bend(ctx.value)
        ctx.before = before
        if over:
            ctx.mark_dirty(value)
            return value.copy_(ctx.answer.detach())
        return ctx.answer.detach().clone() if before.answer_over else ctx.answer.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Multiplies by the slope; where nothing changed, by the derivative.

        In place as far as it goes: fresh memory for large maps costs a CPU more than arithmetic.
        """
        (gradient,), low, place = gradients, ctx.before.answer, ctx.before.place
        value, answer = ctx.value.detach(), ctx.answer.detach()
        (derived,) = torch.autograd.grad(ctx.answer, ctx.value, gradient)
        step = ctx.before.value - value  # both differences are negative: their ratio is the slope
        if ctx.place is None:
            rise = low.sub_(answer).mul_(gradient)
        else:  # what it rises is the image's largest pixel's, what it falls the baseline's
            most = answer.maximum(low)
            rise = _put(gradient * (low - most), ctx.place, value)
            rise += _put(gradient * (most - answer), place, value)
        rise.div_(step)
        return torch.where(step.abs_() < _TINY, derived, rise, out=derived), None, None, None


def _put(value: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """Adds values `(N, C, ...)` up at flat places of each channel of zeros shaped as `like`."""
    empty = torch.zeros_like(like).flatten(2)
    return empty.scatter_add_(2, place.flatten(2), value.flatten(2)).reshape(like.shape)
