"""A network as a chain of blocks, from the image to the head."""

from collections.abc import Iterator

from torch import nn

from lightning_modules.heads import head_name

_CONTAINERS = (nn.Sequential, nn.ModuleList)


def blocks(model: nn.Module) -> tuple[str, ...]:
    """Names the blocks that training freezes and frees as a whole; the head is the last.

    Containers are opened, and so is a module with more than half of all parameters outside the
    head; what is left are layers of plain networks and blocks of residual ones. What occurs twice
    is named by its last place.

    Args:
        model: from images to logits.

    Returns:
        Dotted names in the order of definition; modules without parameters are left out.
    """
    head = head_name(model)
    backbone = (p for name, p in model.named_parameters() if not name.startswith(f"{head}."))
    total = sum(p.numel() for p in backbone)
    found, seen = [head], set(model.get_submodule(head).parameters())
    for name in reversed(list(_opened(model, "", total / 2))):
        own = set(model.get_submodule(name).parameters())
        if own - seen:
            found.insert(0, name)
        seen |= own
    return tuple(found)


def block_of(names: tuple[str, ...], parameter: str) -> str:
    """The block that a parameter belongs to; the first one for what is in none of them."""
    inside = [name for name in names if parameter.startswith(f"{name}.")]
    return max(inside, key=len, default=names[0])


def latest_blocks(model: nn.Module, names: tuple[str, ...]) -> dict[nn.Parameter, str]:
    """The block of every parameter: of a shared one the last in which it occurs.

    Args:
        model: of the blocks.
        names: from `blocks`.
    """
    place: dict[nn.Parameter, int] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found = names.index(block_of(names, name))
        place[parameter] = max(found, place.get(parameter, 0))
    return {parameter: names[i] for parameter, i in place.items()}


def _opened(module: nn.Module, prefix: str, large: float) -> Iterator[str]:
    for own, child in module.named_children():
        name, size = f"{prefix}{own}", sum(p.numel() for p in child.parameters())
        container = isinstance(child, _CONTAINERS) or size > large
        if size and container and any(True for _ in child.children()):
            yield from _opened(child, f"{name}.", large)
        elif size:
            yield name
