"""Random numbers that belong to the sample: the same for any batch, order or device count."""

import zlib

import torch
from torch import Tensor

# The 32-bit finaliser "lowbias32" (Wellons 2018): two multiplications, every input bit flips every
# output bit with probability within 0.2 % of a half. Second constant as a signed 32-bit number.
_MULTIPLY_1, _MULTIPLY_2 = 0x7FEB352D, 0x846CA68B - 2**32
_GOLDEN = 0x9E3779B9 - 2**32  # keeps the two keys of a sample apart
_UNIT = 2.0**-24  # float32 holds 24-bit integers exactly


class Draw:
    """Numbers that depend on (seed, sample index, purpose, step, position) and on nothing else.

    A hash of those five takes the place of a generator, so there is no state to share between
    batches, ranks or resumed runs. Integer arithmetic is exact, hence uniforms are bit-identical
    on every device; normals go through `erfinv`, which may round differently per device kind.

    Args:
        seed: the run's seed.
        index: `(N,)` integer positions of the samples in their data set.
    """

    def __init__(self, seed: int, index: Tensor) -> None:
        self.seed = seed
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def select(self, rows: Tensor) -> "Draw":
        """Returns the draw of the samples `rows` (indices or mask), with the numbers they had."""
        return Draw(self.seed, self.index[rows])

    def uniform(self, purpose: str, step: int | Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draws `(N, *shape)` float32 numbers from [0, 1).

        Args:
            purpose: what they are for, so that two uses of one step do not share numbers.
            step: iteration or repetition, one for all samples or `(N,)`.
            shape: of one sample's numbers.
        """
        return (self._bits(purpose, step, shape) >> 8 & 0xFFFFFF).float() * _UNIT

    def normal(self, purpose: str, step: int | Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draws `(N, *shape)` float32 standard normal numbers; 24 bits end at 5.4 sigma."""
        bits = self._bits(purpose, step, shape) >> 8 & 0xFFFFFF
        # Centred in (-1, 1): neither end is reached, so erfinv stays finite.
        return torch.erfinv((bits.float() * 2 + (1 - 2**24)) * _UNIT) * 2**0.5

    def _bits(self, purpose: str, step: int | Tensor, shape: tuple[int, ...]) -> Tensor:
        """Hashes every position of every sample to 32 random bits, `(N, *shape)` int32."""
        first, second = self._keys(purpose, step)
        position = torch.arange(
            int(torch.Size(shape).numel()), dtype=torch.int32, device=self.index.device
        )
        # Each sample walks the positions with a stride (odd, hence a bijection) and an offset of
        # its own, so two samples never see shifted copies of one sequence.
        walk = position[None, :] * (second | 1)[:, None] + first[:, None]
        return _mix(walk).reshape(len(self), *shape)

    def _keys(self, purpose: str, step: int | Tensor) -> tuple[Tensor, Tensor]:
        """Hashes (seed, purpose, step, index) to two independent `(N,)` int32 keys."""
        words = (self.seed, self.seed >> 32, zlib.crc32(purpose.encode()), step)
        key = torch.zeros_like(self.index, dtype=torch.int32)
        for word in (*words, self.index, self.index >> 32):
            key = _mix(key + _GOLDEN ^ _low_bits(word, key))
        return key, _mix(key ^ _GOLDEN)


def _low_bits(word: int | Tensor, like: Tensor) -> Tensor:
    """The low 32 bits of `word` as int32."""
    if isinstance(word, Tensor):
        return (
            ((word.long() & 0xFFFFFFFF) - ((word.long() & 0x80000000) << 1)).int().to(like.device)
        )
    word &= 0xFFFFFFFF
    return torch.full_like(like, word - 2**32 if word >= 2**31 else word)


def _mix(x: Tensor) -> Tensor:
    """Scrambles int32 in a bijection; shifts are made logical by masking the copied sign bits."""
    x = (x ^ (x >> 16 & 0xFFFF)) * _MULTIPLY_1
    x = (x ^ (x >> 15 & 0x1FFFF)) * _MULTIPLY_2
    return x ^ (x >> 16 & 0xFFFF)
