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
from datamodules.errors import UserError


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
        layers: names of modules; empty for all convolutions and linear layers that are called,
            but the last, if it has as many outputs as there are answers: they are the logits.
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
        """Draws the faulty neurons; `image` (at least one) tells the size of the outputs.

        Raises:
            UserError: no image, a layer that does not exist or is not called by itself, or none.
        """
        draw = generator(self.name, checked_share(severity), seed)
        if image is None:
            raise UserError("Expected `image`, a batch (N, C, H, W), to find out sizes; got none.")
        asked = [checked_layer(model, layer) for layer in self.layers]
        outputs, head = _sizes(model, asked or layers_of(model), image[:1])
        names = asked or [name for name in outputs if name != head]
        if absent := [name for name in names if name not in outputs]:
            raise UserError(
                f"The layer {absent[0]!r} has no output of its own to damage: it is not called "
                "once with a tensor as its answer (attention uses the weights of its projections "
                "without calling them). Name the module around it."
            )
        if not names:
            raise UserError(_no_neurons(layers_of(model), outputs))
        sizes = [outputs[name] for name in names]
        taken = distinct(sum(sizes), round(severity * sum(sizes)), draw)
        facts = {"kind": self.name, "severity": severity, "seed": seed, "bit": self.bit}
        kind = "zero" if self.bit is None else self.bit
        return FaultyNeurons(dict(split(names, sizes, taken)), kind, facts)

    def left_out(self, model: nn.Module, image: Tensor) -> list[str]:
        """Convolutions and linear layers that it cannot hit, unless `layers` say which it does.

        Args:
            model: asked once.
            image: at least one.
        """
        names = [] if self.layers else layers_of(model)
        return [name for name in names if name not in _sizes(model, names, image[:1])[0]]


def _no_neurons(layers: list[str], outputs: dict[str, int]) -> str:
    if len(layers) <= 1:
        return "There are no neurons before the logits: the model has one layer."
    lost = ", ".join(name for name in layers if name not in outputs)
    return (
        f"There are no neurons before the logits that could be told apart by image: {lost} answer "
        "several rows for an image, or are not called. Name modules around them by `layers`."
    )


@torch.no_grad()
def _sizes(model: nn.Module, names: list[str], image: Tensor) -> tuple[dict[str, int], str]:
    """How large an image's outputs of layers are, and which layer makes the logits.

    Args:
        model: asked once.
        names: of layers.
        image: `(1, C, H, W)`.

    Returns:
        Elements by layer, in the order of their last calls; without layers that answer no tensor,
        or several rows for an image, which belong to no image. "" where none makes the logits.
    """
    found: dict[str, int] = {}
    channels: dict[str, int] = {}

    def measuring(name: str) -> Any:
        def measure(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and len(output) == len(image):
                found.pop(name, None)
                found[name] = output[0].numel()
                channels[name] = output.shape[-1 if isinstance(module, nn.Linear) else 1]

        return measure

    handles = [model.get_submodule(name).register_forward_hook(measuring(name)) for name in names]
    modes = [(part, part.training) for part in model.modules()]
    try:
        answer = model.eval()(image)
    finally:
        for part, training in modes:
            part.training = training
        for handle in handles:
            handle.remove()
    last = next(reversed(found), "")
    classes = answer.shape[-1] if isinstance(answer, Tensor) else None
    return found, last if classes is None or classes == channels.get(last) else ""
