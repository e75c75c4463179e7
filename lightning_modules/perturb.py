"""Training images that are replaced before the model sees them: noise, or an attack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from datamodules.errors import UserError


@runtime_checkable
class Perturb(Protocol):
    """Disturbs training images; a function or an object, which YAML can name."""

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """From images `(N, C, H, W)` in [0, 1] and labels `(N,)` to images of the same shape."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    """Adds normal noise and clips to [0, 1]; the usual noise augmentation (1902.02918, 2019).

    Args:
        std: in pixel units, > 0.
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        """Refuses a negative size."""
        if not self.std > 0:
            raise UserError(f"Expected `std` of the noise to be positive, but got {self.std}.")

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Returns noisy images; draws from the global generator, like all of training."""
        return (image + self.std * torch.randn_like(image)).clamp(0, 1)


def perturbed(perturb: Perturb, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """Perturbs with the classifier in eval mode and its parameters frozen, then restores both.

    Batch-norm statistics and dropout masks of a training step must not depend on an attack, and
    the attack must meet the model that will be tested.

    Args:
        perturb: see `Perturb`.
        classifier: under training.
        image: `(N, C, H, W)` in [0, 1].
        label: `(N,)`.

    Returns:
        `(N, C, H, W)`, without gradient history.

    Raises:
        UserError: the perturbation changed the shape.
    """
    with as_in_a_test(classifier):
        result = perturb(classifier, image.detach(), label).detach()
    if result.shape != image.shape:
        raise UserError(
            f"Expected `perturb` to return images of shape {tuple(image.shape)}, but got "
            f"{tuple(result.shape)}."
        )
    return result


@contextmanager
def as_in_a_test(model: nn.Module) -> Iterator[None]:
    """Holds a model in eval mode with frozen parameters; modules may differ in mode before."""
    training = [part for part in model.modules() if part.training]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for part in training:
        part.training = False
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for part in training:
            part.training = True
        for parameter in learning:
            parameter.requires_grad_(True)
