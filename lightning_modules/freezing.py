"""Parts of a model that training must not change, not even by a bit."""

from torch import nn

from datamodules.errors import UserError
from lightning_modules.heads import head_name


def freeze_backbone(model: nn.Module) -> tuple[nn.Module, ...]:
    """Freezes everything but the head.

    Without gradients a batch norm still updates its statistics in training mode, and dropout still
    disturbs the features; so the caller keeps the returned modules in eval mode for good.

    Args:
        model: from images to logits.

    Returns:
        All modules outside the head, containers included.

    Raises:
        UserError: a weight of the head is one of the backbone's too.
    """
    refuse_tied_head(model)
    head = model.get_submodule(head_name(model))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in head.parameters():
        parameter.requires_grad_(True)
    trained = set(head.modules())
    return tuple(part for part in model.modules() if part not in trained)


def refuse_tied_head(model: nn.Module) -> None:
    """Refuses a head that cannot change alone.

    Raises:
        UserError: a weight of the head is one of the backbone's too.
    """
    name = head_name(model)
    head = model.get_submodule(name)
    own = {id(parameter) for parameter in head.parameters()}
    inside = set(head.modules())
    for place, part in model.named_modules():
        for tensor, weight in part._parameters.items():
            if part not in inside and id(weight) in own:
                raise UserError(
                    f"Expected a last layer with weights of its own for a linear probe, but those "
                    f"of {name!r} are {f'{place}.{tensor}'.lstrip('.')!r} too, which would not "
                    "stay frozen: take --tuning.mode full or lora."
                )


def hold(frozen: tuple[nn.Module, ...]) -> None:
    """Puts each module itself into eval mode, leaving its children (the head) alone."""
    for part in frozen:
        part.training = False
