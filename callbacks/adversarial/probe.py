"""The judge of every attack: it owns the budget, projects, and asks the model again."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.attack import Attack, AttackResult, Objective
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.threat_models import L2, Linf, ThreatModel, radius
from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.black_box import require_gradients
from lightning_modules.classifier import Classifier

Norm = Literal["linf", "l2"]
Target = Literal["next", "least_likely", "random"]
THREAT_MODELS: dict[str, type[Linf] | type[L2]] = {"linf": Linf, "l2": L2}


class AdversarialProbe(Probe):
    """Accuracy and loss against epsilon under one attack.

    With objective "verdict" an image leaves the attack as soon as it is broken, and what the model
    already gets wrong is not attacked. With objective "loss" every image runs all its steps and the
    column `worst_loss` holds the worst-case loss R(x, y, eps) = max over the ball of the
    cross-entropy, as far as the attack found it; with "verdict" it is not a number.

    Args:
        attack: how the ball is searched.
        norm: of the ball round each image; the box [0, 1] is always kept.
        epsilons: radii in pixel units (images are in [0, 1]), as numbers or like `8/255`; None
            takes `curve` times the data set's usual radius.
        curve: multiples of the usual radius.
        targeted: towards which class: the next one, the least likely one, a random one; None
            moves away from the label.
        objective: "verdict" or "loss".
        label: name of the probe where two share attack and norm.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"
    extras: ClassVar[tuple[str, ...]] = (
        "clean_correct",
        "success",
        "distance",
        "worst_loss",
        "target",
    )

    def __init__(
        self,
        attack: Attack,
        norm: Norm = "linf",
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        targeted: Target | None = None,
        objective: Objective = "verdict",
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if norm not in THREAT_MODELS:
            raise UserError(
                f"Expected `norm` to be one of {list(THREAT_MODELS)}, but got {norm!r}."
            )
        self.attack, self.norm, self.targeted = attack, norm, targeted
        self.objective: Objective = objective
        self.curve, self.label = tuple(curve), label
        self.epsilons = None if epsilons is None else _checked(epsilons, norm)
        self.headline: float | None = None
        """The data set's usual radius, where it has one."""

    @classmethod
    def within(cls, budget: Budget, attack: type[Attack] = PGD, **options: Any) -> Self:
        """Makes a probe of an attack that takes of a preset's steps and restarts what it has.

        Args:
            budget: of a preset.
            attack: its class.
            **options: of the constructor, such as `norm` and `targeted`.
        """
        known = inspect.signature(attack).parameters
        spent = {"steps": budget.steps, "restarts": budget.restarts}
        made = attack(**{name: count for name, count in spent.items() if name in known})
        shared = {"curve": budget.curve, "objective": budget.objective}
        return super().within(budget, **{**shared, **options, "attack": made})

    @property
    def name(self) -> str:
        """`<attack>_<norm>`, with the suffix `_targeted` where it is."""
        stem = f"{type(self.attack).__name__.lower()}_{self.norm}"
        return self.label or (f"{stem}_targeted" if self.targeted else stem)

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        kind = f", towards the {self.targeted} class" if self.targeted else ""
        return f"{type(self.attack).__name__} ({'L∞' if self.norm == 'linf' else 'L2'}{kind})"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The radius, in pixel units."""
        return f"epsilon ({'L∞' if self.norm == 'linf' else 'L2'})"

    @property
    def algorithm(self) -> str:
        """The attack with its parameters, norm, target and objective."""
        return f"{self.attack!r} norm={self.norm} targeted={self.targeted} {self.objective}"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Takes the data set's usual radius where none was given."""
        if self.attack.gradients:
            require_gradients(classifier, f"The attack {self.name!r}")
        if isinstance(data, ImageDataModule):
            self.headline = data.epsilon[THREAT_MODELS[self.norm].__name__]
        if self.epsilons is None:
            if self.headline is None:
                raise UserError("Expected `epsilons`, because the data has no usual radius.")
            self.epsilons = _checked([self.headline * factor for factor in self.curve], self.norm)

    def settings(self) -> tuple[Setting, ...]:
        """One for each epsilon, with step 1000·epsilon."""
        return tuple(Setting(self.name, round(1000 * e), e) for e in self.epsilons or ())

    def cost(self, setting: Setting) -> float:
        """A gradient step is one forward and one backward, then the judge asks once."""
        return 1 + 3 * self.attack.gradients

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Attacks the samples at each epsilon, from the clean image every time."""
        target = self._target(samples)
        todo = torch.ones_like(samples.correct)
        if self.objective == "verdict":
            todo = samples.correct if target is None else target != samples.logits.argmax(1)
        todo = todo.nonzero().squeeze(1)
        for setting in settings:
            threat = THREAT_MODELS[self.norm](setting.value)
            yield Measurement(setting, *self._attacked(model, samples, target, todo, threat))

    def _attacked(
        self,
        model: Queries,
        samples: Samples,
        target: Tensor | None,
        todo: Tensor,
        threat: ThreatModel,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs the attack on the samples `todo` and judges what it returns."""
        logits, n = samples.logits.clone(), len(samples)
        forwards, backwards = samples.label.new_zeros(n), samples.label.new_zeros(n)
        distance, worst = logits.new_zeros(n), logits.new_full((n,), torch.nan)
        if len(todo):
            part = samples.select(todo)
            result = self.attack(
                model,
                part.image,
                part.label,
                threat,
                part.draw,
                target=None if target is None else target[todo],
                objective=self.objective,
            )
            image = _admissible(threat, result.image, part.image)
            logits[todo] = model(image)
            distance[todo] = threat.measure(image, part.image).float()
            if self.objective == "loss":
                worst[todo] = self._worst_loss(model, threat, result, part, logits[todo])
            backwards[todo] = result.steps
            asked_again = 1 if result.worst is result.image else 2
            forwards[todo] = result.steps + result.forwards + asked_again
        prediction = logits.argmax(1)
        return logits, {
            "clean_correct": samples.correct,
            "success": (prediction == target)
            if target is not None
            else prediction != samples.label,
            "distance": distance,
            "worst_loss": worst,
            "target": samples.label.new_full((n,), -1) if target is None else target,
            "forwards": forwards,
            "backwards": backwards,
        }

    def _worst_loss(
        self,
        model: Queries,
        threat: ThreatModel,
        result: AttackResult,
        part: Samples,
        found: Tensor,
    ) -> Tensor:
        """`(N,)` cross-entropy at the worst point found; the verdict's own point counts too."""
        loss = F.cross_entropy(found, part.label, reduction="none")
        if result.worst is result.image:
            return loss
        worst = model(_admissible(threat, result.worst, part.image))
        return loss.maximum(F.cross_entropy(worst, part.label, reduction="none"))

    def _target(self, samples: Samples) -> Tensor | None:
        """`(N,)` classes to move towards; never the label itself."""
        classes = samples.logits.shape[1]
        if self.targeted is None:
            return None
        if self.targeted == "next":
            return (samples.label + 1) % classes
        if self.targeted == "least_likely":
            others = samples.logits.scatter(1, samples.label[:, None], torch.inf)
            return others.argmin(1)
        shift = 1 + (samples.draw.uniform("target", 0, ()) * (classes - 1)).long()
        return (samples.label + shift) % classes


def _admissible(threat: ThreatModel, image: Tensor, origin: Tensor) -> Tensor:
    """Projects what an attack returned; what still breaks the rules is replaced by the origin."""
    image = threat.project(image, origin)
    admitted = threat.contains(image, origin)
    return torch.where(admitted[:, None, None, None], image, origin)


def _checked(epsilons: Sequence[float | str], norm: str) -> tuple[float, ...]:
    if not epsilons:
        raise UserError("Expected `epsilons` to be at least one radius, but got none.")
    return tuple(sorted(radius(epsilon, norm, "epsilons") for epsilon in epsilons))
