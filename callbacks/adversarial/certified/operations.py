"""What torch's operations are to bounds: affine, a rectifier, a maximum, or unknown."""

from collections.abc import Callable, Mapping, Set
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.fx.node import map_arg

Kind = Literal["affine", "relu", "max"]
Operation = tuple[Kind, Callable[..., Tensor], Callable[..., Tensor]]

_LEAVING = frozenset(("clone", "detach", "contiguous", "alias", "_to_copy", "to", "dropout"))
"""They leave values as they are; in evaluation mode, and in double precision."""
_MOVING = frozenset(("permute", "transpose", "t", "slice", "select", "unsqueeze", "squeeze"))
_ADDING = frozenset(("cat", "repeat", "avg_pool2d", "adaptive_avg_pool2d", "mean", "sum"))
"""They add values up with positive constants."""
_PADDING = frozenset(("pad", "constant_pad_nd"))
_REARRANGING = _LEAVING | _MOVING | _ADDING | _PADDING
_RESHAPING = frozenset(("view", "reshape", "flatten", "_unsafe_view", "unflatten"))
_SUMS = frozenset(("add", "sub", "rsub", "mul", "div"))
_ANSWERS = frozenset(("softmax", "log_softmax", "_softmax", "_log_softmax"))


def name_of(node: fx.Node) -> str:
    """Of an operation, without its overload: `conv2d`."""
    return str(node.target).removeprefix("aten.").partition(".")[0]


def identity_at_the_end(node: fx.Node) -> bool:
    """Whether it turns logits into probabilities and nothing follows.

    The logarithm of probabilities differs from the logits by one number for all classes.
    """
    return name_of(node) in _ANSWERS and all(user.op == "output" for user in node.users)


def operation(
    node: fx.Node, values: Set[fx.Node], constants: Mapping[fx.Node, Any]
) -> Operation | None:
    """What a node computes of the values that depend on the image; None where it is not known.

    Args:
        node: of a graph of ATen operations without writes in place.
        values: the nodes that depend on the image.
        constants: what the others are.
    """
    args = [as_double(constants.get(arg, arg)) for arg in node.args]  # type: ignore[call-overload]
    name = name_of(node)
    if name in _RESHAPING:
        shape = tuple(node.meta["val"].shape)
        batch = int(node.all_input_nodes[0].meta["val"].shape[0])
        return _same(lambda x: x.reshape(-1, *shape[1:])) if shape[0] == batch else None
    if name in _REARRANGING:
        return _rearranged(node, values)
    if name == "relu":
        return "relu", F.relu, F.relu
    if name == "max_pool2d":
        return _pooled(*args[1:])  # type: ignore[arg-type]
    if name in _LAYERS and node.args[0] in values and not values & set(node.args[1:]):
        return _LAYERS[name](*args[1:])
    return _arithmetic(node, values, args) if name in _SUMS else None


def as_double(value: Any) -> Any:
    """Numbers in double precision, so that rounding does not decide what is certified."""
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _same(apply: Callable[..., Tensor]) -> Operation:
    """An affine map without negative weights or offset is how far its output moves, too."""
    return "affine", apply, apply


def _rearranged(node: fx.Node, values: Set[fx.Node]) -> Operation | None:
    """Torch's own operation, with the values in the places where they stood."""
    if name_of(node) in _PADDING and _pads_otherwise(node):
        return None
    if name_of(node) in _LEAVING:
        return _same(lambda x: x)
    order = node.all_input_nodes
    if any(arg not in values for arg in order):
        return None
    target: Any = node.target

    def apply(*inputs: Tensor) -> Tensor:
        given = dict(zip(order, inputs, strict=True))
        args, options = map_arg((node.args, node.kwargs), lambda arg: given[arg])
        output = target(*args, **options)
        return output[0] if isinstance(output, tuple) else output

    return _same(apply)


def _pads_otherwise(node: fx.Node) -> bool:
    """Whether it pads with anything but zeros."""
    constant = name_of(node) == "constant_pad_nd"
    mode = "constant" if constant else (node.args[2:3] or ("constant",))[0]
    value = (node.args[2:3] if constant else node.args[3:4]) or (0,)
    return bool(mode != "constant" or value[0] not in (None, 0))


def _linear(weight: Tensor, bias: Tensor | None = None) -> Operation:
    return "affine", lambda x: F.linear(x, weight, bias), lambda r: F.linear(r, weight.abs())


def _convolution(weight: Tensor, bias: Tensor | None = None, *how: Any) -> Operation:
    return (
        "affine",
        lambda x: F.conv2d(x, weight, bias, *how),
        lambda r: F.conv2d(r, weight.abs(), None, *how),
    )


def _batch_norm(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, *rest: Any
) -> Operation:
    scale = (variance + rest[-1]).rsqrt()
    scale = scale if weight is None else scale * weight
    offset = -mean * scale if bias is None else bias - mean * scale

    def beside(x: Tensor, of: Tensor) -> Tensor:
        return of.reshape(1, -1, *[1] * (x.ndim - 2))

    return (
        "affine",
        lambda x: x * beside(x, scale) + beside(x, offset),
        lambda r: r * beside(r, scale.abs()),
    )


_LAYERS: dict[str, Callable[..., Operation | None]] = {
    "linear": _linear,
    "conv2d": _convolution,
    "_native_batch_norm_legit_no_training": _batch_norm,
}


def _arithmetic(node: fx.Node, values: Set[fx.Node], args: list[Any]) -> Operation | None:
    """Sums and differences of two values; sums, products and the like with a constant."""
    name = name_of(node)
    if node.kwargs or len(args) != 2:
        return None
    both = node.args[0] in values and node.args[1] in values
    if both and node.args[0] is node.args[1]:
        return _same(lambda x: 2 * x) if name == "add" else None
    if both:
        signs = {"add": torch.add, "sub": torch.sub}
        return ("affine", signs[name], torch.add) if name in signs else None
    first = node.args[0] in values
    constant = args[1] if first else args[0]
    return _with_constant(name, constant, abs(constant), first)


def _with_constant(name: str, constant: Any, size: Any, first: bool) -> Operation | None:
    if name == "add":
        return "affine", lambda x: x + constant, lambda r: r
    if name in ("sub", "rsub"):
        forward = first == (name == "sub")  # torch writes 1 - x as rsub(x, 1)
        return "affine", lambda x: x - constant if forward else constant - x, lambda r: r
    if name == "mul":
        return "affine", lambda x: x * constant, lambda r: r * size
    return ("affine", lambda x: x / constant, lambda r: r / size) if first else None


def _pooled(
    kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil: bool = False
) -> Operation:
    """Max pooling; a stride that is not said is the kernel's size."""
    how = (kernel, stride or kernel, padding, dilation, ceil)
    return "max", lambda x: F.max_pool2d(x, *how), lambda plane: windows(plane, *how)


def windows(
    plane: torch.Size, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Tensor:
    """Which places of a plane `(H, W)` each window of a pooling looks at.

    Returns:
        `(k, L)` int64 positions for kernels of k places and L windows; -1 outside of the plane.

    >>> windows(torch.Size((2, 4)), 2, 2, 0, 1, False).tolist()
    [[0, 2], [1, 3], [4, 6], [5, 7]]
    """
    places = torch.arange(1.0, plane.numel() + 1).reshape(1, 1, *plane)
    rows, columns = F.max_pool2d(places, kernel, stride, padding, dilation, ceil).shape[2:]
    (up, left), (down, right) = _pair(padding), _pair(stride)
    # Room below and to the right for windows that begin inside and end outside (`ceil`).
    padded = F.pad(places, (left, left + right, up, up + down))
    seen = F.unfold(padded, kernel, dilation, 0, stride)[0].long() - 1
    reach = _pair(dilation)[1] * (_pair(kernel)[1] - 1) + 1
    across = (padded.shape[3] - reach) // right + 1
    return seen.reshape(len(seen), -1, across)[:, :rows, :columns].flatten(1)


def _pair(value: Any) -> tuple[int, int]:
    """Of rows and columns; torch's lists may hold one number for both."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])
