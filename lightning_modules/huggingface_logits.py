"""A network of transformers as one that answers with logits."""

from typing import Any

from torch import Tensor, nn


class Logits(nn.Module):
    """Unwraps the logits from the output object of a transformers model.

    Args:
        model: an image classifier of transformers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` to logits `(N, K)`."""
        return self.model(pixel_values=image).logits
