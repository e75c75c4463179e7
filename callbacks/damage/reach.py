"""What a damage cannot hit, in a sentence for the reader of its numbers."""

from torch import Tensor, nn

from callbacks.damage.activation_fault import ActivationFault
from callbacks.damage.selection import Selection
from callbacks.leave_no_trace import leave_no_trace


def reach_note(model: nn.Module, damage: object, image: Tensor | None) -> str:
    """Says how much of a model can be hit, where that is not nearly all of it.

    Args:
        model: undamaged.
        damage: of parameters, or of neurons.
        image: `(N, C, H, W)`, at least one, where the model is; None where there is none.
    """
    name = getattr(damage, "name", "damage")
    if isinstance(damage, ActivationFault):
        return "" if image is None else _without_neurons(model, damage, image)
    selection = getattr(damage, "selection", None)
    if not isinstance(selection, Selection):
        return ""
    told = selection.told(model)
    return f"{name}: {told}" if told else ""


def _without_neurons(model: nn.Module, damage: ActivationFault, image: Tensor) -> str:
    with leave_no_trace(model, "A look for neurons"):
        lost = damage.left_out(model, image)
    if not lost:
        return ""
    names = ", ".join(layer.removeprefix("model.") for layer in lost)
    return (
        f"{damage.name}: no neurons were hit of layers that answer several rows for an image, or "
        f"are not called: {names}."
    )
