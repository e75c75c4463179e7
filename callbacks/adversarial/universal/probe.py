"""The judge of universal patterns: learns one on some images, and tries it on others."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.probe import SIGNS, admissible, of_target
from callbacks.adversarial.threat_models import THREAT_MODELS, radius
from callbacks.adversarial.universal.examples import Examples
from callbacks.adversarial.universal.learning import BATCH, Learnt, UniversalAttack, learn
from callbacks.adversarial.universal.perturbation import Universal
from callbacks.adversarial.universal.placement import side_of
from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.rows import is_answer
from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.black_box import require_gradients
from lightning_modules.classifier import Classifier

PATCH = 0.1
"""Usual share of the image that a patch covers."""
_JUDGED = -1  # the number of the placement, none of those of learning


class UniversalProbe(Probe):
    """Accuracy under one learnt pattern for all images, beside a random one of the same size.

    The pattern is learnt once for each severity, on validation images; where there are none, on
    test images that are then not judged. Every judged image is asked about once with the pattern
    and once with the random one in the same place: `control_correct` is whether that left it right.
    `learning_gradients` is what learning cost in all.

    Args:
        attack: what is learnt: `Universal` or `Patch`.
        norm: of the threat; None takes the attack's first.
        epsilons: radii in pixel units, of a patch shares of the image; None takes `curve` times the
            data set's usual radius, of a patch 0.1.
        curve: multiples of the usual one.
        targeted: number of the class that every image shall be taken for; None: any wrong one.
        images: to learn on, at most.
        label: name of the probe where two share attack and norm.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"

    def __init__(
        self,
        attack: UniversalAttack | None = None,
        norm: str | None = None,
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        targeted: int | None = None,
        images: int = 512,
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        self.attack = attack or Universal()
        said = self.attack.about
        self.norm = said.norm(norm)
        if targeted is not None and not isinstance(targeted, int):
            raise UserError(
                f"One pattern for all images has one target: expected `targeted` to be the number "
                f"of a class, but got {targeted!r}."
            )
        if images < 1:
            raise UserError(f"Expected `images` to be at least 1, but got {images}.")
        self.curve, self.targeted, self.images, self.label = tuple(curve), targeted, images, label
        self.epsilons = None if epsilons is None else self._checked(epsilons)
        self.headline: float | None = None
        self._examples: Examples | None = None
        self._learnt: dict[float, Learnt] = {}

    @classmethod
    def within(
        cls, budget: Budget, attack: Callable[..., UniversalAttack] = Universal, **options: Any
    ) -> Self:
        """Makes a probe of an attack with a preset's steps.

        Args:
            budget: of a preset.
            attack: makes it, such as its class.
            **options: of the constructor, such as `norm` and `targeted`.
        """
        steps = {"steps": budget.steps} if "steps" in inspect.signature(attack).parameters else {}
        return super().within(
            budget, **{"curve": budget.curve, **options, "attack": attack(**steps)}
        )

    @property
    def is_patch(self) -> bool:
        """Whether the size is a share of the image, not a radius."""
        return self.norm not in THREAT_MODELS

    @property
    def name(self) -> str:
        """`<attack>_<norm>`, or `patch`; with the suffix `_targeted` where it is."""
        said = self.attack.about.name
        stem = said if self.is_patch else f"{said}_{self.norm}"
        return self.label or (stem if self.targeted is None else f"{stem}_targeted")

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        to = "" if self.targeted is None else f"towards class {self.targeted}"
        told = ", ".join(part for part in ("" if self.is_patch else SIGNS[self.norm], to) if part)
        return f"{self.attack.about.title} ({told})" if told else self.attack.about.title

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The radius in pixel units, or the share of the image."""
        return "share of the image (patch)" if self.is_patch else f"epsilon ({SIGNS[self.norm]})"

    @property
    def algorithm(self) -> str:
        """The attack with its parameters, the norm, the target and what it is learnt on."""
        known = self._examples
        on = f"at most {self.images}" if known is None else f"{known} {known.digest}"
        return f"{self.attack!r} norm={self.norm} targeted={self.targeted}, learnt on {on}"

    @property
    def extras(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of attacks, the control, what was spent, and where the pattern lies."""
        every = ("clean_correct", "success", "distance", "worst_loss", "target")
        return (*every, "control_correct", "learning_gradients", *self.attack.about.columns)

    @property
    def reported(self) -> tuple[str, ...]:
        """The control; with a target, how often it is reached."""
        return ("control_correct",) if self.targeted is None else ("success", "control_correct")

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Chooses the images to learn on, and takes the usual size where none was given."""
        require_gradients(classifier, f"The attack {self.name!r}")
        if not isinstance(data, ImageDataModule):
            raise UserError(f"{self.title} has to learn on images: give a data module.")
        classes = classifier.num_classes
        if self.targeted is not None and not 0 <= self.targeted < classes:
            raise UserError(
                f"Expected `targeted` to be a class between 0 and {classes - 1}, but got "
                f"{self.targeted}."
            )
        self._examples, self._learnt = Examples.of(data, self.images, self.seed), {}
        self.headline = PATCH
        if not self.is_patch:
            self.headline = data.epsilon.get(THREAT_MODELS[self.norm].__name__)
        if self.epsilons is None:
            if self.headline is None:
                raise UserError(
                    f"Expected `epsilons`, because the data has no usual {SIGNS[self.norm]} radius."
                )
            self.epsilons = self._checked([self.headline * factor for factor in self.curve])
        if self.is_patch:
            self._check_it_covers(tuple(data.taken("test", 1).image.shape))
        own = 0 if self.targeted is None else of_target(self.targeted, data.images("test").label)
        self.note = self._said(own, bool(classifier.facts.get("deterministic", True)))

    def _check_it_covers(self, shape: tuple[int, ...]) -> None:
        """Refuses a patch that would lie between the pixels: it leaves everything right."""
        least = min(self.epsilons or ())
        if side_of(least, shape) * getattr(self.attack, "scale", 1.0) < 1:
            raise UserError(
                f"Expected `epsilons` of a patch that covers a pixel of {shape[-2]}x{shape[-1]} "
                f"(height x width) at its smallest, but a share of {least:g} does not: take more."
            )

    def _said(self, own: int, deterministic: bool) -> str:
        """What it was learnt on, what that leaves out, and how many are of the target already."""
        examples = self._of_learning()
        told = f"{self.title}: learnt on {examples} in {self.attack.steps} passes"
        if held := len(examples.held_back):
            told += f", because there are no others; these {held:,} are not judged"
        if own:
            told += f"; {own:,} test images are of the target class and count as not reached"
        at_random = "" if deterministic else (
            " The model answers at random, so that the pattern is not the same in every run."
        )  # fmt: skip
        return f"{told}.{at_random}"

    def _of_learning(self) -> Examples:
        if self._examples is None:
            raise UserError(f"Probe {self.name!r} has no images to learn on: prepare it first.")
        return self._examples

    def judged(self, index: Tensor) -> Tensor:
        """All but the images that the pattern was learnt on."""
        return self._of_learning().left(index)

    def settings(self) -> tuple[Setting, ...]:
        """One for each size, with step 1000 times that."""
        return tuple(Setting(self.name, round(1000 * e), e) for e in self.epsilons or ())

    def cost(self, setting: Setting) -> float:
        """The pattern and the control; learning is on other images."""
        return 2.0

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Asks about every image with the pattern on it, and with the random one."""
        for setting in settings:
            size = setting.value
            learnt = self._pattern(model, samples, size)
            control = self.attack.control(learnt.pattern, self.norm, size, self.seed)
            random, _ = self._shown(samples, control, size)
            image, columns = self._shown(samples, learnt.pattern, size)
            answer, logits = model(random), model(image)
            kept = (answer.argmax(1) == samples.label) & is_answer(answer) & samples.correct
            gradients = torch.full_like(samples.label, learnt.gradients)
            told = {"control_correct": kept, "learning_gradients": gradients}
            yield Measurement(
                setting, logits, {**self._columns(samples, image, logits), **told, **columns}
            )

    def _columns(self, samples: Samples, image: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Those that every attack has."""
        prediction, target = logits.argmax(1), torch.full_like(samples.label, -1)
        success = (prediction != samples.label) | ~is_answer(logits)
        worst = F.cross_entropy(logits, samples.label, reduction="none")
        distance = (image - samples.image).flatten(1).abs().amax(1)
        if not self.is_patch:
            distance = THREAT_MODELS[self.norm](1.0).measure(image, samples.image)
        if self.targeted is not None:
            target.fill_(self.targeted)
            success = (prediction == target) & (samples.label != target) & is_answer(logits)
            worst = torch.full_like(worst, math.nan)  # another class was looked for
        twice = torch.full_like(samples.label, 2)
        return {
            "clean_correct": samples.correct,
            "success": success,
            "distance": distance,
            "worst_loss": worst,
            "target": target,
            "forwards": twice,
            "backwards": 0 * twice,
        }

    def _shown(
        self, samples: Samples, pattern: Tensor, size: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Images with a pattern on them, judged: in ball and box, whatever the attack says."""
        shown = self.attack.show(samples.image, pattern, self.norm, size, samples.draw, _JUDGED)
        image = shown.image.clamp(0, 1)
        if not self.is_patch:
            image = admissible(THREAT_MODELS[self.norm](size), image, samples.image)
        return image, dict(shown.columns)

    def _pattern(self, model: Queries, samples: Samples, size: float) -> Learnt:
        """Learns it when it is first needed: rows that are all on disk need none."""
        if size not in self._learnt:
            device, seed = samples.image.device, self.seed
            batch = Batch(*(part.to(device) for part in self._of_learning().batch))
            asked = Queries(model.model, BATCH, model.context)  # one shape, whatever is judged
            self._learnt[size] = learn(
                self.attack, asked, batch, self.norm, size, seed, self.targeted
            )
        return self._learnt[size]

    def _checked(self, epsilons: Sequence[float | str]) -> tuple[float, ...]:
        if not epsilons:
            raise UserError("Expected `epsilons` to be at least one size, but got none.")
        sizes = tuple(sorted({radius(epsilon, self.norm, "epsilons") for epsilon in epsilons}))
        if self.is_patch and not (sizes[0] > 0 and sizes[-1] <= 1):
            raise UserError(
                "Expected `epsilons` of a patch to be shares of the image, above 0 and at most 1, "
                f"such as 0.1, but got {', '.join(map(str, epsilons))}."
            )
        return sizes
