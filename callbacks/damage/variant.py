"""A model asked as if some of its parameters were others; the model itself stays as it is."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call


def with_aliases(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds the other places of parameters that stand in several modules.

    `functional_call` can look for them itself, but slowly; and of a module with two names it would
    exchange the same parameter twice and give back the wrong one.

    Args:
        model: whose parameters they are.
        state: tensors by the first name of their parameter.

    Returns:
        One name for every place (module and attribute) where such a parameter is kept.
    """
    wanted = {id(model.get_parameter(name)): tensor for name, tensor in state.items()}
    places: dict[tuple[int, str], str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in wanted:
            owner, _, own = name.rpartition(".")
            places.setdefault((id(model.get_submodule(owner)), own), name)
    return {name: wanted[id(model.get_parameter(name))] for name in places.values()}


def answered_with(model: nn.Module, state: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """Asks the model with other parameters.

    Args:
        model: in evaluation mode.
        state: from `with_aliases`.
        image: `(N, C, H, W)`.
    """
    return functional_call(model, dict(state), (image,), tie_weights=False)
