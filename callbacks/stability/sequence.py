"""What every sequence is: frames of one scene that differ by a little, as in a film of it."""

from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from callbacks.randomness import Draw


@runtime_checkable
class Sequence(Protocol):
    """A change of the scene or the camera, so small from frame to frame that no answer moves."""

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    independent: ClassVar[bool]
    """Whether frames are drawn anew each, as noise is: then all are compared with the first."""

    @property
    def step(self) -> float:
        """How far one frame is from the next, in `unit`, at strength 1."""
        ...

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """Makes one frame `(N, C, H, W)` in [0, 1].

        Args:
            image: `(N, C, H, W)` in [0, 1].
            amount: steps away from the image, negative before it; of independent frames the
                strength of each.
            draw: of the N samples.
            frame: number of the frame, for what is random in it.
        """
        ...


def amounts(frames: int, strength: float, independent: bool) -> list[float]:
    """How far each frame is from the image, which stands in the middle.

    >>> amounts(5, 2.0, independent=False)
    [-4.0, -2.0, 0.0, 2.0, 4.0]
    """
    if independent:
        return [strength] * frames
    return [strength * (frame - (frames - 1) / 2) for frame in range(frames)]


def flip_rate(prediction: Tensor, independent: bool) -> Tensor:
    """How often the answer changes from frame to frame (Hendrycks & Dietterich 2019, 1903.12261).

    Args:
        prediction: `(frames, N)` classes; at least two frames.
        independent: compare with the first frame, not the one before.

    Returns:
        `(N,)` in [0, 1].

    >>> import torch
    >>> flip_rate(torch.tensor([[0], [0], [1], [0]]), independent=False)
    tensor([0.6667])
    """
    before = prediction[:1] if independent else prediction[:-1]
    return (prediction[1:] != before).float().mean(0)
