"""Parts of a model that training must not change, not even by a bit."""

from torch import nn

from lightning_modules.heads import head_name


def freeze_backbone(model: nn.Module) -> tuple[nn.Module, ...]:
    """Freezes everything but the head.

    Without gradients a batch norm still updates its statistics in training mode, and dropout still
    disturbs the features; so the caller keeps the returned modules in eval mode for good.

    Args:
        model: from images to logits.

    Returns:
        All modules outside the head, containers included.
    """
    head = model.get_submodule(head_name(model))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in head.parameters():
        parameter.requires_grad_(True)
    trained = set(head.modules())
    return tuple(part for part in model.modules() if part not in trained)


def hold(frozen: tuple[nn.Module, ...]) -> None:
    """Puts each module itself into eval mode, leaving its children (the head) alone."""
    for part in frozen:
        part.training = False
