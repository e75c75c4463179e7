"""Free adversarial training: the gradient that moves the weights moves the images too."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from callbacks.adversarial.training import positive
from datamodules.errors import UserError


@dataclass
class FreeTraining:
    """Replays every batch, and moves its disturbance by the gradient each replay has anyway.

    m replays of a batch cost m forwards and m backwards, as m ordinary steps do, and train on
    images that are m sign steps of length epsilon into the L∞ ball; the disturbance goes on from
    batch to batch (Shafahi et al. 2019, 1904.12843). Train for m times fewer epochs.

    Args:
        epsilon: radius of the L∞ ball in pixel units, > 0, as a number or like `8/255`; None takes
            the data set's usual one.
        replays: of a batch, 8 as published for CIFAR-10.
    """

    epsilon: float | str | None = None
    replays: int = 8
    norm: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        """Refuses nothing at all."""
        self.epsilon = positive(self.epsilon, self.norm)
        if self.replays < 1:
            raise UserError(f"Expected `replays` of at least 1, but got {self.replays}.")
        self._offset: Tensor | None = None

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Adds the disturbance as it is now to `(N, C, H, W)` images in [0, 1]."""
        if self._offset is None or self._offset.shape[1:] != image.shape[1:]:
            self._offset = torch.zeros_like(image)
        if len(self._offset) < len(image):
            rest = torch.zeros_like(image[len(self._offset) :])
            self._offset = torch.cat([self._offset.to(image.device), rest])
        return (image + self._offset[: len(image)]).clamp(0, 1)

    @torch.no_grad()
    def move(self, gradient: Tensor) -> None:
        """One step uphill, and back into the ball.

        Args:
            gradient: `(N, C, H, W)` of the loss by the images as `__call__` returned them.
        """
        assert self._offset is not None, "called first"
        assert isinstance(self.epsilon, float), "the pipeline fills it in"
        moved = self._offset[: len(gradient)] + self.epsilon * gradient.sign()
        self._offset[: len(gradient)] = moved.clamp(-self.epsilon, self.epsilon)
