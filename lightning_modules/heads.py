"""The two ends of a network: the layer that answers, and the one that sees the image."""

from torch import Tensor, nn

from datamodules.errors import UserError

_COUNTERS = ("out_features", "out_channels")


def head_name(model: nn.Module) -> str:
    """Returns the dotted name of the last linear layer, or of the last 1x1 convolution.

    Raises:
        UserError: there is neither.
    """
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    pointwise = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)
    ]
    if not (linear or pointwise):
        raise UserError(
            "Expected a linear layer or 1x1 convolution as the head of the model, but "
            f"{type(model).__name__} has none."
        )
    return linear[-1] if linear else pointwise[-1]


def head_outputs(model: nn.Module) -> int:
    """How many classes the head tells apart."""
    head = model.get_submodule(head_name(model))
    return int(next(getattr(head, name) for name in _COUNTERS if hasattr(head, name)))


def replace_head(model: nn.Module, classes: int) -> None:
    """Puts a freshly initialised last layer with `classes` outputs in place of the old one."""
    name = head_name(model)
    old = model.get_submodule(name)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, classes, old.bias is not None)
    else:
        assert isinstance(old, nn.Conv2d)
        new = nn.Conv2d(old.in_channels, classes, 1, bias=old.bias is not None)
    _put(model, name, new.train(old.training))


def stem_name(model: nn.Module) -> str | None:
    """Returns the dotted name of the first convolution, which sees the image."""
    convolutions = (n for n, part in model.named_modules() if isinstance(part, nn.Conv2d))
    return next(convolutions, None)


def stem_inputs(model: nn.Module) -> int:
    """Channels of the images that the model takes: 1 or 3."""
    name = stem_name(model)
    channels = 3 if name is None else model.get_submodule(name).in_channels
    return 1 if channels == 1 else 3


def fit_ends(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Gives the head the classes, and the stem the channels, that a state dict was saved with.

    Names decide, not positions: safetensors files are sorted, so their last matrix may be any.

    Args:
        model: changed in place.
        state: with the names that the model has; where they are absent nothing changes.
    """
    head, stem = head_name(model), stem_name(model)
    weight = state.get(f"{head}.weight")
    if weight is not None and weight.shape[0] != head_outputs(model):
        replace_head(model, weight.shape[0])
    weight = state.get(f"{stem}.weight")
    if stem is None or weight is None or weight.ndim != 4 or weight.shape[1] not in (1, 3):
        return
    old = model.get_submodule(stem)
    if isinstance(old, nn.Conv2d) and old.groups == 1 and old.in_channels != weight.shape[1]:
        _put(model, stem, _with_inputs(old, weight.shape[1]))


def _with_inputs(old: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A fresh convolution like `old` for images of other channels."""
    return nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
        padding_mode=old.padding_mode,  # type: ignore[arg-type]
    )


def _put(model: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, part)
