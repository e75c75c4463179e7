"""What a network says of a batch: its logits, and the features of named layers on the way."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from datamodules.errors import UserError, suggestion
from lightning_modules.heads import head_name
from lightning_modules.trial import first_tensor

HEAD_INPUT = "head_input"
"""Name of the features that the last layer sees; every other name is a module's."""


class Answers(NamedTuple):
    """Of one model to one batch.

    Args:
        logits: `(N, K)` float32.
        features: `(N, ...)` float32 by the name of the layer.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = MappingProxyType({})


@contextmanager
def recorded(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Records the outputs of named layers of every forward inside; takes its hooks off again.

    Args:
        model: any network.
        layers: names of modules, or `HEAD_INPUT`.

    Raises:
        UserError: there is no such layer.
    """
    collected: dict[str, Tensor] = {}
    handles = []
    for name in layers:
        if name == HEAD_INPUT:
            part = model.get_submodule(head_name(model))
            handles.append(part.register_forward_pre_hook(_keep_input(collected), with_kwargs=True))
        else:
            handles.append(layer(model, name).register_forward_hook(_keep_output(collected, name)))
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


def layer(model: nn.Module, name: str) -> nn.Module:
    """Returns a module by its dotted name.

    Raises:
        UserError: there is none; names the closest.
    """
    known = [known for known, _ in model.named_modules() if known]
    if name not in known:
        raise UserError(f"There is no layer {name!r} in the model.{suggestion(name, known)}")
    return model.get_submodule(name)


def answered(model: nn.Module, network: nn.Module, image: Tensor, layers: Sequence[str]) -> Answers:
    """Asks a model and records its layers.

    Args:
        model: from images to logits.
        network: the part of it that names its layers.
        image: `(N, C, H, W)`.
        layers: see `recorded`.
    """
    with recorded(network, layers) as features:
        logits = model(image)
    return Answers(logits.float(), {name: features[name].float() for name in layers})


def _keep_output(collected: dict[str, Tensor], name: str) -> Any:
    def hook(part: nn.Module, given: Any, output: Tensor) -> None:
        collected[name] = output

    return hook


def _keep_input(collected: dict[str, Tensor]) -> Any:
    def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = first_tensor(args, kwargs)
        assert given is not None
        collected[HEAD_INPUT] = given

    return hook
