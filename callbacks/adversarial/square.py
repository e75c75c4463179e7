"""The square attack: random search by patches, which asks for no gradient."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.found import Found
from callbacks.adversarial.losses import chosen_loss
from callbacks.adversarial.square_patches import PATCHES
from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_SHRINKS_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 proposals: after each of these the area of a patch is halved once more."""
_DRAWN_AT_ONCE = 64  # proposals


@dataclass(frozen=True)
class Square:
    """Random patches, kept where they lower the margin (Andriushchenko et al. 2020, 1912.00049).

    Only logits are asked for, so that neither missing nor misleading gradients stop it.

    Args:
        queries: proposals; one more image is asked about, the start.
        share: of the pixels that the first patches cover, p.
        rescale: stretch the schedule of patch sizes, which is made for 10,000 proposals, over
            `queries`. AutoAttack does not, so that its patches stop to shrink half-way.
    """

    queries: int = 5000
    share: float = 0.8
    rescale: bool = False

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.queries < 1:
            raise UserError(f"Expected `queries` of at least 1, but got {self.queries}.")
        if not 0 < self.share <= 1:
            raise UserError(f"Expected `share` above 0 and at most 1, but got {self.share}.")

    @property
    def about(self) -> About:
        """One forward a proposal."""
        return About("square", "Square", climbs=False, forwards=1 + self.queries)

    @property
    def gradients(self) -> int:
        """None."""
        return 0

    def __call__(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: Draw,
        *,
        target: Tensor | None = None,
        objective: Objective = "verdict",
    ) -> AttackResult:
        """Searches the ball round every image; see `Attack`."""
        found, active = Found(image, objective), Active.all(image, label, target)
        if not len(image):
            return found.result()
        patches = PATCHES[threat.norm]
        start, loss = patches.start(image, threat, draw), torch.full_like(found.loss, -torch.inf)
        active, loss = self._asked(model, active, start, loss, found)
        numbers = loss[:, None]  # until the first are drawn
        for step in range(self.queries):
            if active.looks(step) and not (wanted := found.wanted(active.rows)).all():
                active, loss = active.select(wanted), loss[wanted]
                numbers = numbers[wanted]
            if not len(active.rows):
                break
            if step % _DRAWN_AT_ONCE == 0:
                shape = (_DRAWN_AT_ONCE, patches.numbers(image.shape[1]))
                numbers = draw.select(active.rows).uniform("square", step, shape)
            side = self.side(step, *image.shape[2:])
            random = numbers[:, step % _DRAWN_AT_ONCE]
            proposal = patches.proposed(active.point, active.origin, threat, side, random)
            active, loss = self._asked(model, active, proposal, loss, found)
        return found.result()

    def side(self, step: int, height: int, width: int) -> int:
        """Side of the patch of a proposal, in pixels.

        >>> [Square().side(step, 32, 32) for step in (0, 11, 51, 4999)]
        [29, 20, 14, 3]
        """
        position = step * 10_000 // self.queries if self.rescale else step
        halvings = sum(position > after for after in _SHRINKS_AFTER)
        side = round(math.sqrt(self.share / 2**halvings * height * width))
        return min(max(side, 1), height, width)

    def _asked(
        self, model: Queries, active: Active, proposal: Tensor, loss: Tensor, found: Found
    ) -> tuple[Active, Tensor]:
        """Moves the images whose proposal has a higher loss, or errs; returns their losses too."""
        logits = model(proposal)
        new = chosen_loss("margin", active.aim)(logits, *active.classes)
        broken = active.broken(logits)
        found.see(active.rows, proposal, new, broken, "forwards")
        higher = new > loss  # False for NaN
        point = torch.where(beside(higher | broken), proposal, active.point)
        return active._replace(point=point), torch.where(higher, new, loss)
