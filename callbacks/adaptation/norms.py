"""The layers of a network that normalise, and how they are kept as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

_FROZEN = "FrozenBatchNorm"
"""How torchvision, Detectron and timm name batch norm whose statistics and weights are buffers."""
_OTHERS = (nn.LayerNorm, nn.GroupNorm, _InstanceNorm)
_MEAN, _VARIANCE = "running_mean", "running_var"


def is_frozen(part: nn.Module) -> bool:
    """Whether a layer is batch norm whose weights are buffers."""
    return type(part).__name__.startswith(_FROZEN)


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Every batch norm that keeps statistics of its training, once, however many names it has."""
    return [
        part
        for part in model.modules()
        if (isinstance(part, _BatchNorm) and part.running_mean is not None) or is_frozen(part)
    ]


def affine_places(model: nn.Module) -> dict[str, Tensor]:
    """Scales and shifts of every normalising layer by name, each layer once.

    A tensor that two layers share has a name for each of them.
    """
    norms = (_BatchNorm, *_OTHERS)
    places: dict[str, Tensor] = {}
    for name, part in model.named_modules():
        if isinstance(part, norms) or is_frozen(part):
            own = {**part._parameters, **part._buffers}
            for kind in ("weight", "bias"):
                if isinstance(tensor := own.get(kind), Tensor):
                    places[f"{name}.{kind}" if name else kind] = tensor
    return places


@contextmanager
def statistics_given_back(norms: list[nn.Module]) -> Iterator[dict[nn.Module, tuple]]:
    """Lends the source's means and variances by layer, and puts them back in the end."""
    source = {norm: (norm._buffers[_MEAN], norm._buffers[_VARIANCE]) for norm in norms}
    try:
        yield source
    finally:
        for norm, statistics in source.items():
            set_statistics(norm, statistics)


def set_statistics(norm: nn.Module, statistics: tuple[Tensor | None, Tensor | None]) -> None:
    """Exchanges mean and variance of a layer; the tensors that stood there are not touched."""
    norm._buffers[_MEAN], norm._buffers[_VARIANCE] = statistics


def shown_to(given: tuple[Tensor, ...], named: dict[str, Tensor]) -> Tensor:
    """What a layer is called with, by place or as `input`."""
    return given[0] if given else next(iter(named.values()))


def moments(value: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of every channel, as batch norm in training mode takes them.

    Args:
        value: `(n, C, ...)`.

    Returns:
        Two `(C,)` tensors, of at least 32 bits.
    """
    axes = [axis for axis in range(value.ndim) if axis != 1]
    value = value.float() if value.dtype.itemsize < 4 else value  # a sum of many halves is coarse
    return value.mean(axes), value.var(axes, correction=0)
