"""Which layers of a network to watch when nobody names them."""

from torch import nn

from datamodules.errors import UserError, suggestion

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Hardswish,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus,
)  # fmt: skip
_WEIGHTED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def watchable(model: nn.Module, count: int = 6) -> list[str]:
    """Names of at most `count` layers, evenly spread from the first to the last.

    Activation functions where the network has modules of them, as zeros can be read there; else,
    where they are plain functions, the layers with weights.

    Args:
        model: any network.
        count: how many at most.
    """
    for kinds, least in ((_ACTIVATIONS, 3), (_WEIGHTED, 1), (nn.Module, 1)):
        names = [
            name
            for name, part in model.named_modules()
            if name and isinstance(part, kinds) and not list(part.children())
        ]
        if len(names) >= least:
            return _spread_out(names, count)
    return []


def checked_layers(model: nn.Module, names: list[str]) -> list[str]:
    """Returns the names, or refuses one that the model lacks.

    Raises:
        UserError: there is no such layer.
    """
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise UserError(f"There is no layer {name!r}.{suggestion(name, known)}")
    return names


def _spread_out(names: list[str], count: int) -> list[str]:
    if len(names) <= count:
        return names
    places = [round(i * (len(names) - 1) / max(count - 1, 1)) for i in range(count)]
    return [names[i] for i in dict.fromkeys(places)]
