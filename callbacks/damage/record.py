"""What was done to the weights, bit by bit: done again on a fresh model, and undone."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from callbacks.damage.formats import INTEGERS
from datamodules.errors import UserError


@dataclass(frozen=True)
class Change:
    """The changed elements of one tensor.

    Args:
        position: `(n,)` int64, ascending, in the flattened tensor.
        before: `(n,)` bit patterns, integers as wide as the tensor's type.
        after: the same, damaged.
    """

    position: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class Record:
    """Damage of parameters, exact in both directions.

    Bit patterns are compared, not numbers: a NaN never equals itself, and -0 is not 0.

    Args:
        changes: by name in the state dict.
        facts: kind, severity, seed and whatever else a reader needs; plain values.
    """

    changes: dict[str, Change]
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many elements were changed."""
        return sum(len(change.position) for change in self.changes.values())

    @property
    def flipped_bits(self) -> int:
        """Hamming distance of the float patterns before and after."""
        return sum(_ones(change.before ^ change.after) for change in self.changes.values())

    def apply(self, model: nn.Module) -> nn.Module:
        """Damages a model in place.

        Raises:
            UserError: the model is not the one that the record was made of.
        """
        return self._write(model, "before", "after")

    def undo(self, model: nn.Module) -> nn.Module:
        """Gives a damaged model back, bit for bit.

        Raises:
            UserError: the model is not as `apply` left it.
        """
        return self._write(model, "after", "before")

    def damaged(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns damaged copies of the tensors that change, for `functional_call`."""
        made = {}
        for name, change in self.changes.items():
            made[name] = copied(state[name])
            _bits(made[name]).put_(
                change.position.to(made[name].device), change.after.to(made[name].device)
            )
        return made

    def hit(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns masks shaped as the tensors, True where an element was changed."""
        masks = {}
        for name, change in self.changes.items():
            mask = torch.zeros(state[name].shape, dtype=torch.bool)
            masks[name] = mask.put_(change.position, torch.ones_like(change.position).bool())
        return masks

    def save(self, file: Path) -> Path:
        """Writes safetensors with the facts in the header."""
        tensors = {
            f"{name}|{part}": getattr(change, part)
            for name, change in self.changes.items()
            for part in ("position", "before", "after")
        }
        facts = {"assay": json.dumps(self.facts), "convention": "bit 0 is the least significant"}
        save_file(tensors, file, metadata=facts)
        return file

    @classmethod
    def load(cls, file: Path) -> "Record":
        """Reads what `save` wrote."""
        with safe_open(file, "pt") as stored:
            facts = json.loads((stored.metadata() or {})["assay"])
            names = dict.fromkeys(key.rpartition("|")[0] for key in stored.keys())  # noqa: SIM118
            parts = ("position", "before", "after")
            changes = {
                name: Change(*(stored.get_tensor(f"{name}|{part}") for part in parts))
                for name in names
            }
        return cls(changes, facts)

    @classmethod
    def between(
        cls, before: Mapping[str, Tensor], after: Mapping[str, Tensor], facts: dict[str, Any]
    ) -> "Record":
        """Records every element whose bits differ between two states of one shape."""
        changes = {}
        for name, tensor in after.items():
            one, other = _bits(before[name]).flatten(), _bits(tensor).flatten()
            position = (one != other).nonzero().squeeze(1)
            if len(position):
                parts = (position, one[position], other[position])
                changes[name] = Change(*(part.cpu() for part in parts))
        return cls(changes, facts)

    @classmethod
    def of_values(
        cls, state: Mapping[str, Tensor], values: Iterable[tuple[str, Tensor, Tensor]], **facts: Any
    ) -> "Record":
        """Records new values of some elements.

        Args:
            state: undamaged.
            values: name, positions `(n,)` and new values `(n,)` of each tensor.
            **facts: kept with the record.
        """
        changes = {}
        for name, position, value in values:
            tensor = state[name].detach()
            before = _bits(tensor).take(position.to(tensor.device)).cpu()
            after = _bits(value.to(tensor.dtype).contiguous()).cpu()
            position, other = position.cpu(), before != after
            if other.any():
                changes[name] = Change(position[other], before[other], after[other])
        return cls(changes, dict(facts))

    @torch.no_grad()
    def _write(self, model: nn.Module, old: str, new: str) -> nn.Module:
        state = model.state_dict()
        for name, change in self.changes.items():
            if name not in state:
                raise UserError(f"The record damages {name!r}, which the model does not have.")
            bits, there = _bits(state[name]), change.position.to(state[name].device)
            if not torch.equal(bits.take(there).cpu(), getattr(change, old)):
                raise UserError(
                    f"Expected the weights {name!r} that the record was made of, but got others: "
                    "damage is exact only on the same weights."
                )
            bits.put_(there, getattr(change, new).to(bits.device))
        return model


def copied(tensor: Tensor) -> Tensor:
    """A copy with the same strides: kernels add in another order where memory lies otherwise."""
    copy = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return copy.copy_(tensor.detach())


def _bits(tensor: Tensor) -> Tensor:
    """A tensor's bits as integers, sharing its memory."""
    tensor = tensor.detach()
    return tensor.view(INTEGERS[tensor.element_size()])


def _ones(pattern: Tensor) -> int:
    """Counts the set bits."""
    width = 8 * pattern.element_size()
    return sum(int(((pattern >> bit) & 1).sum()) for bit in range(width))
