"""How robust training differs from any other, in flat values."""

from dataclasses import dataclass
from typing import Literal

from datamodules.errors import UserError

USUAL_BETA = {"trades": 6.0, "mart": 5.0}


@dataclass(frozen=True)
class RobustRecipe:
    """The loss of attacked images, and how the epoch that is kept is chosen.

    Robust accuracy on validation images is measured only where training images are attacked. It
    overfits long before clean accuracy does (Rice et al. 2020, 2002.11569), so it selects.

    Args:
        loss: "plain" takes `tuning.loss` of attacked images; trades or mart.
        beta: weight of trades' and mart's second term; None takes the published one, 6 and 5.
        ramp: share of the training over which the radius rises evenly from 0 to its full length.
            At the full radius from the first step a small network may never leave chance: it
            finds no weights that answer anything but one class under attack.
        every: epochs between two measurements of robust accuracy; 0 measures none.
        images: validation images that it is measured on, the same ones every time.
        steps: of the PGD that it is measured with.
        select: which epoch is kept; None takes robust_acc where it is measured.
        drop: a fall of robust accuracy by more than this ends the training: catastrophic
            overfitting (Wong et al. 2020, 2001.03994).
    """

    loss: Literal["plain", "trades", "mart"] = "plain"
    beta: float | None = None
    ramp: float = 0.0
    every: int = 1
    images: int = 500
    steps: int = 10
    select: Literal["acc", "robust_acc"] | None = None
    drop: float = 0.2

    def __post_init__(self) -> None:
        """Refuses values that make no sense."""
        for name, least in (("every", 0), ("images", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise UserError(
                    f"Expected `robust.{name}` of at least {least}, but got {getattr(self, name)}."
                )
        if self.beta is not None and self.loss == "plain":
            raise UserError("Got `robust.beta`, which belongs to --robust.loss trades or mart.")
        if self.beta is not None and not 0 <= self.beta < float("inf"):
            raise UserError(f"Expected `robust.beta` of at least 0, but got {self.beta}.")
        if not 0 <= self.ramp < 1:
            raise UserError(
                f"Expected `robust.ramp`, a share of the training, in [0, 1), but got {self.ramp}."
            )
        if not 0 < self.drop <= 1:
            raise UserError(f"Expected `robust.drop` in (0, 1], but got {self.drop}.")
        if self.select == "robust_acc" and not self.every:
            raise UserError(
                "Got `robust.select` robust_acc with `robust.every` 0, which never measures it."
            )

    @property
    def weight(self) -> float:
        """Beta, as given or as published."""
        return self.beta if self.beta is not None else USUAL_BETA.get(self.loss, 0.0)

    @property
    def monitor(self) -> str:
        """The metric whose largest value names the epoch that is kept."""
        return f"val/{self.select or ('robust_acc' if self.every else 'acc')}"
