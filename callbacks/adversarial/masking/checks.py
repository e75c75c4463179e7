"""What is tried on an image to see whether gradients tell the truth about it."""

from dataclasses import dataclass
from typing import Literal

from callbacks.adversarial.apgd import APGD
from callbacks.adversarial.attack import Attack
from callbacks.adversarial.fgsm import FGSM
from callbacks.adversarial.losses import LossName
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.square import Square

RADII = (1.0, 0.5, 0.25)
"""Parts of the headline radius: where PGD breaks everything, nothing can be seen that it misses."""
NAMES = (
    "gradient", "pgd", "pgd_half", "pgd_quarter", "fgsm", "scale_free", "longer", "square", "box",
)  # fmt: skip
"""Of the checks in their order; rows name one by its number, from 1, whatever a norm lacks."""
LEAST_STEPS = 10
"""Fewer leave PGD unconverged on networks trained against it, and more steps would always help."""
_LONGER = 2  # times the steps
_QUERIES_A_STEP = 25
Images = Literal["right", "narrowing", "standing"]


@dataclass(frozen=True)
class Check:
    """One attack, and what it is tried on.

    Args:
        name: in rows, verdicts and tests.
        title: in tables.
        attack: what is run; None only looks at the gradient.
        images: "right", all that the model gets right; "narrowing", those that PGD broke at the
            radius before this one; "standing", those that no check has broken so far, each at the
            largest radius at which PGD leaves it right.
        part: of the headline radius; of what is "standing" each image has its own.
        box: in the whole box [0, 1], where nothing can be robust, in place of the ball.
    """

    name: str
    title: str
    attack: Attack | None = None
    images: Images = "standing"
    part: float = 1.0
    box: bool = False

    @property
    def number(self) -> int:
        """Its severity in rows."""
        return number_of(self.name)

    @property
    def white_box(self) -> bool:
        """Whether it follows a gradient."""
        return self.attack is None or self.attack.gradients > 0

    @property
    def narrows(self) -> bool:
        """Whether other checks need to know what it broke."""
        return self.attack is not None and not self.box


def number_of(check: str) -> int:
    """The severity of a check in rows, from 1."""
    return 1 + NAMES.index(check)


def checks(norm: str, steps: int, classes: int, white_box: bool = True) -> tuple[Check, ...]:
    """The checks of one norm in their order (Carlini et al. 2019, 1902.06705, section 5).

    Args:
        norm: "linf", "l2" or "l1"; FGSM is not made for L1, whose steepest step moves one pixel.
        steps: of iterative attacks; the search without gradients has 25 queries for each.
        classes: of the model; of two DLR is the margin, and is called so.
        white_box: those that follow a gradient too.
    """
    free = "DLR" if classes > 2 else "the margin"
    pgd, search = _ascent(norm, steps, "ce"), Square(_QUERIES_A_STEP * steps, rescale=True)
    # No random start: noise alone would reach what chance reaches, without any gradient.
    box = PGD(steps, random_start=False)
    every = (
        Check("gradient", "gradient at the image", images="right"),
        Check("pgd", "PGD on cross-entropy", pgd, "right"),
        Check("pgd_half", "PGD, half the radius", pgd, "narrowing", RADII[1]),
        Check("pgd_quarter", "PGD, a quarter", pgd, "narrowing", RADII[2]),
        Check("fgsm", "what PGD leaves: FGSM", FGSM()),
        Check("scale_free", f"then PGD on {free}", _ascent(norm, steps, "dlr")),
        Check("longer", "then more steps", _ascent(norm, _LONGER * steps, "ce", anew=True)),
        Check("square", "then Square", search),
        Check("box", "PGD in the whole box", box, "right", box=True),
    )
    return tuple(
        check for check in every
        if (white_box or not check.white_box) and (norm != "l1" or check.name != "fgsm")
    )  # fmt: skip


def _ascent(norm: str, steps: int, loss: LossName, anew: bool = False) -> Attack:
    """PGD, which has none of APGD's own remedies, and APGD in L1, where there is no PGD.

    Two restarts begin once where a single one does, and once more at another point.
    """
    restarts = 2 if anew else 1
    return APGD(steps, restarts, loss) if norm == "l1" else PGD(steps, restarts=restarts, loss=loss)
