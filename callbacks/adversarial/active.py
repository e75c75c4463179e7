"""The images that an attack is still at work on."""

from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.rows import is_answer

# To ask which images may leave is to wait for a GPU: elsewhere than on a CPU every eighth step.
STEPS_BETWEEN_LOOKS = {"cpu": 1}


class Active(NamedTuple):
    """The images still attacked: which they are, where they are, where they began.

    Args:
        rows: `(n,)` positions among all images of the attack.
        point: `(n, C, H, W)` where they are.
        origin: `(n, C, H, W)` where they began.
        classes: what the loss takes besides the logits: labels `(n,)`, and classes aimed at.
        goal: `(n,)` the only class whose prediction is a success; None: any but the label.
    """

    rows: Tensor
    point: Tensor
    origin: Tensor
    classes: tuple[Tensor, ...]
    goal: Tensor | None = None

    @classmethod
    def all(cls, image: Tensor, label: Tensor, target: Tensor | None = None) -> "Active":
        """Every image, where it is."""
        rows = torch.arange(len(image), device=image.device)
        classes = (label,) if target is None else (label, target)
        return cls(rows, image, image, classes, target)

    @property
    def label(self) -> Tensor:
        """`(n,)` true classes."""
        return self.classes[0]

    @property
    def aim(self) -> Tensor | None:
        """`(n,)` classes whose likelihood the loss raises, or None."""
        return self.classes[1] if len(self.classes) == 2 else None

    def select(self, wanted: Tensor) -> "Active":
        """Returns some of them, by mask."""
        return Active(
            self.rows[wanted],
            self.point[wanted],
            self.origin[wanted],
            tuple(part[wanted] for part in self.classes),
            None if self.goal is None else self.goal[wanted],
        )

    def broken(self, logits: Tensor) -> Tensor:
        """`(n,)` bool; what is no answer is wrong, as it is in the rows."""
        prediction = logits.argmax(1)
        if self.goal is not None:
            return (prediction == self.goal) & is_answer(logits)
        return (prediction != self.label) | ~is_answer(logits)

    def looks(self, step: int) -> bool:
        """Whether at this step it is worth asking which images may leave."""
        return looks(step, self.rows.device)


def looks(step: int, device: torch.device) -> bool:
    """Whether at this step it is worth waiting for the device to say which images may leave."""
    return step % STEPS_BETWEEN_LOOKS.get(device.type, 8) == 0
