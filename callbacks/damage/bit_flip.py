"""Random bit flips in stored weights: by count, by error rate, at one bit position; stuck bits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from callbacks.damage.formats import Format, format_of
from callbacks.damage.kind import generator
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection, checked_share, distinct, split
from datamodules.errors import UserError


@dataclass(frozen=True)
class BitDamage:
    """The bits that may be hit.

    Args:
        format: float32, float16, bfloat16, int8 or int4; weights are stored so and read back, those
            that are not hit stay as they are.
        bit: only this position of every weight; 0 is the least significant. None for all.
        selection: which weights; its order must be random.
    """

    format: str = "float32"
    bit: int | None = None
    selection: Selection = EVERYWHERE

    def __post_init__(self) -> None:
        """Refuses bits that the format does not have."""
        bits = format_of(self.format).bits
        if self.bit is not None and not 0 <= self.bit < bits:
            raise UserError(
                f"Expected `bit` of {self.format} in 0 (least significant) .. {bits - 1}, but got "
                f"{self.bit}."
            )

    @property
    def _per_weight(self) -> int:
        return 1 if self.bit is not None else format_of(self.format).bits

    def population(self, model: nn.Module) -> int:
        """How many bits may be hit."""
        sizes = (model.get_parameter(name).numel() for name in self.selection.names(model))
        return sum(sizes) * self._per_weight

    def _hit(
        self, model: nn.Module, count: int, draw: torch.Generator
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yields name, distinct positions and masks of `count` distinct bits."""
        names = self.selection.names(model)
        sizes = [model.get_parameter(name).numel() * self._per_weight for name in names]
        for name, where in split(names, sizes, distinct(sum(sizes), count, draw)):
            position, bit = where // self._per_weight, where % self._per_weight
            if self.bit is not None:
                bit = torch.full_like(position, self.bit)
            # Bits of one weight are distinct, so that their sum is their union.
            position, group = position.unique(return_inverse=True)
            union = torch.zeros_like(position).index_add_(0, group, torch.ones_like(bit) << bit)
            yield name, position, union

    def _record(
        self, model: nn.Module, count: int, draw: torch.Generator, force: int | None = None
    ) -> Record:
        kind, state = format_of(self.format), model.state_dict()
        values = []
        for name, position, union in self._hit(model, count, draw):
            tensor = state[name].detach()
            step = kind.step(tensor)
            code = kind.encode(tensor.take(position.to(tensor.device)).cpu(), step)
            values.append((name, position, kind.decode(_written(kind, code, union, force), step)))
        return Record.of_values(state, values, format=self.format, bits=count)


@dataclass(frozen=True)
class BitFlip(BitDamage):
    """Flips as many distinct bits as the severity says, uniform over (weight, bit) pairs."""

    name: ClassVar[str] = "bit_flip"
    title: ClassVar[str] = "Random bit flips"
    unit: ClassVar[str] = "flipped bits"
    severities: ClassVar[tuple[float, ...]] = (1, 10, 100)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Flips `severity` bits, an integer; see `Damage`."""
        most = self.population(model)
        if not float(severity).is_integer() or not 0 <= severity <= most:
            raise UserError(
                f"Expected `severity` to be a number of bits in 0 .. {most:,}, but got "
                f"{severity:g}."
            )
        made = self._record(model, int(severity), generator(self.name, severity, seed))
        made.facts.update(kind=self.name, severity=severity, seed=seed)
        return made


@dataclass(frozen=True)
class BitError(BitDamage):
    """Flips every bit independently with probability p, the bit error rate.

    The number of flips is drawn from Binomial(bits, p), the flipped bits then without repetition:
    exactly the independent model, at the cost of the flips alone.
    """

    name: ClassVar[str] = "bit_error"
    title: ClassVar[str] = "Bit errors"
    unit: ClassVar[str] = "bit error rate"
    severities: ClassVar[tuple[float, ...]] = (1e-5, 1e-4, 1e-3)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Flips bits at the rate `severity`, in [0, 1]; see `Damage`."""
        draw = generator(self.name, checked_share(severity), seed)
        count = binomial(self.population(model), severity, draw)
        made = self._record(model, count, draw)
        made.facts.update(kind=self.name, severity=severity, seed=seed)
        return made


@dataclass(frozen=True)
class StuckAt(BitDamage):
    """Forces a share of the bits to one value; about half of them have it already.

    Args:
        to: the value.
    """

    to: Literal[0, 1] = 0
    name: ClassVar[str] = "stuck_at"
    title: ClassVar[str] = "Stuck bits"
    unit: ClassVar[str] = "share of bits"
    severities: ClassVar[tuple[float, ...]] = (1e-5, 1e-4, 1e-3)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Forces bits at the rate `severity`; `facts["effective"]` counts what changed."""
        draw = generator(f"{self.name} {self.to}", checked_share(severity), seed)
        count = binomial(self.population(model), severity, draw)
        made = self._record(model, count, draw, self.to)
        made.facts.update(kind=self.name, severity=severity, seed=seed, to=self.to)
        made.facts["effective"] = made.flipped_bits
        return made


@dataclass(frozen=True)
class StuckAtOne(StuckAt):
    """Forces a share of the bits to one."""

    to: Literal[0, 1] = 1
    name: ClassVar[str] = "stuck_at_one"
    title: ClassVar[str] = "Bits stuck at one"


def binomial(n: int, p: float, draw: torch.Generator) -> int:
    """Draws from Binomial(n, p), exactly; float64 counts far beyond any model's bits."""
    count = torch.tensor(float(n), dtype=torch.float64)
    return int(torch.binomial(count, torch.tensor(p, dtype=torch.float64), generator=draw))


def _written(kind: Format, code: Tensor, union: Tensor, force: int | None) -> Tensor:
    mask = union.to(code.dtype)  # wraps: the top bit is the integer's sign
    if force is None:
        return kind.flip(code, mask)
    return code | mask if force else code & ~mask
