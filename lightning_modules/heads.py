"""The head of a network: the layer whose output is the logits, found by one forward."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.agreement import near
from lightning_modules.answer_rule import AnswerRule, placed
from lightning_modules.network_ends import fit_ends, stem_inputs
from lightning_modules.plain_layers import negate, plain_layer, resize
from lightning_modules.trial import Call, Trial, example, memory, tried

__all__ = [
    "Head",
    "find_head",
    "fit_ends",
    "head_name",
    "head_of",
    "head_outputs",
    "reorder_head",
    "replace_head",
    "stem_inputs",
]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda z: z[:, 0],
    "mean": lambda z: z.mean(1),
    "first": lambda z: z[:, 0],
    "rectified mean": lambda z: z.relu().mean(1),
}
"""What may happen to a layer's output `(N, L, K)` of L positions; "none" where L is 1."""
_LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "log_softmax": lambda z: z.log_softmax(1),
    "softmax": lambda z: z.softmax(1),
    "sigmoid": lambda z: z.sigmoid(),
}
"""What may happen to the row."""
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Head:
    """The layer whose output is the logits.

    Args:
        name: dotted.
        reduction: of its positions, a key of `_REDUCTIONS`.
        link: behind it, a key of `_LINKS` or "scaled".
        scale: the logits are so many times its output.
        linear: whether logits are weight · feature + bias, up to `scale` and a constant an image.
    """

    name: str
    reduction: str = "none"
    link: str = "identity"
    scale: float = 1.0
    linear: bool = True

    def feature(self, layer: nn.Module, given: Tensor) -> Tensor:
        """What the layer sees, one row an image.

        Args:
            layer: the head itself.
            given: its input `(N, ...)`.

        Returns:
            `(N, D)`; the mean over positions where the network takes the mean behind the layer.
        """
        if isinstance(layer, nn.Conv2d):
            return given.flatten(1) if _covers(layer, given) else given.mean((2, 3))
        if given.ndim <= 2:
            return given.flatten(1)
        rows = given.flatten(1, -2)
        return rows[:, 0] if self.reduction == "first" else rows.mean(1)


def find_head(network: nn.Module, image: Tensor | None = None) -> Head:
    """Finds the layer whose output is the answer: directly, or as mean, softmax or multiple of it.

    One forward compares tensors, so it does not matter where and when a layer is registered. What
    was found is remembered.

    Args:
        network: from images to answers.
        image: `(N, C, H, W)`, N >= 2, as the network takes them; None tries usual shapes.

    Raises:
        UserError: no layer's output is the answer, or no image is accepted.
    """
    if any(p.is_meta for p in network.parameters()):
        return Head(last_registered(network))
    known = memory(network).get("head")
    if known is not None and _there(network, known["name"]):
        return Head(**known)
    image = example(network) if image is None else image
    if image is None:
        raise UserError(
            f"The head of {type(network).__name__} cannot be found, because it accepts no image of "
            "a usual size: give the size with `--resize`."
        )
    head = head_of(network, tried(network, image))
    memory(network)["head"] = asdict(head)
    return head


def head_of(network: nn.Module, trial: Trial) -> Head:
    """Finds the head in a forward that was watched.

    Raises:
        UserError: no layer's output is the answer.
    """
    answer = _scores(network, trial.answer)
    for call in reversed(trial.calls):
        layer = network.get_submodule(call.name)
        if isinstance(layer, _NORMS) or len(call.output) != len(answer):
            continue
        positions = _positions(layer, call.output, answer.shape[1])
        if positions is None:
            continue
        for name in _possible(positions):
            rows = _REDUCTIONS[name](positions)
            if (link := _link(rows, answer)) is not None:
                head = Head(call.name, name, *link)
                return replace(head, linear=_is_linear(head, layer, call, rows))
    raise UserError(
        f"{type(network).__name__} has no layer whose output is its answer: its head is computed "
        "by hand, has several parts, or something follows it. Make it a torch.nn.Linear at the end."
    )


def head_name(network: nn.Module) -> str:
    """The dotted name of the head; see `find_head`.

    Raises:
        UserError: there is none.
    """
    return find_head(network).name


def head_outputs(network: nn.Module, classes: int | None = None) -> int:
    """How many classes a network tells apart: scores an image, by a forward where it is possible.

    Args:
        network: from images to answers.
        classes: how many there should be; decides where an answer holds several rows of scores.

    Raises:
        UserError: it answers nothing, and has no linear layer or 1x1 convolution.
    """
    on_nothing = any(p.is_meta for p in network.parameters())
    image = None if on_nothing else example(network)
    if image is not None:
        answer = tried(network, image).answer
        memory(network)["place"] = list(placed(answer, classes))
        return max(2, _scores(network, answer).shape[1])
    layer = network.get_submodule(last_registered(network))
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]


def last_registered(network: nn.Module) -> str:
    """The last linear layer, or else 1x1 convolution, by registration: for networks without values.

    Right for the zoos' networks, whose code registers the head last.

    Raises:
        UserError: there is neither.
    """
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    pointwise = [
        name
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)
    ]
    if not (linear or pointwise):
        raise UserError(
            "Expected a linear layer or 1x1 convolution as the head of the model, but "
            f"{type(network).__name__} has none."
        )
    return linear[-1] if linear else pointwise[-1]


def replace_head(network: nn.Module, classes: int) -> None:
    """Gives the head fresh weights with `classes` outputs, in place, under all of its names.

    Raises:
        UserError: there is no head, or it cannot be given other outputs.
    """
    head = find_head(network)
    resize(plain_layer(network, head.name), classes)
    image = example(network)
    if image is None:
        return
    outputs = _scores(network, tried(network, image).answer).shape[1]
    if outputs != classes:
        raise UserError(
            f"Expected {classes} outputs with a new head {head.name!r}, but "
            f"{type(network).__name__} answers {outputs}: it does more behind its last layer."
        )


def reorder_head(network: nn.Module, order: tuple[int, ...]) -> bool:
    """Puts the head's outputs into another order, or keeps some of them, in place.

    So nothing behind the network needs to remember the order. The one output of a network that
    tells two classes apart changes its sign.

    Args:
        network: changed, unless its head cannot be given other outputs.
        order: the old output of each new one.

    Returns:
        Whether it was done; where not, nothing has changed.
    """
    try:
        name = find_head(network).name
        layer = plain_layer(network, name)
    except UserError:
        return False
    if layer.weight.shape[0] == 1:
        negate(layer)
    else:
        resize(layer, len(order), rows=torch.tensor(order, device=layer.weight.device))
    return True


def _scores(network: nn.Module, answer: Any) -> Tensor:
    """The scores in an answer, at the place that was remembered where there are several."""
    place = memory(network).get("place")
    return AnswerRule(placed(answer) if place is None else tuple(place)).scores(answer)


def _there(network: nn.Module, name: str) -> bool:
    """Whether the layer that was found is still a layer of that name."""
    return name in dict(network.named_modules()) and hasattr(network.get_submodule(name), "weight")


def _positions(layer: nn.Module, output: Tensor, classes: int) -> Tensor | None:
    """An output `(N, ...)` as `(N, L, K)`; None where no axis is as long as there are classes."""
    if output.ndim == 2:
        output = output[:, None]
    axis = 1 if isinstance(layer, nn.Conv2d) or output.shape[-1] != classes else -1
    if output.ndim < 3 or output.shape[axis] != classes:
        return None
    return output.movedim(axis, -1).flatten(1, -2)


def _possible(positions: Tensor) -> tuple[str, ...]:
    return ("none",) if positions.shape[1] == 1 else ("mean", "first", "rectified mean")


def _link(rows: Tensor, answer: Tensor) -> tuple[str, float] | None:
    """By which function a row becomes the answer; None by none of them."""
    eps = torch.finfo(answer.dtype).eps
    rows, answer = rows.double(), answer.double()
    for name, link in _LINKS.items():
        if _near(link(rows), answer, eps):
            return name, 1.0
    scale = float((rows * answer).sum() / rows.square().sum().clamp_min(1e-300))
    return ("scaled", scale) if scale > 0 and _near(rows * scale, answer, eps) else None


def _near(one: Tensor, other: Tensor, eps: float) -> bool:
    """Equal up to rounding."""
    return near(one, other, max(1e-5, 4 * eps))


def _is_linear(head: Head, layer: nn.Module, call: Call, rows: Tensor) -> bool:
    """Whether weight · feature + bias is the row, so that weights that fit features can be put in.

    By value, because a subclass may do something else with its weight.
    """
    if not isinstance(layer, nn.Linear | nn.Conv2d) or head.link == "sigmoid":
        return False
    feature = head.feature(layer, call.given).double()
    weight = layer.weight.detach().flatten(1).double()
    if weight.shape[1] != feature.shape[1]:
        return False
    computed = feature @ weight.T + (0 if layer.bias is None else layer.bias.detach().double())
    return _near(computed, rows.double(), torch.finfo(rows.dtype).eps)


def _covers(layer: nn.Conv2d, given: Tensor) -> bool:
    """Whether the kernel sees its whole input at once."""
    return layer.kernel_size == tuple(given.shape[2:]) and layer.padding in ((0, 0), "valid")
