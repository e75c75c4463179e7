"""The judge of minimum-norm attacks: one search an image gives accuracy at every radius."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import lightning as L
import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.expectation import Averaged, check_eot, said_of_draws
from callbacks.adversarial.minimum_norm.fmn import FMN
from callbacks.adversarial.minimum_norm.nearest import Distance, MinimumNormAttack, measure
from callbacks.adversarial.threat_models import THREAT_MODELS, radius
from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.rows import is_answer, outcome_columns
from callbacks.worst_case import FOUND_COLUMNS
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.black_box import require_gradients
from lightning_modules.classifier import Classifier

_SIGNS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}
USUAL = {"l1": (12.0, "that of CIFAR-10"), "l0": (24.0, "as sparse attacks on CIFAR-10 have it")}
"""Of the norms for which data sets name no radius; for L1 some do."""


class _Found(NamedTuple):
    """What is known of each image.

    Args:
        distance: `(N,)` of the nearest adversarial point, judged again; infinite where there is
            none, 0 where the model errs undisturbed.
        logits: `(N, K)` answers there; where there is none, the undisturbed ones.
        forwards: `(N,)` spent.
        backwards: `(N,)` spent.
        rows: `(n,)` of the samples that were attacked.
        image: `(n, C, H, W)`, the nearest adversarial points of these.
    """

    distance: Tensor
    logits: Tensor
    forwards: Tensor
    backwards: Tensor
    rows: Tensor
    image: Tensor


class MinimumNormProbe(Probe):
    """Least change on which the model errs, and with it accuracy at every radius.

    The attack runs once an image. At a radius the row holds the answers at the point found, if that
    is as near, else those to the image as it is: so the curve of one run stands beside those of
    attacks within a ball, and the worst case of a norm counts it. Columns of its own:
    `minimum_distance` (infinite where nothing was found, 0 where the model errs undisturbed) and
    `distance` (of the point whose answers the row holds; 0 for the image itself). `found_...` are
    the answers at the point, so that it counts at radii of other attacks too. A row of the first
    radius carries the cost of all.

    Args:
        attack: how the nearest point is looked for.
        norm: that is least; None takes the attack's first. L0 counts coordinates that change at
            all: a pixel of a colour image has three.
        epsilons: radii of the curve in pixel units, as numbers or like `8/255`, whole numbers of
            coordinates for L0; None takes `curve` times the data set's usual radius (24 for L0; 12
            for L1 where the data set has none).
        curve: multiples of the usual radius.
        eot: see `AdversarialProbe`.
        label: name of the probe where two share attack and norm.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"
    extras: ClassVar[tuple[str, ...]] = (
        "clean_correct", "success", "distance", "minimum_distance", "worst_loss", "target",
        *(f"found_{name}" for name in FOUND_COLUMNS),
    )  # fmt: skip

    def __init__(
        self,
        attack: MinimumNormAttack | None = None,
        norm: Distance | None = None,
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        label: str | None = None,
        eot: int = 1,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        self.attack = attack or FMN()
        said = self.attack.about
        self.norm: Distance = said.norm(norm)  # type: ignore[assignment]
        check_eot(eot, self.attack.gradients, said.title)
        self.curve, self.label, self.eot = tuple(curve), label, eot
        self.epsilons = None if epsilons is None else _checked(epsilons, self.norm)
        self.headline: float | None = None
        """The usual radius, where there is one."""

    @classmethod
    def within(
        cls, budget: Budget, attack: Callable[..., MinimumNormAttack] = FMN, **options: Any
    ) -> Self:
        """Makes a probe of an attack with a preset's steps.

        An attack within a ball spends them at every radius, this one once for all: it gets as many.

        Args:
            budget: of a preset.
            attack: makes it, such as its class.
            **options: of the constructor, such as `norm`.
        """
        known = inspect.signature(attack).parameters
        steps = {"steps": budget.steps * len(budget.curve)} if "steps" in known else {}
        return super().within(
            budget, **{"curve": budget.curve, **options, "attack": attack(**steps)}
        )

    @property
    def name(self) -> str:
        """`<attack>_<norm>`, with the suffix `_eot` where answers are averaged."""
        return self.label or f"{self.attack.about.name}_{self.norm}" + "_eot" * (self.eot > 1)

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        eot = f", EOT {self.eot}" if self.eot > 1 else ""
        return f"{self.attack.about.title}{eot} ({_SIGNS[self.norm]})"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The radius, as attacks within a ball have it; for L0 a number of coordinates."""
        return f"{'coordinates' if self.norm == 'l0' else 'epsilon'} ({_SIGNS[self.norm]})"

    @property
    def algorithm(self) -> str:
        """The attack with its parameters, and the norm."""
        return f"{self.attack!r} norm={self.norm}" + (f" eot={self.eot}" if self.eot > 1 else "")

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Takes the data set's usual radius where none was given, and refuses what cannot be."""
        require_gradients(classifier, f"The attack {self.name!r}")
        if classifier.num_classes < 2:
            raise UserError("Expected a model with at least 2 classes: with one nothing is wrong.")
        deterministic = bool(classifier.facts.get("deterministic", True))
        self.note = said_of_draws(self.title, deterministic, self.eot).strip()
        if isinstance(data, ImageDataModule) and self.norm in THREAT_MODELS:
            self.headline = data.epsilon.get(THREAT_MODELS[self.norm].__name__)
        if self.epsilons is None:
            self.epsilons = self._usual()

    def _usual(self) -> tuple[float, ...]:
        """Multiples of the usual radius, of the data set or of the norm."""
        if self.headline is None and self.norm not in USUAL:
            raise UserError(
                f"Expected `epsilons`, because the data has no usual {_SIGNS[self.norm]} radius."
            )
        if self.headline is None:
            self.headline, why = USUAL[self.norm]
            told = f"{self.title}: the curve is drawn about {self.headline:g}, {why}."
            self.note = f"{self.note} {told}".strip()
        radii = [self.headline * factor for factor in self.curve]
        if self.norm == "l0":
            radii = sorted({max(1.0, float(round(value))) for value in radii})
        return _checked(radii, self.norm)

    def settings(self) -> tuple[Setting, ...]:
        """One for each radius, with step 1000·epsilon; for L0 the number of coordinates."""
        scale = 1 if self.norm == "l0" else 1000
        return tuple(Setting(self.name, round(scale * e), e) for e in self.epsilons or ())

    def cost(self, setting: Setting) -> float:
        """Its part of the one search, at most: a gradient is one forward and one backward."""
        whole = 1 + self.eot * (3 * self.attack.gradients + self.attack.about.forwards)
        return whole / max(1, len(self.epsilons or ()))

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Looks for the nearest point of each image once, and replays it at each radius."""
        found = self._judged(model, samples)
        answers = outcome_columns(found.logits, samples.label)
        answers = {f"found_{name}": answers[name] for name in FOUND_COLUMNS}
        for setting in settings:
            near = found.distance <= setting.value
            logits = torch.where(near[:, None], found.logits, samples.logits)
            if self._listener and len(here := near[found.rows].nonzero().squeeze(1)):
                part = samples.select(found.rows[here])
                self._listener(setting, part, found.image[here], logits[found.rows[here]])
            spent = 1 if setting is settings[0] else 0
            columns = {
                "clean_correct": samples.correct,
                "success": (logits.argmax(1) != samples.label) | ~is_answer(logits),
                "distance": found.distance.masked_fill(~near, 0.0),
                "minimum_distance": found.distance,
                "worst_loss": torch.full_like(found.distance, torch.nan),
                "target": torch.full_like(samples.label, -1),
                "forwards": spent * found.forwards,
                "backwards": spent * found.backwards,
                **answers,
            }
            yield Measurement(setting, logits, columns)

    def _judged(self, model: Queries, samples: Samples) -> _Found:
        """Runs the attack where the model is right, and asks again at what it returns."""
        nothing = torch.zeros_like(samples.label)
        todo = samples.correct.nonzero().squeeze(1)
        columns = (nothing.float(), samples.logits.clone(), nothing, nothing.clone())
        found = _Found(*columns, todo, samples.image[todo])
        if not len(todo):
            return found
        part = samples.select(todo)
        asked = model if self.eot == 1 else Averaged(model, self.eot)
        result = self.attack(asked, part.image, part.label, self.norm, part.draw)
        image = torch.where(result.image.isfinite(), result.image, part.image).clamp(0, 1)
        logits = model(image)
        wrong = (logits.argmax(1) != part.label) | ~is_answer(logits)
        distance = measure(image, part.image, self.norm).masked_fill(~wrong, torch.inf)
        found.distance[todo] = distance
        found.logits[todo] = torch.where(wrong[:, None], logits, part.logits)
        found.forwards[todo] = self.eot * result.forwards + 1
        found.backwards[todo] = self.eot * result.backwards
        return found._replace(image=image)


def _checked(epsilons: Sequence[float | str], norm: str) -> tuple[float, ...]:
    if not epsilons:
        raise UserError("Expected `epsilons` to be at least one radius, but got none.")
    radii = sorted(radius(epsilon, norm, "epsilons") for epsilon in epsilons)
    if norm == "l0" and any(value < 1 or value != round(value) for value in radii):
        raise UserError(
            "Expected `epsilons` to be whole numbers of coordinates, at least 1, for L0, but got "
            f"{', '.join(map(str, epsilons))}."
        )
    return tuple(radii)
