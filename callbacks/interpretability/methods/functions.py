"""Functions that networks are made of: which are linear, and slopes in the place of derivatives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from callbacks.queries import Queries
from datamodules.errors import UserError

CONVOLUTIONS = {f"conv{turned}{n}d" for turned in ("", "_transpose") for n in (1, 2, 3)}
ELEMENTWISE = {
    "relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
    "hardtanh", "sigmoid", "tanh", "softplus", "leaky_relu", "logsigmoid", "softsign",
    "hardshrink", "softshrink", "tanhshrink", "square",
}  # fmt: skip
"""Activations: what they answer at a place depends on what they are given there alone."""
POOLS: dict[str, Callable[..., Any]] = {
    "max_pool1d": F.max_pool1d,
    "max_pool2d": F.max_pool2d,
    "max_pool3d": F.max_pool3d,
}
_PRODUCTS = CONVOLUTIONS | {
    "mul", "rmul", "imul", "multiply", "matmul", "rmatmul", "mm", "bmm", "mv", "dot", "einsum",
    "tensordot", "bilinear", "linear", "addmm", "addmv", "addbmm", "baddbmm", "outer", "inner",
}  # fmt: skip
"""Linear in each factor."""
_QUOTIENTS = {"div", "idiv", "divide", "true_divide", "truediv", "itruediv"}
_LINEAR = {
    "add", "radd", "iadd", "sub", "rsub", "isub", "subtract", "neg", "negative", "positive",
    "pos", "sum", "mean", "cumsum", "diff", "view", "view_as", "reshape", "reshape_as",
    "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "permute", "transpose", "t", "T",
    "mT", "H", "mH", "movedim", "moveaxis", "swapaxes", "swapdims", "contiguous", "clone",
    "expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave", "cat",
    "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "chunk", "split",
    "split_with_sizes", "tensor_split", "unbind", "narrow", "select", "getitem", "setitem",
    "copy", "index_select", "index_add", "index_copy", "gather", "take", "take_along_dim",
    "scatter", "scatter_add", "masked_select", "masked_fill", "where", "flip", "fliplr",
    "flipud", "roll", "rot90", "pad", "unfold", "fold", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "native_channel_shuffle", "diagonal", "tril", "triu", "trace",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "interpolate", "upsample", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "alpha_dropout", "feature_alpha_dropout", "batch_norm", "identity", "to",
    "float", "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda", "real",
    "zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty",
    "new_full", "new_tensor",
}  # fmt: skip
"""Linear but for a constant, hence with one derivative everywhere; or of the shape alone."""
_READING = {"item", "tolist", "numpy", "__bool__", "__float__", "__int__"}
"""They take a number out of the image's own tensors, where nobody sees what becomes of it."""
_TINY = 1e-10
"""A difference below which the ordinary derivative takes the place of the slope; Captum's."""
Bend = Callable[[Tensor], tuple[Tensor, Tensor | None]]


def plain_name(func: Any) -> str:
    """A function's name without what says that it works in place or belongs to an operator."""
    raw = getattr(func, "__name__", "")
    raw = func.__self__.__name__ if raw == "__get__" else raw  # `x.T` and other attributes
    return raw.strip("_")


def of_the_image(*values: Any) -> list[Tensor]:
    """The tensors among arguments that depend on the image, each as often as it is there.

    Told by their gradient, which no weight has while the network is `watched_by` somebody.
    """
    tensors = (one for one in tree_leaves(values) if isinstance(one, Tensor))
    return [one for one in tensors if one.requires_grad and not isinstance(one, nn.Parameter)]


@contextmanager
def watched_by(mode: TorchFunctionMode, model: Queries) -> Iterator[None]:
    """Lets a mode answer for the network's functions, none of whose weights asks for a gradient."""
    model.require_gradients()
    network = model.model
    own = list(network.parameters()) if isinstance(network, nn.Module) else []
    weights = [weight for weight in own if weight.requires_grad]

    def answer(image: Tensor) -> Tensor:
        with mode:
            return network(image)

    try:
        for weight in weights:
            weight.requires_grad_(False)
        with model.answered_by(answer):
            yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def require_linear(who: str, func: Any, args: tuple, options: dict, answer: Any) -> None:
    """Refuses a function of the image that is neither linear in it nor a product.

    Args:
        who: has no rule for others.
        func: any.
        args: it was given, before it wrote over them.
        options: the same by name.
        answer: of the function.

    Raises:
        UserError: names the function.
    """
    if not of_the_image(args, options):
        return
    name, reading = plain_name(func), getattr(func, "__name__", "") in _READING
    if not reading and not any(isinstance(one, Tensor) for one in tree_leaves(answer)):
        return  # a size, or nothing
    if name in _QUOTIENTS:
        linear = not of_the_image(args[1:], options)
    elif name == "batch_norm":  # by the statistics of the batch itself it is none
        linear = not (options.get("training") or any(one is True for one in args[5:6]))
    else:
        linear = name in _LINEAR or name in _PRODUCTS
    if reading or not linear:
        raise UserError(
            f"{who} has no rule for {name}, which this model uses: explain it by "
            "integrated_gradients, which needs none."
        )


def is_product(func: Any, args: tuple, options: dict) -> bool:
    """Whether a function multiplies two tensors that both depend on the image."""
    return plain_name(func) in _PRODUCTS and len(of_the_image(args, options)) > 1


def may_write(func: Any, args: tuple, options: dict[str, Any]) -> bool:
    """Whether a function may write to its first argument, its `input` or its `out`.

    Of `F.relu(x, True)` no name says that it does; True for something else costs a copy only.
    """
    raw = getattr(func, "__name__", "")
    named = raw == "__setitem__" or (raw[:3] == "__i" if raw[-2:] == "__" else raw[-1:] == "_")
    asked = bool(options.get("inplace")) or options.get("out") is not None
    return named or asked or any(one is True for one in args[1:])


def out_of_place(name: str, args: tuple, options: dict[str, Any]) -> tuple[Tensor, Bend]:
    """What an activation or maximum is given, and the function itself, which overwrites nothing.

    A maximum also says the places it was found at.
    """
    value = args[0] if args else options["input"]
    rest, options = args[1:], {key: one for key, one in options.items() if key != "input"}
    if name in POOLS:
        options = {**options, "return_indices": True}
        return value, lambda value: POOLS[name](value, *rest, **options)
    function = getattr(F, name, None) or getattr(torch, name)
    rest = tuple(False if one is True else one for one in rest)  # `inplace` without its name
    options = {**options, "inplace": False} if "inplace" in options else options
    return value, lambda value: (function(value, *rest, **options), None)


@dataclass
class Before:
    """What a function was given by the baseline and answered; `answer` is nobody else's.

    `given_over` and `answer_over` say that the model then wrote over one of them: it will do so
    with the image's as well.
    """

    name: str
    value: Tensor
    answer: Tensor
    place: Any = None
    given_over: bool = False
    answer_over: bool = False


class Slope(torch.autograd.Function):
    """A function whose derivative is its slope from what the baseline gave it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, bend: Bend, before: Before, over: bool) -> Tensor:
        """Answers as the function does, if it is to do so `over` what it was given."""
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
