"""The bit-flip attack: the few flips that do the most harm."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.damage.formats import FORMATS, Format
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection
from callbacks.duplication import duplicate
from callbacks.queries import differentiable
from datamodules.errors import UserError


class Flip(NamedTuple):
    """One bit of one stored weight; bit 0 is the least significant."""

    name: str
    position: int
    bit: int


@dataclass(frozen=True)
class BitFlipAttack:
    """Progressive bit search (Rakin, He, Fan, 1903.12269, 2019) on weights stored as int8.

    One iteration: the gradient of every bit of every layer on one batch; of each layer the bits
    that promise the largest loss are flipped, the loss measured, and flipped back; the layer where
    it grew most keeps its flips. One backward and one forward a layer.

    Args:
        batch: images of the attack, the first ones that it is given.
        top: weights of a layer that are looked at, by size of gradient; None for all.
        selection: which weights.
    """

    batch: int = 128
    top: int | None = None
    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "bit_flip_attack"
    title: ClassVar[str] = "Bit-flip attack (int8)"
    unit: ClassVar[str] = "flipped bits"
    severities: ClassVar[tuple[float, ...]] = (1, 5, 20)
    version: ClassVar[int] = 1

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Flips at most `severity` bits; `seed` chooses the batch; see `Damage`.

        The record's facts hold the flips in order, the loss after each iteration, and the Hamming
        distance (smaller than the number of flips if one was taken back).
        """
        if image is None or label is None:
            raise UserError("The bit-flip attack needs labelled images: give `image` and `label`.")
        self.check(model, severity)
        order = torch.randperm(len(image), generator=torch.Generator().manual_seed(seed))
        rows = order[: self.batch].to(image.device)
        search = _Search(duplicate(model), self, image[rows], label[rows])
        losses = []
        while len(search.flips) < severity and search.tries <= 10:
            losses.append(search.iterate(int(severity) - len(search.flips)))
        facts = {
            "kind": self.name, "severity": severity, "seed": seed, "format": "int8",
            "flips": [list(flip) for flip in search.flips], "losses": losses,
        }  # fmt: skip
        return Record.of_values(model.state_dict(), search.changed(), **facts)

    def check(self, model: nn.Module, severity: float) -> None:
        """Refuses what is no number of bits of the weights, before anything is searched."""
        if not float(severity).is_integer() or severity < 0:
            raise UserError(f"Expected `severity` to be a number of bits, but got {severity:g}.")
        names = self.selection.names(model)
        bits = FORMATS["int8"].bits * sum(model.get_parameter(name).numel() for name in names)
        if severity > bits:
            raise UserError(
                f"Expected `severity` to be at most {bits:,}, the bits of the weights as int8, but "
                f"got {severity:,.0f}."
            )


class _Search:
    """The state of one attack on a copy of the model, whose weights are int8 codes."""

    def __init__(
        self, model: nn.Module, attack: BitFlipAttack, image: Tensor, label: Tensor
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.image, self.label, self.top = image, label, attack.top
        self.kind: Format = FORMATS["int8"]
        self.names = attack.selection.names(model)
        self.weights = {name: model.get_parameter(name) for name in self.names}
        self.steps = {name: self.kind.step(weight) for name, weight in self.weights.items()}
        self.codes = {
            name: self.kind.encode(w, self.steps[name]).contiguous()  # flips go by position
            for name, w in self.weights.items()
        }
        self.clean = {name: code.clone() for name, code in self.codes.items()}
        self.flips: list[Flip] = []
        self.tries = 1
        for name in self.names:
            self._store(name)

    @torch.no_grad()
    def iterate(self, most: int) -> float:
        """Flips the bits of the best layer and returns the loss; none may raise it."""
        loss, gradients = self._gradients()
        best, kept = float(loss), None
        for name in self.names:
            flips = list(self._candidates(name, gradients[name] * self.steps[name], most))
            if not flips:
                continue
            self._flip(flips)
            value = float(F.cross_entropy(self.model(self.image), self.label))
            if value > best or (value != value and kept is None):
                best, kept = value, flips
            self._flip(flips)
        if kept is None:  # no single layer raises the loss: try more bits at once
            self.tries += 1
            return best
        self._flip(kept)
        self.flips += kept
        self.tries = 1
        return best

    def changed(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yields name, positions and values of the weights whose code differs."""
        for name in self.names:
            code = self.codes[name].flatten()
            position = (code != self.clean[name].flatten()).nonzero().squeeze(1)
            if len(position):
                value = self.kind.decode(code[position], self.steps[name])
                yield name, position.cpu(), value.cpu()

    def _candidates(self, name: str, gradient: Tensor, most: int) -> Iterator[Flip]:
        """The bits of one layer that promise the largest growth of the loss, to first order."""
        code, slope = self.codes[name].flatten(), gradient.flatten()
        where = torch.arange(len(code), device=code.device)
        if self.top is not None and self.top < len(code):
            where = slope.abs().topk(self.top).indices
        bit = torch.arange(8, device=code.device)
        place = torch.where(bit == 7, -128.0, 2.0**bit)  # the top bit counts negatively
        is_set = (code[where, None].int() >> bit) & 1
        gain = slope[where, None] * place * (1 - 2 * is_set)
        best = gain.flatten().topk(min(self.tries, most, gain.numel()))
        for value, one in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if value > 0:
                yield Flip(name, int(where[one // 8]), one % 8)

    def _flip(self, flips: list[Flip]) -> None:
        for flip in flips:
            code = self.codes[flip.name].view(-1)
            code[flip.position] ^= -128 if flip.bit == 7 else 1 << flip.bit
            self._store(flip.name)

    def _store(self, name: str) -> None:
        self.weights[name].data.copy_(self.kind.decode(self.codes[name], self.steps[name]))

    @torch.enable_grad()
    def _gradients(self) -> tuple[Tensor, dict[str, Tensor]]:
        weights = list(self.weights.values())
        for weight in weights:
            weight.requires_grad_(True)
        loss = F.cross_entropy(self.model(self.image), self.label)
        if not loss.requires_grad:
            raise UserError("The bit-flip attack needs gradients, which the model does not give.")
        with differentiable():
            gradients = torch.autograd.grad(
                loss, weights, materialize_grads=True, allow_unused=True
            )
        for weight in weights:
            weight.requires_grad_(False)
        return loss.detach(), dict(zip(self.names, gradients, strict=True))
