"""Faults of neurons: outputs of layers that are dead or have a flipped bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from callbacks.damage.formats import format_of
from callbacks.damage.kind import generator
from callbacks.damage.selection import checked_layer, checked_share, distinct, layers_of, split


@dataclass(frozen=True)
class FaultyNeurons:
    """Which elements of which outputs are faulty, the same ones for every image.

    Args:
        position: `(n,)` by layer, in the flattened output of one image.
        kind: "zero", or the bit of float32 that is flipped (0 is the least significant).
        facts: kept with it.
    """

    position: dict[str, Tensor]
    kind: Literal["zero"] | int
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many neurons are faulty."""
        return sum(map(len, self.position.values()))

    @contextmanager
    def installed(self, model: nn.Module) -> Iterator[nn.Module]:
        """Hooks the faults into a model; the hooks are gone afterwards."""
        handles = [
            model.get_submodule(name).register_forward_hook(self._hook(position))
            for name, position in self.position.items()
        ]
        try:
            yield model
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, position: Tensor) -> Any:
        kind = format_of("float32")

        def faulty(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            flat, where = output.flatten(1).clone(), position.to(output.device)
            if self.kind == "zero":
                flat[:, where] = 0
            else:
                mask = kind.masks(torch.tensor(self.kind, device=output.device))
                hit = kind.flip(flat[:, where].float().contiguous().view(torch.int32), mask)
                flat[:, where] = hit.view(torch.float32).to(flat.dtype)
            return flat.view_as(output)

        return faulty


@dataclass(frozen=True)
class ActivationFault:
    """Makes a share of the neurons faulty: outputs of convolutions and linear layers, by hooks.

    Args:
        bit: flipped in float32 (0 is the least significant); None sets the output to zero.
        layers: names of modules; empty for all convolutions and linear layers but the last, whose
            outputs are the logits.
    """

    bit: int | None = None
    layers: tuple[str, ...] = ()
    name: ClassVar[str] = "activation_fault"
    title: ClassVar[str] = "Faulty neurons"
    unit: ClassVar[str] = "share of neurons"
    severities: ClassVar[tuple[float, ...]] = (0.001, 0.01, 0.1)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> FaultyNeurons:
        """Draws the faulty neurons; `image` (at least one) tells the size of the outputs."""
        draw = generator(self.name, checked_share(severity), seed)
        names = [checked_layer(model, one) for one in self.layers] or layers_of(model)[:-1]
        assert image is not None
        sizes = [outputs[name] for outputs in [_sizes(model, names, image[:1])] for name in names]
        taken = distinct(sum(sizes), round(severity * sum(sizes)), draw)
        facts = {"kind": self.name, "severity": severity, "seed": seed, "bit": self.bit}
        kind = "zero" if self.bit is None else self.bit
        return FaultyNeurons(dict(split(names, sizes, taken)), kind, facts)


@torch.no_grad()
def _sizes(model: nn.Module, names: list[str], image: Tensor) -> dict[str, int]:
    """How many elements the output of each layer has for one image."""
    found: dict[str, int] = {}

    def measuring(name: str) -> Any:
        return lambda module, inputs, output: found.update({name: output[0].numel()})

    handles = [model.get_submodule(name).register_forward_hook(measuring(name)) for name in names]
    training = model.training
    try:
        model.eval()(image)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return found
