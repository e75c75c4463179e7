"""The judge of every attack: it owns the budget, projects, and asks the model again."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.attack import Attack, AttackResult, Objective, about
from callbacks.adversarial.expectation import Averaged, check_eot, said_of_draws
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.threat_models import THREAT_MODELS, ThreatModel, radius
from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.rows import is_answer
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.black_box import require_gradients
from lightning_modules.classifier import Classifier

Norm = Literal["linf", "l2", "l1"]
Target = Literal["next", "least_likely", "random"] | int
SIGNS = {"linf": "L∞", "l2": "L2", "l1": "L1"}
_EXTRAS = ("clean_correct", "success", "distance", "worst_loss", "target")


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
        targeted: towards which class: the next one, the least likely one, a random one, or the
            class of that number (whose own images are left as they are); None moves away from the
            label.
        objective: "verdict" or "loss".
        eot: draws that every answer and gradient is averaged over, for models that answer at
            random; see `Averaged`. The judge asks once.
        label: name of the probe where two share attack and norm.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"

    def __init__(
        self,
        attack: Attack,
        norm: Norm = "linf",
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        targeted: Target | None = None,
        objective: Objective = "verdict",
        label: str | None = None,
        eot: int = 1,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        said = about(attack)
        said.norm(norm)
        if targeted is not None and not said.targeted:
            raise UserError(f"{said.title} takes no target: leave `targeted` out, or take apgd.")
        if isinstance(targeted, str) and targeted not in ("next", "least_likely", "random"):
            raise UserError(
                "Expected `targeted` to be next, least_likely, random or the number of a class, "
                f"but got {targeted!r}."
            )
        check_eot(eot, attack.gradients, said.title, getattr(attack, "keeps_budget", False))
        self.attack, self.norm, self.targeted, self.eot = attack, norm, targeted, eot
        self.objective: Objective = objective
        self.curve, self.label = tuple(curve), label
        self.epsilons = None if epsilons is None else _checked(epsilons, norm)
        self.headline: float | None = None
        """The data set's usual radius, where it has one."""

    @classmethod
    def within(cls, budget: Budget, attack: Callable[..., Attack] = PGD, **options: Any) -> Self:
        """Makes a probe of an attack that takes of a preset's steps and restarts what it has.

        Args:
            budget: of a preset.
            attack: makes it, such as its class.
            **options: of the constructor, such as `norm` and `targeted`.
        """
        known = inspect.signature(attack).parameters
        spent = {
            "steps": budget.steps,
            "restarts": budget.restarts,
            "queries": 50 * budget.steps,  # as the 5,000 of AutoAttack stand beside 100 steps
        }
        curve = budget.curve
        if getattr(attack, "keeps_budget", False):
            spent, curve = {}, (1.0,)
        chosen = attack(**{name: count for name, count in spent.items() if name in known})
        objective = budget.objective if about(chosen).climbs else "verdict"
        shared = {"curve": curve, "objective": objective}
        return super().within(budget, **{**shared, **options, "attack": chosen})

    @property
    def name(self) -> str:
        """`<attack>_<norm>`, with the suffixes `_eot` and `_targeted` where it is so."""
        stem = f"{about(self.attack).name}_{self.norm}" + ("_eot" if self.eot > 1 else "")
        return self.label or (f"{stem}_targeted" if self.targeted is not None else stem)

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        which = "class {}" if isinstance(self.targeted, int) else "the {} class"
        kind = "" if self.targeted is None else f", towards {which.format(self.targeted)}"
        eot = f", EOT {self.eot}" if self.eot > 1 else ""
        return f"{about(self.attack).title}{eot} ({SIGNS[self.norm]}{kind})"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The radius, in pixel units."""
        return f"epsilon ({SIGNS[self.norm]})"

    @property
    def algorithm(self) -> str:
        """The attack with its parameters, norm, target and objective."""
        eot = f" eot={self.eot}" if self.eot > 1 else ""
        return f"{self.attack!r} norm={self.norm} targeted={self.targeted} {self.objective}{eot}"

    @property
    def extras(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of every attack, then its own."""
        return (*_EXTRAS, *about(self.attack).columns)

    @property
    def reported(self) -> tuple[str, ...]:
        """With a target, how often it is answered."""
        return () if self.targeted is None else ("success",)

    @property
    def certificate(self) -> str:
        """What was spent, where the attack's name stands for a budget; else nothing."""
        spent = getattr(self.attack, "certificate", None)
        return f"{spent(self.norm)}; seed {self.seed}" if spent else ""

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Takes the data set's usual radius where none was given, and fits attack to model."""
        if self.attack.gradients:
            require_gradients(classifier, f"The attack {self.name!r}")
        deterministic = bool(classifier.facts.get("deterministic", True))
        self._fit(classifier.num_classes, deterministic)
        if isinstance(data, ImageDataModule):
            self.headline = data.epsilon.get(THREAT_MODELS[self.norm].__name__)
            self._check_target(data.images("test").label)
        if self.epsilons is None:
            if self.headline is None:
                raise UserError(
                    f"Expected `epsilons`, because the data has no usual {SIGNS[self.norm]} radius."
                )
            self.epsilons = _checked([self.headline * factor for factor in self.curve], self.norm)

    def _fit(self, classes: int, deterministic: bool) -> None:
        """Lets the attack say what it does differently for a model, and notes it."""
        self.note = ""
        if fitted := getattr(self.attack, "fitted", None):
            self.attack, self.note = fitted(classes, deterministic)
        elif getattr(self.attack, "loss", None) == "dlr" and classes < 3:
            self.note = f"{self.title}: the DLR loss needs 3 classes, so it follows the margin."
        if deterministic or getattr(self.attack, "eot", 1) == 1:
            self.note += said_of_draws(self.title, deterministic, self.eot)
        self.note = self.note.strip()
        if isinstance(self.targeted, int) and not 0 <= self.targeted < classes:
            raise UserError(
                f"Expected `targeted` to be a class between 0 and {classes - 1}, but got "
                f"{self.targeted}."
            )
        if classes < 2:
            raise UserError("Expected a model with at least 2 classes: with one nothing is wrong.")

    def _check_target(self, label: Tensor) -> None:
        """Refuses a target that every image has already; `(N,)` labels."""
        if not isinstance(self.targeted, int):
            return
        same = of_target(self.targeted, label)
        if same:
            self.note = f"{self.note} ".lstrip() + (
                f"{self.title}: {same:,} of {len(label):,} images are of that class and are left "
                "as they are; they count as not reached."
            )

    def settings(self) -> tuple[Setting, ...]:
        """One for each epsilon, with step 1000·epsilon."""
        return tuple(Setting(self.name, round(1000 * e), e) for e in self.epsilons or ())

    def cost(self, setting: Setting) -> float:
        """At most: a gradient is one forward and one backward; the judge asks once."""
        return 1 + self.eot * (3 * self.attack.gradients + about(self.attack).forwards)

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Attacks the samples at each epsilon, from the clean image every time."""
        target = self._target(samples)
        todo = torch.ones_like(samples.correct)
        if self.objective == "verdict":
            todo = samples.correct if target is None else ~_answered(samples.logits, target)
        if target is not None:
            todo = todo & (target != samples.label)
        todo = todo.nonzero().squeeze(1)
        for setting in settings:
            yield Measurement(setting, *self._attacked(model, samples, target, todo, setting))

    def _attacked(
        self,
        model: Queries,
        samples: Samples,
        target: Tensor | None,
        todo: Tensor,
        setting: Setting,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Runs the attack on the samples `todo` and judges what it returns."""
        threat, n = THREAT_MODELS[self.norm](setting.value), len(samples)
        logits = samples.logits.clone()
        forwards, backwards = samples.label.new_zeros(n), samples.label.new_zeros(n)
        own = {
            name: samples.label.new_full((n,), -1).float() for name in about(self.attack).columns
        }
        distance, worst = logits.new_zeros(n), logits.new_full((n,), torch.nan)
        if len(todo):
            part = samples.select(todo)
            result = self.attack(
                model if self.eot == 1 else Averaged(model, self.eot),
                part.image,
                part.label,
                threat,
                part.draw,
                target=None if target is None else target[todo],
                objective=self.objective,
            )
            image = admissible(threat, result.image, part.image)
            logits[todo] = model(image)
            if self._listener:
                self._listener(setting, part, image, logits[todo])
            distance[todo] = threat.measure(image, part.image).float()
            if self.objective == "loss":
                worst[todo] = self._worst_loss(model, threat, result, part, logits[todo])
            more = 0 if result.backwards is None else result.backwards
            backwards[todo] = self.eot * (result.steps + more)
            for name, column in result.columns.items():
                own[name][todo] = column.float()
            asked_again = 1 if result.worst is result.image else 2
            forwards[todo] = self.eot * (result.steps + result.forwards) + asked_again
        success = ~_answered(logits, samples.label)
        if target is not None:
            success = _answered(logits, target) & (target != samples.label)
        return logits, {
            "clean_correct": samples.correct,
            "success": success,
            "distance": distance,
            "worst_loss": worst,
            "target": samples.label.new_full((n,), -1) if target is None else target,
            "forwards": forwards,
            "backwards": backwards,
            **own,
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
        worst = model(admissible(threat, result.worst, part.image))
        return loss.maximum(F.cross_entropy(worst, part.label, reduction="none"))

    def _target(self, samples: Samples) -> Tensor | None:
        """`(N,)` classes to move towards; never the label itself."""
        classes = samples.logits.shape[1]
        if self.targeted is None:
            return None
        if isinstance(self.targeted, int):
            return torch.full_like(samples.label, self.targeted)
        if self.targeted == "next":
            return (samples.label + 1) % classes
        if self.targeted == "least_likely":
            others = samples.logits.scatter(1, samples.label[:, None], torch.inf)
            return others.argmin(1)
        shift = 1 + (samples.draw.uniform("target", 0, ()) * (classes - 1)).long()
        return (samples.label + shift) % classes


def _answered(logits: Tensor, wanted: Tensor) -> Tensor:
    """`(N,)` bool: whether classes `(N,)` are answered; NaN, whose argmax is 0, answers none."""
    return (logits.argmax(1) == wanted) & is_answer(logits)


def admissible(threat: ThreatModel, image: Tensor, origin: Tensor) -> Tensor:
    """Projects what an attack returned; what still breaks the rules is replaced by the origin."""
    image = threat.project(image, origin)
    admitted = threat.contains(image, origin)
    return torch.where(admitted[:, None, None, None], image, origin)


def of_target(target: int, label: Tensor) -> int:
    """How many images have a target for their label already; `(N,)` labels.

    Raises:
        UserError: all of them.
    """
    same = int((label == target).sum())
    if same == len(label):
        raise UserError(
            f"Expected `targeted` to be another class than the label, but all {same:,} images are "
            f"of class {target}."
        )
    return same


def _checked(epsilons: Sequence[float | str], norm: str) -> tuple[float, ...]:
    if not epsilons:
        raise UserError("Expected `epsilons` to be at least one radius, but got none.")
    return tuple(sorted({radius(epsilon, norm, "epsilons") for epsilon in epsilons}))
