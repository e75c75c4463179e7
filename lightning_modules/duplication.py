"""A deep copy of a network, whatever it keeps beside its weights."""

import copy
from typing import TypeVar

from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.trial import reason_of

Module = TypeVar("Module", bound=nn.Module)


def duplicate(model: Module) -> Module:
    """A deep copy, also of layers that keep a computed weight (old weight norm, pruning masks).

    Such a tensor hangs on the graph of the last forward, which cannot be copied; it is computed
    anew in the next one.

    Args:
        model: stays as it is, but for the graph of those tensors.

    Raises:
        UserError: it holds something that cannot be copied, such as a lock or an open file.
    """
    for part in model.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(part)[name] = value.detach()
    try:
        return copy.deepcopy(model)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        network = getattr(model, "model", model)
        raise UserError(
            f"Expected a network that can be copied, but {type(network).__name__} cannot "
            f"({reason_of(error)}): keep what cannot outside of it, or give it a `__deepcopy__`."
        ) from error
