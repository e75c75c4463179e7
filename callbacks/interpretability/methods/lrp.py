"""Layer-wise relevance propagation: the logit, handed back layer by layer to the pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from callbacks.interpretability.explainer import target_logit
from callbacks.interpretability.methods.functions import (
    CONVOLUTIONS,
    ELEMENTWISE,
    POOLS,
    Before,
    Slope,
    is_product,
    may_write,
    of_the_image,
    out_of_place,
    plain_name,
    require_linear,
    watched_by,
)
from callbacks.queries import Queries
from callbacks.randomness import Draw

Rule = Literal["plus", "zero"]
_STABLE = 1e-9
"""Added to what is divided by; Captum's."""


@dataclass(frozen=True)
class Lrp:
    """Relevance R_j = sum_k x_j w_jk / (sum_j x_j w_jk) R_k (Bach et al. 2015, PLOS ONE 10(7)).

    Convolutions hand on by what speaks for their answer only (the rule of alpha 1, beta 0, also of
    negative inputs), everything else linear by all of it (LRP-0), as the usual composites do
    (Montavon et al. 2019, LNCS 11700). An activation hands on what it gets, a maximum to the
    largest, of a product each factor gets half (Achtibat et al. 2024, 2402.05602). A batch norm is
    a layer of its own. The map adds up to the logit less what biases and means of the input take;
    a black pixel gets 0. With LRP-0 everywhere and rectifiers it is input times gradient.

    Captum's hooks see no functions: it refuses layers used twice and counts a residual sum double.
    Where it does neither, its values are these.

    Args:
        rule: of convolutions.
    """

    rule: Rule = "plus"
    forwards: int = field(default=1, init=False, repr=False)
    backwards: int = field(default=1, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`.

        Raises:
            UserError: names a function for which there is no rule.
        """
        with watched_by(_Relevance(self.rule), model):
            _, _, share = model.gradient(image, target_logit, target)
        return (image * share).sum(1, keepdim=True)


class _Relevance(TorchFunctionMode):
    """Answers as the network does, with derivatives that are relevance over value."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._rule = rule

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Answers in the place of what bends or convolves."""
        name, options = plain_name(func), kwargs or {}
        if name in ELEMENTWISE and of_the_image(args, options):
            value, bend = out_of_place(name, args, options)
            zero = Before(name, torch.zeros_like(value), torch.zeros_like(value), None, True, True)
            return Slope.apply(value, bend, zero, may_write(func, args, options))
        if name in CONVOLUTIONS and self._rule == "plus" and of_the_image(*args[:1]):
            return positive_part(func, *args, **options)
        product = is_product(func, args, options)
        answer = func(*args, **options)
        if name not in POOLS:
            require_linear("LRP", func, args, options, answer)
        if product:
            answer.register_hook(lambda gradient: gradient / 2)
        return answer


def positive_part(
    convolve: Callable[..., Tensor], input: Tensor, weight: Tensor,  # noqa: A002  (torch's name)
    bias: Tensor | None = None, *rest: Any, **options: Any,
) -> Tensor:  # fmt: skip
    """A convolution's answer, whose derivative hands relevance to positive contributions alone.

    Args:
        convolve: such as `F.conv2d`.
        input: `(N, C, ...)`.
        weight: `(K, C, ...)`.
        bias: `(K,)`; a positive one takes its share.
        *rest: stride and so on.
        **options: the same by name.

    Returns:
        `(N, K, ...)`, exactly the convolution's own answer.
    """
    answer = convolve(input, weight, bias, *rest, **options).detach()
    positive, negative = input * (input > 0), input * (input < 0)
    up = convolve(positive, weight.clamp(min=0), None, *rest, **options)
    up = up + convolve(negative, weight.clamp(max=0), None, *rest, **options)
    every = up.detach()
    if bias is not None:
        every = every + bias.clamp(min=0).reshape(-1, *[1] * (answer.ndim - 2))
    handed = up * (answer / (every + _STABLE))
    return answer + (handed - handed.detach())
