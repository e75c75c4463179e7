"""Checksums stored beforehand, by which damaged weights are found, and single flips mended."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from callbacks.damage.formats import format_of
from datamodules.errors import UserError

_BLOCK = 2**22
"""Bits that are laid open at once."""


@dataclass(frozen=True)
class Signatures:
    """Extended Hamming checksums over groups of weights, in two interleavings.

    All stored words are laid end to end and dealt out to groups twice: in turn, and by a seeded
    permutation (RADAR, 2101.08254, 2021, interleaves once and keeps two bits). A signature is the
    exclusive or of the addresses of all set bits, and their parity: a single flipped bit in a group
    changes the parity and names its own address (Hamming 1950). Flips that share a group in one
    interleaving are usually alone in the other, so that mending one reveals the next. The second
    deals out the addresses of bits at random too: flips within one word whose addresses cancel in
    one (30 that becomes 0, in int8) do not in the other.

    Args:
        format: of the stored words.
        steps: of each tensor, for integer formats; part of a deployed model.
        group: words in a group.
        seed: of the second interleaving.
        stored: `(2, groups)` int64, signature of each group.
    """

    format: str
    steps: dict[str, float]
    group: int
    seed: int
    stored: Tensor

    @classmethod
    def of(
        cls,
        weights: dict[str, Tensor],
        stored_in: str = "int8",
        group: int = 1024,
        seed: int = 0,
    ) -> "Signatures":
        """Signs undamaged weights.

        Args:
            weights: by name.
            stored_in: the format of the stored words.
            group: words in a group; the storage is about 30 bits for each group.
            seed: of the second interleaving.

        Raises:
            UserError: a group of fewer than two words.
        """
        if group < 2:
            raise UserError(f"Expected `group` to be at least 2 words, but got {group}.")
        steps = {name: format_of(stored_in).step(weight) for name, weight in weights.items()}
        blank = cls(stored_in, steps, group, seed, torch.zeros(0))
        return cls(stored_in, steps, group, seed, blank._sign(blank._words(weights)))

    @property
    def bits(self) -> int:
        """What storing the signatures takes, seed and group size (8 bytes) included."""
        return self.stored.numel() * (self._address_bits + 1) + 64

    def suspects(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns masks of the weights whose groups differ in both interleavings."""
        words = self._words(weights)
        differ = self._sign(words) != self.stored
        mask = torch.ones(len(words), dtype=torch.bool)
        for places, wrong in zip(self._places(len(words)), differ, strict=True):
            flagged = torch.zeros(places.numel(), dtype=torch.bool)
            flagged[places] = wrong[:, None].expand_as(places)
            mask &= flagged[: len(words)]
        return {
            name: part.view_as(weights[name])
            for name, part in zip(weights, self._parts(mask, weights), strict=True)
        }

    def mended(self, weights: dict[str, Tensor], rounds: int = 20) -> dict[str, Tensor]:
        """Returns the weights with every flip taken back that the signatures can name.

        Words that change are decoded anew; all others stay bit-identical.
        """
        before = self._words(weights)
        words, both = before.clone(), list(self._places(len(before)))
        for _ in range(rounds):
            start = words.clone()
            for which, places in enumerate(both):
                syndrome = self._sign_one(words, places, which) ^ self.stored[which]
                self._take_back(words, places, syndrome, which)
            if torch.equal(words, start):  # mended, or nothing left that a checksum could name
                break
        self._give_up(words, before, both)
        return self._written(weights, before, words)

    def differing(self, weights: dict[str, Tensor]) -> int:
        """Counts the groups whose checksums are not those of the undamaged weights."""
        return int((self._sign(self._words(weights)) != self.stored).sum(1).max())

    def _give_up(self, words: Tensor, before: Tensor, both: list[Tensor]) -> None:
        """Undoes what was tried in groups that had more flips than a checksum can name."""
        settled = False
        while not settled:
            settled = True
            for which, (places, stored) in enumerate(zip(both, self.stored, strict=True)):
                beyond = places[self._sign_one(words, places, which) != stored].flatten()
                beyond = beyond[beyond < len(words)]
                settled &= torch.equal(words[beyond], before[beyond])
                words[beyond] = before[beyond]

    def _take_back(self, words: Tensor, places: Tensor, syndrome: Tensor, which: int) -> None:
        """Flips the bit that each group's syndrome names, if it names one."""
        address = (syndrome >> 1) - 1
        single = (syndrome & 1).bool() & (address >= 0) & (address < self._width * self.group)
        rows = single.nonzero().squeeze(1)
        position = self._order(which).argsort()[address[rows]]
        word, bit = places[rows, position // self._width], position % self._width
        mine = word < len(words)  # beyond are the zeros that fill the last groups
        words[word[mine]] ^= torch.ones_like(word[mine]) << bit[mine]

    # -- words -----------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        return format_of(self.format).bits

    @property
    def _address_bits(self) -> int:
        return (self._width * self.group).bit_length()

    def _words(self, weights: dict[str, Tensor]) -> Tensor:
        """All stored words end to end, int64."""
        kind = format_of(self.format)
        return torch.cat(
            [
                kind.encode(weight.detach().cpu().flatten(), self.steps[name]).long()
                for name, weight in weights.items()
            ]
        )

    def _written(
        self, weights: dict[str, Tensor], before: Tensor, after: Tensor
    ) -> dict[str, Tensor]:
        kind, made = format_of(self.format), {}
        low = 2**self._width
        parts = zip(
            weights.items(), self._parts(before, weights), self._parts(after, weights), strict=True
        )
        for (name, weight), old, new in parts:
            made[name] = weight.detach().clone()
            where = (old != new).nonzero().squeeze(1)
            code = new[where] % low
            code = torch.where(code >= low // 2, code - low, code)  # back to a signed word
            value = kind.decode(code.to(kind.encode(weight.new_zeros(1)).dtype), self.steps[name])
            made[name].put_(where.to(weight.device), value.to(weight))
        return made

    @staticmethod
    def _parts(words: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return words.split([weight.numel() for weight in weights.values()])

    # -- groups ----------------------------------------------------------------------------------

    def _places(self, count: int) -> Iterator[Tensor]:
        """Yields `(groups, group)` word positions of each interleaving; fillers lie beyond."""
        groups = -(-count // self.group)
        yield torch.arange(groups * self.group).view(self.group, groups).T
        draw = torch.Generator().manual_seed(self.seed)
        yield torch.randperm(groups * self.group, generator=draw).view(groups, self.group)

    def _sign(self, words: Tensor) -> Tensor:
        both = enumerate(self._places(len(words)))
        return torch.stack([self._sign_one(words, places, which) for which, places in both])

    def _sign_one(self, words: Tensor, places: Tensor, which: int) -> Tensor:
        """`(groups,)`: address bits of the exclusive or above the parity bit."""
        filled = torch.cat([words, words.new_zeros(places.numel() - len(words))])
        rows = max(1, _BLOCK // (self.group * self._width))
        shift = torch.arange(self._width)
        parts = []
        for block in places.split(rows):
            bits = ((filled[block][..., None] >> shift) & 1).flatten(1).float()
            odd = (bits @ self._addresses[which]).long() & 1  # counts are below 2^24: exact
            parts.append((odd << torch.arange(odd.shape[1])).sum(1))
        return torch.cat(parts)

    @cached_property
    def _addresses(self) -> tuple[Tensor, ...]:
        """`(bits of a group, 1 + address bits)`: a one for the parity, then the address from 1."""
        return tuple(map(self._digits, (0, 1)))

    def _digits(self, which: int) -> Tensor:
        address = 1 + self._order(which)
        digits = (address[:, None] >> torch.arange(self._address_bits)) & 1
        return torch.cat([torch.ones(len(address), 1), digits.float()], 1)

    def _order(self, which: int) -> Tensor:
        """From the position of a bit in its group to its address from 0."""
        count = self.group * self._width
        if which == 0:
            return torch.arange(count)
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed + 1))
