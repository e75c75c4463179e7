"""Whole layers and blocks taken out of a network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from callbacks.damage.kind import generator
from callbacks.damage.selection import checked_layer, layers_of
from datamodules.errors import UserError

_SHORTCUTS = ("downsample", "shortcut")
_Shape = tuple[int, ...]


class Shortcut(nn.Module):
    """What is left of a removed layer: its input, or its input by the block's own shortcut.

    Parameters of the shortcut keep their names in the state dict.

    Args:
        removed: the layer; hidden here, so that the removal can be undone on any copy.
        shortcut: name of the layer's child that projects; empty for the identity.
    """

    def __init__(self, removed: nn.Module, shortcut: str = "") -> None:
        super().__init__()
        # Not submodules: what is removed is neither saved, counted nor trained.
        self._hidden = (removed,)
        self.rectifier = getattr(removed, "relu", None) if shortcut else None
        self.own = shortcut
        if shortcut:
            self.add_module(shortcut, getattr(removed, shortcut))

    @property
    def removed(self) -> nn.Module:
        """The layer that was here."""
        return self._hidden[0]

    def forward(self, x: Tensor) -> Tensor:
        """From `(N, C, H, W)` to what the rest of the network expects."""
        x = getattr(self, self.own)(x) if self.own else x
        return self.rectifier(x) if self.rectifier is not None else x


@dataclass(frozen=True)
class RemovedLayers:
    """Layers to remove, exact in both directions.

    Args:
        shortcuts: by the removed layer's name; its child that stays, or "" for the identity.
        facts: kind, severity, seed and layers; plain values, enough to do it again.
    """

    shortcuts: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many layers are removed."""
        return len(self.shortcuts)

    def apply(self, model: nn.Module) -> nn.Module:
        """Removes the layers in place.

        Raises:
            UserError: a layer is not there, or is removed already; the model stays as it is.
        """
        parts = {name: model.get_submodule(checked_layer(model, name)) for name in self.shortcuts}
        for name, part in parts.items():
            if isinstance(part, Shortcut):
                raise UserError(f"The layer {name!r} is removed already: undo the removal first.")
        for name, part in parts.items():
            left = Shortcut(part, self.shortcuts[name])
            _put(model, name, left).training = part.training
        return model

    def undo(self, model: nn.Module) -> nn.Module:
        """Puts the layers back, weights, buffers and modes as they were.

        Raises:
            UserError: a layer was not removed; the model stays as it is.
        """
        parts = {name: model.get_submodule(checked_layer(model, name)) for name in self.shortcuts}
        for name, part in parts.items():
            if not isinstance(part, Shortcut):
                raise UserError(f"Expected the layer {name!r} to be removed, but it is there.")
            _put(model, name, part.removed)
        return model


@dataclass(frozen=True)
class RemoveLayers:
    """Removes layers: a residual block leaves its shortcut, a layer that keeps shapes nothing.

    Residual networks degrade gracefully, plain ones collapse (Veit et al., 1605.06431, 2016).

    Args:
        layers: names of modules; empty draws as many removable blocks as the severity says.
    """

    layers: tuple[str, ...] = ()
    name: ClassVar[str] = "remove_layers"
    title: ClassVar[str] = "Layers removed"
    unit: ClassVar[str] = "blocks"
    severities: ClassVar[tuple[float, ...]] = (1, 2, 4)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> RemovedLayers:
        """Chooses the layers; the model is left as it is.

        Args:
            model: undamaged.
            severity: number of blocks to draw; it must be the number of `layers` where they are
                named.
            seed: of the draw.
            image: `(N, C, H, W)`, to find out shapes.
            label: not asked for.

        Raises:
            UserError: more blocks than can be removed, a layer that does not exist, or one that
                cannot be removed, with the reason.
        """
        shapes = _shapes(model, _needed(image))
        if self.layers:
            chosen = [checked_layer(model, name) for name in self.layers]
            _check_apart(chosen)
            for name in chosen:
                if why := _refusal(model, name, shapes):
                    can = ", ".join(_removable(model, shapes)) or "none"
                    raise UserError(f"Cannot remove {name!r}: {why}. Blocks that can be: {can}.")
            _check_count(severity, len(chosen), len(chosen), "the number of `layers`")
        else:
            known = _removable(model, shapes)
            _check_count(severity, 0, len(known), f"a whole number of removable blocks ({known})")
            order = torch.randperm(len(known), generator=generator(self.name, 0, seed))
            chosen = [known[i] for i in order[: int(severity)].sort().values.tolist()]
        shortcuts = {name: _shortcut(model, name, shapes) or "" for name in chosen}
        facts = {"kind": self.name, "severity": severity, "seed": seed, "layers": ",".join(chosen)}
        return RemovedLayers(shortcuts, facts)


def removable(model: nn.Module, image: Tensor) -> list[str]:
    """Names the blocks with weights that can be removed, none inside another, the head left out.

    Args:
        model: from images to logits.
        image: `(N, C, H, W)`.
    """
    return _removable(model, _shapes(model, image))


def _removable(model: nn.Module, shapes: dict[str, list[tuple[_Shape, _Shape]]]) -> list[str]:
    weighted = layers_of(model)
    total = sum(p.numel() for p in model.parameters())
    found = [name for name in _blocks(model, "", total / 2, weighted) if name != weighted[-1]]
    return [name for name in found if not _refusal(model, name, shapes)]


def _blocks(module: nn.Module, prefix: str, large: float, weighted: list[str]) -> Iterator[str]:
    """Names outermost modules with weights; containers, and what is most of the model, opened."""
    for own, child in module.named_children():
        name, size = f"{prefix}{own}", sum(p.numel() for p in child.parameters())
        opened = isinstance(child, nn.Sequential | nn.ModuleList) or size > large
        if opened and any(True for _ in child.children()):
            yield from _blocks(child, f"{name}.", large, weighted)
        elif any(one == name or one.startswith(f"{name}.") for one in weighted):
            yield name  # a norm alone is no block


def _refusal(
    model: nn.Module, name: str, shapes: dict[str, list[tuple[_Shape, _Shape]]]
) -> str | None:
    """Why a layer cannot be removed; None if it can."""
    calls = shapes.get(name)
    if not calls:
        return "it is not called with one image tensor that it answers with another"
    for before, after in calls:
        if before != after and _shortcut(model, name, shapes) is None:
            return f"{name} changes {before} to {after} and has no shortcut of its own"
    return None


def _shortcut(
    model: nn.Module, name: str, shapes: dict[str, list[tuple[_Shape, _Shape]]]
) -> str | None:
    """The child that brings the input to the output's shape; "" where shapes are equal."""
    if all(before == after for before, after in shapes[name]):
        return ""
    for own in _SHORTCUTS:
        child = getattr(model.get_submodule(name), own, None)
        if isinstance(child, nn.Module) and shapes.get(f"{name}.{own}") == shapes[name]:
            return own
    return None


@torch.no_grad()
def _shapes(model: nn.Module, image: Tensor) -> dict[str, list[tuple[_Shape, _Shape]]]:
    """Shapes, without the batch, that go into and come out of every module, call by call."""
    found: dict[str, list[tuple[_Shape, _Shape]]] = {}

    def watch(name: str) -> Any:
        def hook(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                shape = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))
                found.setdefault(name, []).append(shape)

        return hook

    handles = [p.register_forward_hook(watch(name)) for name, p in model.named_modules() if name]
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()(image[:1])
    finally:
        for handle in handles:
            handle.remove()
        for part, training in modes:
            part.training = training
    return found


def _needed(image: Tensor | None) -> Tensor:
    if image is None:
        raise UserError("Expected `image`, a batch (N, C, H, W), to find out shapes; got none.")
    return image


def _check_apart(names: list[str]) -> None:
    """Refuses a layer inside another, or twice."""
    for one in names:
        if names.count(one) > 1 or any(other.startswith(f"{one}.") for other in names):
            raise UserError(f"Expected `layers` apart from each other, but {one!r} covers another.")


def _check_count(severity: float, low: int, high: int, what: str) -> None:
    if severity != severity or not low <= severity <= high or severity != int(severity):
        raise UserError(f"Expected `severity` to be {what}, {low} to {high}, but got {severity:g}.")


def _put(model: nn.Module, name: str, part: nn.Module) -> nn.Module:
    parent, _, own = checked_layer(model, name).rpartition(".")
    setattr(model.get_submodule(parent), own, part)
    return part
