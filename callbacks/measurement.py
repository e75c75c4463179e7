"""What goes into a probe and what comes out of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.randomness import Draw
from callbacks.rows import is_answer


@dataclass(frozen=True)
class Setting:
    """One point of a severity curve.

    Args:
        name: metric stem, `[a-z0-9_]`: "clean", "pgd_linf", "fog".
        severity: the integer MLflow draws curves over, in the family's unit (attacks:
            1000·epsilon).
        value: the exact severity, for instance epsilon.
        draw: which of several random variants of one severity.
    """

    name: str
    severity: int
    value: float
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g}" if self.severity else self.name


@dataclass(frozen=True)
class Samples:
    """Images on the device with what the model says of them undisturbed.

    Args:
        image: `(N, C, H, W)` float32 in [0, 1].
        label: `(N,)` int64.
        index: `(N,)` int64, position in the data set.
        logits: `(N, K)` float32 clean outputs, measured once for all probes.
        seed: of the run.
    """

    image: Tensor
    label: Tensor
    index: Tensor
    logits: Tensor
    seed: int = 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def draw(self) -> Draw:
        """The samples' own random numbers."""
        return Draw(self.seed, self.index)

    @property
    def correct(self) -> Tensor:
        """`(N,)` bool: classified correctly when undisturbed."""
        return (self.logits.argmax(1) == self.label) & is_answer(self.logits)

    def select(self, rows: Tensor | slice) -> "Samples":
        """Returns some of the samples, by indices, mask or slice."""
        parts = (part[rows] for part in (self.image, self.label, self.index, self.logits))
        return Samples(*parts, seed=self.seed)

    @staticmethod
    def join(parts: Sequence["Samples"]) -> "Samples":
        """Concatenates at least one part."""
        if len(parts) == 1:
            return parts[0]
        names = ("image", "label", "index", "logits")
        columns = (torch.cat([getattr(part, name) for part in parts]) for name in names)
        return Samples(*columns, seed=parts[0].seed)


class Measurement(NamedTuple):
    """A model's answers under one setting.

    Args:
        setting: which.
        logits: `(N, K)` answers of the model to the disturbed samples.
        extras: further `(N,)` columns; `forwards` and `backwards` replace the counted average.
        label: `(N,)` what is right, where that is not the samples' label.
    """

    setting: Setting
    logits: Tensor
    extras: Mapping[str, Tensor] = MappingProxyType({})
    label: Tensor | None = None


Listener = Callable[[Setting, Samples, Tensor, Tensor], None]
"""Is told of the images `(n, C, H, W)` that an attack returned for some samples under a setting,
after the judge has projected them, and of the answers `(n, K)` to them."""
