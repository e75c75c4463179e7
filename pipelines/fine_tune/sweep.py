"""Which weight of a training is swept, and over which values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from datamodules.errors import UserError, suggestion
from lightning_modules import Regularisation, Tuning
from lightning_modules.regularisers import REGULARISERS
from lightning_modules.robust import RobustRecipe

SWEPT = (
    "robust.beta",
    *(f"regulariser.{name}" for name in (*REGULARISERS, "noise", "awp")),
    *("tuning.weight_decay", "tuning.label_smoothing", "tuning.dropout", "tuning.mixup"),
    "tuning.cutmix",
    "tuning.alpha",
)
"""Options that a sweep may set."""


@dataclass(frozen=True)
class Sweep:
    """One training for each value of a weight, and what that does to clean and robust accuracy.

    Args:
        lambdas: the values; none: no sweep.
        of: the option that is swept, e.g. robust.beta, regulariser.input_gradient,
            tuning.weight_decay; None takes the weight of the one term that is added.
        images: validation images that clean and robust accuracy are measured on.
        steps: of the PGD that robust accuracy is measured with.
    """

    lambdas: tuple[float, ...] = ()
    of: str | None = None
    images: int = 1000
    steps: int = 20

    def __post_init__(self) -> None:
        """Refuses what sweeps nothing."""
        for name in ("images", "steps"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected `sweep.{name}` of at least 1, but got {getattr(self, name)}."
                )
        if len(set(self.lambdas)) < len(self.lambdas):
            raise UserError(f"Expected different `sweep.lambdas`, but got {[*self.lambdas]}.")
        given = any(getattr(self, part.name) != part.default for part in fields(self))
        if not self.lambdas and given:
            raise UserError("Got options of `sweep` without `sweep.lambdas`, the values to try.")
        if self.of is not None and self.of not in SWEPT:
            raise UserError(f"There is no weight {self.of!r} to sweep.{suggestion(self.of, SWEPT)}")


class Recipe(NamedTuple):
    """The options of a training that a sweep may change."""

    tuning: Tuning
    robust: RobustRecipe
    regulariser: Regularisation

    def at(self, option: str, value: float) -> "Recipe":
        """The recipe with one of `SWEPT` set."""
        part, _, name = option.partition(".")
        given: Mapping[str, Any] = self._asdict()
        return self._replace(**{part: replace(given[part], **{name: value})})


def swept_option(sweep: Sweep, recipe: Recipe) -> str:
    """The option that a sweep is about: the one named, else the weight of the one term there is.

    Raises:
        UserError: there is none, or there are several.
    """
    if sweep.of:
        return sweep.of
    added = [f"regulariser.{name}" for name in recipe.regulariser.weights]
    added += ["regulariser.awp"] if recipe.regulariser.awp else []
    added += ["robust.beta"] if recipe.robust.loss != "plain" else []
    if len(added) == 1:
        return added[0]
    found = f"several are added ({', '.join(added)})" if added else "none is added"
    raise UserError(
        f"Expected `sweep.of` to say which weight `sweep.lambdas` are of, because {found}: "
        f"one of {', '.join(SWEPT)}."
    )
