"""Which channels were removed: done again without a trace of the network, and undone."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from datamodules.errors import UserError

_COUNTS = ("in_channels", "out_channels", "groups", "num_features", "in_features", "out_features")
_Attributes = dict[str, dict[str, int]]


@dataclass(frozen=True)
class RemovedChannels:
    """Channels to remove, exact in both directions; replayed without a trace of the network.

    Args:
        kept: by name in the state dict; positions `(new shape)` in the flattened old tensor.
        before: the tensors as they were.
        counts: channels of modules after the damage, by module and attribute.
        counts_before: the same before it.
        facts: kind, severity, seed and what was removed; plain values.
    """

    kept: dict[str, Tensor]
    before: dict[str, Tensor]
    counts: _Attributes
    counts_before: _Attributes
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many parameters and statistics are removed."""
        return sum(self.before[name].numel() - where.numel() for name, where in self.kept.items())

    def apply(self, model: nn.Module) -> nn.Module:
        """Shrinks a model in place.

        Raises:
            UserError: its tensors have other shapes; the model stays as it is.
        """
        state = dict(model.state_dict())
        for name, tensor in self.before.items():
            if name not in state or state[name].shape != tensor.shape:
                got = tuple(state[name].shape) if name in state else "none"
                raise UserError(f"Expected {name!r} of {tuple(tensor.shape)}, but got {got}.")
        new = {name: state[name].take(p.to(state[name].device)) for name, p in self.kept.items()}
        return _written(model, new, self.counts)

    def undo(self, model: nn.Module) -> nn.Module:
        """Gives a shrunk model its old shapes and values back, bit for bit."""
        return _written(model, {n: t.clone() for n, t in self.before.items()}, self.counts_before)

    def save(self, file: Path) -> Path:
        """Writes safetensors; a state dict alone does not say which channels are left."""
        parts = {f"kept|{name}": tensor.contiguous() for name, tensor in self.kept.items()}
        parts |= {f"before|{name}": tensor.contiguous() for name, tensor in self.before.items()}
        rest = json.dumps([self.counts, self.counts_before, self.facts])
        save_file(parts, file, metadata={"assay": rest})
        return file

    @classmethod
    def of(
        cls, model: nn.Module, kept: dict[str, Tensor], facts: dict[str, Any]
    ) -> "RemovedChannels":
        """Records what shrinks a model to some of its numbers.

        Args:
            model: undamaged.
            kept: see the class.
            facts: kept with the record.
        """
        before = {name: model.state_dict()[name].detach().clone() for name in kept}
        owners = sorted({name.rpartition(".")[0] for name in kept})
        old = {name: _counts(model.get_submodule(name)) for name in owners}
        new = {name: _counts_after(model.get_submodule(name), name, kept) for name in owners}
        return cls(kept, before, new, old, facts)

    @classmethod
    def load(cls, file: Path) -> "RemovedChannels":
        """Reads what `save` wrote."""
        parts: dict[str, dict[str, Tensor]] = {"kept": {}, "before": {}}
        with safe_open(file, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118  (safe_open is no dictionary)
                part, _, name = key.partition("|")
                parts[part][name] = stored.get_tensor(key)
            rest = json.loads((stored.metadata() or {})["assay"])
        return cls(parts["kept"], parts["before"], *rest)


def _counts(part: nn.Module) -> dict[str, int]:
    return {name: getattr(part, name) for name in _COUNTS if hasattr(part, name)}


def _counts_after(part: nn.Module, name: str, kept: dict[str, Tensor]) -> dict[str, int]:
    """What a module's attributes are with the shapes that are left."""
    counts = _counts(part)
    if f"{name}.weight" not in kept:
        return counts
    shape = kept[f"{name}.weight"].shape
    if isinstance(part, nn.Linear):
        return {"out_features": shape[0], "in_features": shape[1]}
    if isinstance(part, nn.modules.conv._ConvNd):
        depthwise = part.groups > 1 and part.groups == part.in_channels
        groups = shape[0] * part.groups // part.out_channels if depthwise else part.groups
        return {
            "in_channels": shape[1] * groups, "out_channels": shape[0], "groups": groups,
        }  # fmt: skip
    return dict.fromkeys(counts, shape[0])


def _written(model: nn.Module, state: dict[str, Tensor], counts: _Attributes) -> nn.Module:
    """Gives modules other tensors and counts."""
    for name, tensor in state.items():
        owner, _, own = name.rpartition(".")
        part = model.get_submodule(owner)
        old = getattr(part, own)
        tensor = tensor.to(old.device)
        if isinstance(old, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=old.requires_grad)
        setattr(part, own, tensor)
    for name, attributes in counts.items():
        for attribute, value in attributes.items():
            setattr(model.get_submodule(name), attribute, value)
    return model
