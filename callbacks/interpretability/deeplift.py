"""DeepLIFT by Captum, on a copy of the model that Captum can read."""

import copy
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from callbacks.interpretability.fill import FillName, filled
from callbacks.interpretability.layers import network_of
from callbacks.queries import Queries, padded
from callbacks.randomness import Draw
from datamodules.errors import UserError

# What bends and what Captum has no rule for unless one of its modules does it.
_BENT = {
    "relu", "relu_", "relu6", "elu", "elu_", "selu", "celu", "gelu", "silu", "mish", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "sigmoid_", "tanh", "tanh_", "softmax", "log_softmax",
    "softplus", "leaky_relu", "leaky_relu_", "prelu", "max_pool2d", "adaptive_max_pool2d",
    "layer_norm", "group_norm", "instance_norm", "multi_head_attention_forward",
    "scaled_dot_product_attention",
}  # fmt: skip


@dataclass(frozen=True)
class DeepLift:
    """Differences carried back from logit to pixels, rescale rule (DeepLIFT, 1704.02685, 2017).

    Captum's, on a deep copy in which activations are not in place and each is called once; always
    in the precision of the weights, because its hooks cannot mix two.

    Args:
        baseline: what the image is compared with.
    """

    baseline: FillName = "black"
    forwards: int = field(default=2, init=False, repr=False)
    backwards: int = field(default=2, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`.

        Raises:
            UserError: the model bends in a way for which Captum has no rule.
        """
        from captum.attr import DeepLift as Captum

        start, twin = filled(self.baseline, image, draw), readable_copy(network_of(model), image)
        method, size = Captum(twin), max((model.chunk or 128) // 2, 1)
        parts = []
        for one, zero, label in zip(
            image.split(size), start.split(size), target.split(size), strict=True
        ):
            inputs = [padded(part, size) for part in (one, zero, label)]
            with warnings.catch_warnings(), torch.enable_grad():
                warnings.simplefilter("ignore")  # that hooks are set, and taken away again
                value = method.attribute(inputs[0], baselines=inputs[1], target=inputs[2])
            parts.append(value[: len(one)].detach().sum(1, keepdim=True))
            model.forwards += 2 * len(one)
            model.backwards += 2 * len(one)
        return torch.cat(parts).to(image)


def readable_copy(network: nn.Module, image: Tensor) -> nn.Module:
    """Copies a network so that Captum sees each activation once and before it is overwritten.

    Args:
        network: left as it is.
        image: `(N, C, H, W)`; the first one is sent through the copy, once.

    Raises:
        UserError: something bends outside the modules that Captum has rules for.
    """
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    twin, rules = copy.deepcopy(network).eval(), tuple(SUPPORTED_NON_LINEAR)
    for part in twin.modules():
        if hasattr(part, "inplace"):
            part.inplace = False  # type: ignore[assignment]
    with _watched(twin, rules) as (calls, bent):
        twin(image[:1])
    if bent:
        raise UserError(
            f"DeepLift has no rule for {', '.join(sorted(bent))} as this model uses it: explain it "
            "by integrated_gradients, which needs none."
        )
    again = {part for part in calls if calls[part] > 1}
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if child in again:
                setattr(parent, name, _EachCallItsOwn(child, calls[child]))
    return twin


class _EachCallItsOwn(nn.Module):
    """As many copies of an activation as it is called in one forward, taken in turn."""

    def __init__(self, activation: nn.Module, calls: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copy.deepcopy(activation) for _ in range(calls))
        self.turn = 0

    def forward(self, *inputs: Tensor) -> Tensor:
        """Answers with the next copy."""
        activation = self.copies[self.turn]
        self.turn = (self.turn + 1) % len(self.copies)
        return activation(*inputs)


@contextmanager
def _watched(
    network: nn.Module, rules: tuple[type, ...]
) -> Iterator[tuple[Counter[nn.Module], set[str]]]:
    """Counts calls of modules with a rule and collects what bends outside of them."""
    calls: Counter[nn.Module] = Counter()
    watch = _Watch()

    def enter(part: nn.Module, _: Any) -> None:
        calls[part] += 1
        watch.inside += 1

    def leave(*_: Any) -> None:
        watch.inside -= 1

    handles = []
    for part in network.modules():
        if type(part) in rules:
            handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        with watch, torch.no_grad():
            yield calls, watch.bent
    finally:
        for handle in handles:
            handle.remove()


class _Watch(TorchFunctionMode):
    """Notes the names of functions that bend, unless a module with a rule is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.bent: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Looks at a call and lets it through."""
        name = getattr(func, "__name__", "").removeprefix("boolean_dispatch")
        if not self.inside and name in _BENT:
            self.bent.add(name)
        return func(*args, **(kwargs or {}))
