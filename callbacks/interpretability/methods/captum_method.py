"""Any attribution method of Captum as an explainer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.interpretability.layers import network_of
from callbacks.queries import Queries, padded
from callbacks.randomness import Draw
from datamodules.errors import UserError, suggestion


@dataclass(frozen=True)
class CaptumMethod:
    """A class of `captum.attr` that takes the model, summed over channels.

    For what is not built in, such as guided backpropagation and deconvolution. The methods built in
    have their own, faster and batch-independent code, which the tests compare with Captum's.

    Args:
        method: name of the class, such as "GuidedBackprop" or "Deconvolution".
        options: of its `attribute`.
        forwards: that it takes for an image; Captum does not count them.
        backwards: the same.
    """

    method: str = "GuidedBackprop"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    forwards: int = 1
    backwards: int = 1

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`.

        Raises:
            UserError: Captum has no such method, or it does not take this model.
        """
        network, size, parts = network_of(model), model.chunk or 128, []
        with _not_in_place(network), torch.enable_grad():
            attribute = self._made(network, model.context)
            for one, label in zip(image.split(size), target.split(size), strict=True):
                value = attribute(padded(one, size), padded(label, size))
                parts.append(value[: len(one)].detach().sum(1, keepdim=True))
                model.forwards += self.forwards * len(one)
                model.backwards += self.backwards * len(one)
        return torch.cat(parts).to(image)

    def _made(self, network: nn.Module, context: Callable[[], AbstractContextManager]) -> Any:
        """Captum's `attribute` of an image and a class, which complains in one sentence."""
        import captum.attr

        known = [name for name in captum.attr.__all__ if name[0].isupper()]
        if self.method not in known:
            raise UserError(
                f"Captum has no method {self.method!r}.{suggestion(self.method, known)}"
            )

        def attribute(image: Tensor, target: Tensor) -> Tensor:
            try:
                method = getattr(captum.attr, self.method)(network)
                with context():
                    return method.attribute(image.requires_grad_(), target=target, **self.options)
            except torch.cuda.OutOfMemoryError:  # no matter of the model: fewer images would do
                raise
            except (TypeError, AttributeError, AssertionError, RuntimeError) as error:
                raise UserError(
                    f"Captum's {self.method} does not explain this model "
                    f"({str(error).splitlines()[0]}): take another explainer."
                ) from error

        return attribute


@contextmanager
def _not_in_place(network: nn.Module) -> Iterator[None]:
    """Captum's hooks refuse activations that overwrite their input."""
    parts = [part for part in network.modules() if getattr(part, "inplace", False)]
    for part in parts:
        part.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in parts:
            part.inplace = True  # type: ignore[assignment]
