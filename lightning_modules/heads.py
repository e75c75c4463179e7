"""The last layer of a classifier, whatever it is called."""

import torch
from torch import nn

from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing


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
        raise UserError("Expected a linear layer or 1x1 convolution as head, but there is none.")
    return linear[-1] if linear else pointwise[-1]


def replace_head(model: nn.Module, classes: int) -> None:
    """Puts a freshly initialised last layer with `classes` outputs in place of the old one."""
    name = head_name(model)
    parent = model.get_submodule(name.rpartition(".")[0])
    old = model.get_submodule(name)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, classes, old.bias is not None)
    else:
        assert isinstance(old, nn.Conv2d)
        new = nn.Conv2d(old.in_channels, classes, 1, bias=old.bias is not None)
    setattr(parent, name.rpartition(".")[2], new)


def output_count(model: nn.Module, preprocessing: Preprocessing) -> int:
    """Asks a model with one grey image how many outputs it has."""
    size = preprocessing.crop or preprocessing.resize or 32
    height, width = (size, size) if isinstance(size, int) else size
    was_training = model.training
    with torch.no_grad():
        output = model.eval()(torch.full((1, preprocessing.channels, height, width), 0.5))
    model.train(was_training)
    if not isinstance(output, torch.Tensor) or output.ndim != 2:
        raise UserError(f"Expected logits of shape (N, K), but the model returned {type(output)}.")
    return output.shape[1]
