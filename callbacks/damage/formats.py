"""How a weight is stored, as bits. Bit 0 is the least significant one, everywhere."""

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import UserError, suggestion

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integer type that shows the bits of a type of as many bytes."""


@dataclass(frozen=True)
class Format:
    """A number format: IEEE-754, or symmetric integers with one step a tensor.

    Args:
        name: as on the command line.
        bits: of a stored weight.
        float_type: None for integers.
    """

    name: str
    bits: int
    float_type: torch.dtype | None = None

    def step(self, weight: Tensor) -> float:
        """The integer format's step of a tensor: max|w| / (2^(bits-1) - 1), 1 for zeros.

        The bit-flip attack's quantiser (1903.12269, 2019); a clean weight never has the lowest
        code, a flip may give it.
        """
        if self.float_type is not None or not weight.numel():
            return 1.0
        return float(weight.abs().max()) / (2 ** (self.bits - 1) - 1) or 1.0

    def encode(self, weight: Tensor, step: float = 1.0) -> Tensor:
        """From values of any float type to their stored bits, as signed integers of this width."""
        if self.float_type is not None:
            stored = weight.to(self.float_type)
            return stored.view(INTEGERS[stored.element_size()])
        most = 2 ** (self.bits - 1) - 1
        return (weight / step).round().clamp(-most - 1, most).to(torch.int8)

    def decode(self, code: Tensor, step: float = 1.0) -> Tensor:
        """From stored bits to float32 values."""
        if self.float_type is not None:
            return code.view(self.float_type).float()
        if self.bits < 8:  # the sign bit of a short code is spread over the byte that holds it
            shift = 8 - self.bits
            code = (code << shift) >> shift
        return code.float() * step

    def flip(self, code: Tensor, mask: Tensor) -> Tensor:
        """Flips the bits that are set in `mask`; twice is not at all."""
        return code ^ mask

    def masks(self, bit: Tensor) -> Tensor:
        """From bit positions `(n,)` int64 to masks of the format's integer type."""
        kind = torch.int8 if self.float_type is None else INTEGERS[self.float_type.itemsize]
        return (torch.ones_like(bit) << bit).to(kind)  # wraps: the top bit is the sign


FORMATS = {
    one.name: one
    for one in (
        Format("float32", 32, torch.float32),
        Format("float16", 16, torch.float16),
        Format("bfloat16", 16, torch.bfloat16),
        Format("int8", 8),
        Format("int4", 4),
    )
}


def format_of(name: str) -> Format:
    """Returns a format by name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in FORMATS:
        raise UserError(f"There is no number format {name!r}.{suggestion(name, FORMATS)}")
    return FORMATS[name]


def stored_as(state: dict[str, Tensor], names: list[str], name: str) -> dict[str, Tensor]:
    """Rounds weights to what a format can store, as float32 again.

    Args:
        state: of a model.
        names: of the tensors to round; the rest is shared.
        name: of the format.

    Returns:
        A state whose damage in that format changes nothing but the damaged weights.
    """
    kind, rounded = format_of(name), dict(state)
    for one in names:
        step = kind.step(state[one])
        rounded[one] = kind.decode(kind.encode(state[one], step), step).to(state[one].dtype)
    return rounded
