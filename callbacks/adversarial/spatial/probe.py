"""The judge of rotations and translations: it turns the images itself and asks again."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.attack import Objective
from callbacks.adversarial.spatial.search import Spatial, WorstTurn
from callbacks.adversarial.spatial.turns import ANGLE, Turns
from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.rows import is_answer
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier


class SpatialProbe(Probe):
    """Accuracy under the worst rotation and translation, against the largest angle.

    Rows tell the turn that was found: `angle` (degrees clockwise), `shift_right` and `shift_down`
    (pixels). The probe turns the original by it once more, refuses what is not in the set, and asks
    the model again. `clean_correct`, `success` and `worst_loss` are as in `AdversarialProbe`.

    Args:
        attack: how the turns are searched.
        epsilons: largest angles in degrees; None takes `curve` times 30.
        curve: multiples of 30 degrees.
        objective: "verdict", or "loss", which tries every turn on every image.
        label: name of the probe where two share the attack.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"
    unit: ClassVar[str] = "degrees (rotation + shift)"
    extras: ClassVar[tuple[str, ...]] = (
        "clean_correct", "success", "angle", "shift_right", "shift_down", "worst_loss",
    )  # fmt: skip
    headline: ClassVar[float] = ANGLE

    def __init__(
        self,
        attack: Spatial | None = None,
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (1.0,),
        objective: Objective = "verdict",
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        self.attack, self.label = attack or Spatial(), label
        self.objective: Objective = objective
        given = [ANGLE * factor for factor in curve] if epsilons is None else epsilons
        self.epsilons = tuple(sorted({_degrees(angle) for angle in given}))
        if not self.epsilons:
            raise UserError("Expected `epsilons` to be at least one angle, but got none.")
        for angle in self.epsilons:
            self.attack.within(angle)  # refuses what is no angle, or shifts the image away

    @classmethod
    def within(
        cls, budget: Budget, attack: Callable[..., Spatial] = Spatial, **options: Any
    ) -> Self:
        """Makes the probe at 30 degrees: hundreds of questions an image, whatever the preset.

        Args:
            budget: of a preset.
            attack: makes it, such as its class.
            **options: of the constructor.
        """
        return super().within(
            budget, **{"objective": budget.objective, **options, "attack": attack()}
        )

    @property
    def name(self) -> str:
        """Of the attack."""
        return self.label or self.attack.about.name

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return self.attack.about.title

    @property
    def algorithm(self) -> str:
        """The attack with its parameters, and the objective."""
        return f"{self.attack!r} {self.objective}"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Says what comes in from outside, and how far images are shifted."""
        if classifier.num_classes < 2:
            raise UserError("Expected a model with at least 2 classes: with one nothing is wrong.")
        fill = "black" if self.attack.fill == "zeros" else "the mirrored image"
        self.note = (
            f"{self.title}: up to {100 * self.attack.shift:.3g} % of the side at 30 degrees, in "
            f"proportion at others; {fill} comes in from outside."
        )

    def settings(self) -> tuple[Setting, ...]:
        """One for each angle, with the whole degrees as step."""
        return tuple(Setting(self.name, round(angle), angle) for angle in self.epsilons)

    def cost(self, setting: Setting) -> float:
        """At most: every turn, and the judge."""
        return 1.0 + self.attack.queries

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Searches each set; an image that is wrong as it is needs no search for a verdict."""
        wanted = samples.correct if self.objective == "verdict" else samples.correct | True
        todo = wanted.nonzero().squeeze(1)
        for setting in settings:
            turns = self.attack.within(setting.value)
            yield Measurement(setting, *self._attacked(model, samples, todo, turns))

    def _attacked(
        self, model: Queries, samples: Samples, todo: Tensor, turns: Turns
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs the search on the samples `todo`, and judges what it returns."""
        logits, nothing = samples.logits.clone(), torch.zeros_like(samples.label)
        turn, worst = logits.new_zeros(len(samples), 3), logits.new_full((len(samples),), math.nan)
        forwards = nothing.clone()
        if len(todo):
            part = samples.select(todo)
            found = self.attack(model, part.image, part.label, turns, part.draw, self.objective)
            turn[todo], logits[todo] = _judged(model, part, turns, found.turn)
            if self.objective == "loss":
                worst[todo] = self._worst_loss(model, part, turns, found, logits[todo])
            forwards[todo] = found.forwards + (1 if self.objective == "verdict" else 2)
        return logits, {
            "clean_correct": samples.correct,
            "success": (logits.argmax(1) != samples.label) | ~is_answer(logits),
            "angle": turn[:, 0],
            "shift_right": turn[:, 1],
            "shift_down": turn[:, 2],
            "worst_loss": worst,
            "forwards": forwards,
            "backwards": nothing,
        }

    def _worst_loss(
        self, model: Queries, part: Samples, turns: Turns, found: WorstTurn, logits: Tensor
    ) -> Tensor:
        """`(n,)` cross-entropy at the worst turn; the verdict's own turn counts too."""
        _, worst = _judged(model, part, turns, found.worst)
        losses = [F.cross_entropy(z, part.label, reduction="none") for z in (logits, worst)]
        return torch.maximum(*losses)


def _judged(model: Queries, part: Samples, turns: Turns, turn: Tensor) -> tuple[Tensor, Tensor]:
    """The turns `(n, 3)`, none where one is not in the set, and the answers `(n, K)` to them."""
    turn = torch.where(turns.contains(turn, part.image)[:, None], turn, 0.0)
    return turn, model(turns.apply(part.image, turn))


def _degrees(given: float | str) -> float:
    try:
        return float(given)
    except ValueError as error:
        said = f"Expected `epsilons` to be angles in degrees, but got {given!r}."
        raise UserError(said) from error
