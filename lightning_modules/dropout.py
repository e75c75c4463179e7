"""The dropout of a model that has one."""

from torch import nn

from datamodules.errors import UserError

_KINDS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def dropout_layers(model: nn.Module) -> list[nn.Module]:
    """The modules that drop activations in training; what a forward drops by itself is not seen."""
    return [part for part in model.modules() if isinstance(part, _KINDS)]


def set_dropout(model: nn.Module, probability: float) -> None:
    """Sets the probability of every dropout module.

    Args:
        model: any.
        probability: in [0, 1).

    Raises:
        UserError: the model has no dropout.
    """
    layers = dropout_layers(model)
    if not layers:
        raise UserError(
            f"Got `dropout` {probability:g}, but {type(model).__name__} has no dropout layer: "
            "leave the option out."
        )
    for part in layers:
        part.p = probability  # type: ignore[assignment]
