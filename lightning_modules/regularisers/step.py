"""The images of a training step and the model's answers to them, each asked for once."""

from collections.abc import Callable

from torch import Tensor


class Step:
    """What a loss and its regularisers look at.

    Args:
        ask: from images `(N, C, H, W)` to logits `(N, K)`, of the model in training.
        image: `(N, C, H, W)` in [0, 1], undisturbed.
        disturbed: `(N, C, H, W)`, what an attack or noise made of them; `image` itself where
            nothing disturbs them.
        label: `(N,)`; -1 of an image without one.
        noise: standard deviation of the noise of what compares noisy answers, in pixel units.
    """

    def __init__(
        self,
        ask: Callable[[Tensor], Tensor],
        image: Tensor,
        disturbed: Tensor,
        label: Tensor,
        noise: float = 0.1,
    ) -> None:
        self.ask, self.image, self.disturbed, self.label = ask, image, disturbed, label
        self.noise = noise
        self._known: list[tuple[Tensor, Tensor]] = []

    def logits(self, image: Tensor) -> Tensor:
        """The float32 answers `(N, K)` to one of the step's batches of images."""
        for known, logits in self._known:
            if known is image:
                return logits
        return self.knows(image, self.ask(image).float())

    def knows(self, image: Tensor, logits: Tensor) -> Tensor:
        """Takes the answers `(N, K)` to images that were asked about elsewhere."""
        self._known.append((image, logits))
        return logits
