"""The two ends of a network as a file of weights has them: classes and channels."""

from torch import Tensor, nn

from lightning_modules.plain_layers import Layer, compose, resize, with_inputs
from lightning_modules.trial import is_lazy, is_unmade, memory


def stem_channels(network: nn.Module) -> int | None:
    """Channels of the images that the first convolution takes, 1 or 3; None where it does not say.

    The first by registration; a network without convolutions, or with one that waits for its first
    image, says nothing.
    """
    stem = next((part for part in network.modules() if isinstance(part, nn.Conv2d)), None)
    return stem.in_channels if stem is not None and stem.in_channels in (1, 3) else None


def stem_inputs(network: nn.Module) -> int:
    """Channels of the images that a network takes, if its first convolution tells; else 3."""
    return stem_channels(network) or 3


def fit_ends(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Gives the head the classes, and the stem the channels, that a state dict was saved with.

    Shapes decide, by name: only the head has other outputs, and only the stem other inputs, where
    the same code was built for other classes or channels.

    Args:
        network: changed in place.
        state: with the names that the network has; where they are absent nothing changes.
    """
    _take_lazy(network, state)
    heads: list[tuple[Layer, int]] = []
    stems: list[tuple[nn.Conv2d, int]] = []
    for name, layer in network.named_modules():
        weight = state.get(f"{name}.weight")
        if not isinstance(layer, nn.Linear | nn.Conv2d) or weight is None:
            continue
        compose(layer)  # weights that were saved without their parametrisation
        own = layer.weight.shape
        if own[1:] == weight.shape[1:] and own != weight.shape:
            heads.append((layer, weight.shape[0]))
        elif _other_channels(layer, weight):
            stems.append((layer, weight.shape[1]))  # type: ignore[arg-type]
    if len(heads) > 2 or len(stems) > 1:  # another architecture; loading names the differences
        return
    for layer, outputs in heads:
        resize(layer, outputs)
    for stem, channels in stems:
        with_inputs(stem, channels)
    if heads or stems:
        memory(network).clear()


def _take_lazy(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Gives layers that wait for their first image the shapes that they were saved with."""
    if is_lazy(network):
        names = {name for name, p in network.named_parameters() if is_unmade(p)}
        names |= {name for name, buffer in network.named_buffers() if is_unmade(buffer)}
        saved = {name: tensor for name, tensor in state.items() if name in names}
        network.load_state_dict(saved, strict=False)


def _other_channels(layer: Layer, weight: Tensor) -> bool:
    """Whether a saved weight is that of the same convolution for grey or for colour images."""
    own = layer.weight.shape
    return (
        isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and weight.ndim == 4
        and (own[0], *own[2:]) == (weight.shape[0], *weight.shape[2:])
        and {own[1], weight.shape[1]} == {1, 3}
    )
