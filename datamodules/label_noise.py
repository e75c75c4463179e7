"""Wrong labels on training images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.sample_randomness import check_rate, chosen_share, sample_uniform
from datamodules.spoiled import Spoiling

MAPPINGS: dict[str, dict[int, int]] = {
    # truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog
    "cifar10": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
    # 2 -> 7, 3 -> 8, 5 <-> 6, 7 -> 1
    "mnist": {2: 7, 3: 8, 5: 6, 6: 5, 7: 1},
}
"""Classes that are taken for each other (Patrini et al., 1609.03683, 2017)."""


@dataclass(frozen=True)
class SymmetricLabelNoise:
    """Gives exactly `round(rate * N)` samples a random label.

    Args:
        rate: share, in [0, 1].
        exclusive: one of the other classes, so that the rate of wrong labels is `rate`; else one of
            all of them, and it is `rate * (C - 1) / C` on average.
    """

    rate: float
    exclusive: bool = True

    def __post_init__(self) -> None:
        """Refuses rates that are none."""
        check_rate(self.rate)

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`.

        Raises:
            UserError: there is only one class.
        """
        if classes < 2:
            raise UserError(f"Expected at least 2 classes for label noise, but got {classes}.")
        rows = _by_index(index, chosen_share(index, self.rate, "label", seed))
        number, old = sample_uniform(index[rows], "new label", seed), label[rows]
        if self.exclusive:
            new = (old + 1 + (number * (classes - 1)).long()) % classes
        else:
            new = (number * classes).long()
        kind = "exclusive" if self.exclusive else "inclusive"
        facts = {"kind": "symmetric_label_noise", "rate": self.rate, "draw": kind}
        return Spoiling(index[rows], label=new, facts=facts)


@dataclass(frozen=True)
class AsymmetricLabelNoise:
    """Confuses classes in one direction, `round(rate * n)` samples of each.

    Args:
        rate: share of the samples of every class that is mapped.
        mapping: "pair" takes c for (c + 1) mod C; "cifar10" and "mnist" take look-alikes; or a
            class for each class.
    """

    rate: float
    mapping: Literal["pair", "cifar10", "mnist"] | Mapping[int, int] = "pair"

    def __post_init__(self) -> None:
        """Refuses rates and mappings that are none."""
        check_rate(self.rate)
        if isinstance(self.mapping, str) and self.mapping not in ("pair", *MAPPINGS):
            raise UserError(
                f"Expected `mapping` to be pair, {', '.join(MAPPINGS)} or classes by class, but "
                f"got {self.mapping!r}."
            )

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`.

        Raises:
            UserError: the mapping names a class that does not exist.
        """
        mapping = self._mapping_of(classes)
        chosen = []
        for source in mapping:
            rows = (label == source).nonzero()[:, 0]
            chosen.append(rows[chosen_share(index[rows], self.rate, "label", seed)])
        rows = _by_index(index, torch.cat([torch.empty(0, dtype=torch.int64), *chosen]))
        table = torch.tensor([mapping.get(source, source) for source in range(classes)])
        name = self.mapping if isinstance(self.mapping, str) else str(dict(self.mapping))
        facts = {"kind": "asymmetric_label_noise", "rate": self.rate, "mapping": name}
        return Spoiling(index[rows], label=table[label[rows]], facts=facts)

    def _mapping_of(self, classes: int) -> dict[int, int]:
        if self.mapping == "pair":
            return {source: (source + 1) % classes for source in range(classes)}
        mapping = MAPPINGS[self.mapping] if isinstance(self.mapping, str) else dict(self.mapping)
        for number in (*mapping, *mapping.values()):
            if not 0 <= number < classes:
                raise UserError(
                    f"Expected `mapping` of classes 0 to {classes - 1}, but it names {number}."
                )
        return mapping


def _by_index(index: Tensor, rows: Tensor) -> Tensor:
    """Rows in the order of their samples' indices."""
    return rows[index[rows].argsort()]
