"""Whether gradients tell the truth about a model: the rows that a verdict is made of."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.attack import about
from callbacks.adversarial.losses import cross_entropy, margin
from callbacks.adversarial.masking.checks import LEAST_STEPS, RADII, Check, checks
from callbacks.adversarial.minimum_norm.probe import USUAL
from callbacks.adversarial.probe import SIGNS, Norm, admissible
from callbacks.adversarial.threat_models import THREAT_MODELS, Linf, ThreatModel, radius
from callbacks.adversarial.zero_gradient import zero_gradient
from callbacks.budget import Budget
from callbacks.leave_no_trace import leave_no_trace
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.rows import is_answer
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.classifier import Classifier

IMAGES = 128
"""About a hundred of them right: enough to tell 7 % from 2 %."""
_CHUNK = 32  # images; few are left at a time
_MOVED = 1e-4
"""Distance of normalised logits beyond which two answers differ (Croce & Hein's own check)."""
_TRIED = 4


class MaskingProbe(Probe):
    """Looks for gradient masking on a few images, by attacks that fail in different ways.

    An attack that follows a gradient breaks nothing where the gradient is zero, random or points
    elsewhere, so that a model looks robust without being so (Athalye, Carlini & Wagner 2018,
    1802.00420). What breaks images all the same tells it: see `masking_verdict`. The radius is the
    one whose robust accuracy is the headline, or half or a quarter of it for images that PGD breaks
    there. Each check is a severity of its own, see `checks.NAMES`.

    Args:
        norm: of the ball round each image.
        epsilons: radii of the attacks that it stands beside; None: multiples of the data's usual.
        curve: these multiples.
        steps: of iterative attacks.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"
    unit: ClassVar[str] = "none"
    extras: ClassVar[tuple[str, ...]] = (
        "clean_correct", "asked", "success", "zero_gradient", "zero_margin", "moved",
        "differentiable", "epsilon", "headline", "chance",
    )  # fmt: skip

    def __init__(
        self,
        norm: Norm = "linf",
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (1.0,),
        steps: int = 40,
        *,
        limit: int | None = IMAGES,
        chunk: int = _CHUNK,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if norm not in THREAT_MODELS:
            raise UserError(f"Expected `norm` to be one of {list(THREAT_MODELS)}, got {norm!r}.")
        if steps < 1:
            raise UserError(f"Expected `steps` of at least 1, but got {steps}.")
        self.norm, self.curve, self.steps = norm, tuple(curve), steps
        self.epsilons = (
            None if epsilons is None else [radius(e, norm, "epsilons") for e in epsilons]
        )
        self.epsilon = math.nan
        """The radius it measures at; known after `prepare`."""
        self.differentiable = True
        """Whether a gradient comes at all; found out by `prepare`."""
        self.classes = 10

    @classmethod
    def within(cls, budget: Budget, **options: Any) -> Self:
        """Takes a preset's steps, but no fewer than converge; few images, in small chunks."""
        shared = {
            "steps": max(budget.steps, LEAST_STEPS),
            "limit": min(budget.limit or IMAGES, IMAGES),
            "chunk": min(budget.chunk, _CHUNK),
            "curve": budget.curve,
        }
        return super().within(budget, **{**shared, **options})

    @property
    def name(self) -> str:
        """`masking_<norm>`."""
        return f"masking_{self.norm}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables."""
        return f"Gradient masking ({SIGNS[self.norm]})"

    @property
    def checks(self) -> tuple[Check, ...]:
        """In their order; without a gradient those that need none."""
        return checks(self.norm, self.steps, self.classes, self.differentiable)

    @property
    def algorithm(self) -> str:
        """Every attack, and the radius."""
        made = ", ".join(f"{check.name} {check.attack!r}" for check in self.checks)
        return f"{made} norm={self.norm} epsilon={self.epsilon:g}"

    @property
    def places(self) -> dict[str, str]:
        """What the severities are."""
        return {str(check.number): check.title for check in self.checks}

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Takes the headline radius of the attacks beside it, and tries to differentiate."""
        self.classes = classifier.num_classes
        usual = None
        if isinstance(data, ImageDataModule):
            usual = data.epsilon.get(THREAT_MODELS[self.norm].__name__)
            self.differentiable = _gives_gradient(classifier, data)
        if usual is None and self.norm in USUAL:
            usual = USUAL[self.norm][0]  # as the minimum-norm attacks that it may stand beside
        radii = self.epsilons or [usual * factor for factor in self.curve if usual is not None]
        if not radii:
            raise UserError(
                f"Expected `epsilons`, because the data has no usual {SIGNS[self.norm]} radius."
            )
        same = [r for r in radii if usual is not None and math.isclose(r, usual)]
        self.epsilon = same[0] if same else max(radii)

    def settings(self) -> tuple[Setting, ...]:
        """One for each check."""
        return tuple(self._setting(check) for check in self.checks)

    def _setting(self, check: Check) -> Setting:
        return Setting(self.name, check.number, float(check.number))

    def cost(self, setting: Setting) -> float:
        """At most: a gradient is one forward and one backward."""
        (attack,) = [check.attack for check in self.checks if check.number == setting.severity]
        return 8.0 if attack is None else 1 + 3 * attack.gradients + about(attack).forwards

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Runs the checks that are wanted, and those that narrow down what they are tried on."""
        state = _State(samples)
        for check in self.checks:
            wanted = self._setting(check) in settings
            if wanted or check.narrows:
                found, columns = self._checked(model, samples, check, state)
                state.take(check, found, columns["success"])
                if wanted:
                    shown = state.logits if check.images == "standing" else found
                    yield Measurement(self._setting(check), shown, columns)

    def _checked(
        self, model: Queries, samples: Samples, check: Check, state: "_State"
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Answers `(N, K)` after one check, and its columns."""
        found, columns = samples.logits.clone(), self._columns(samples)
        asked = state.asked(check)
        rows = asked.nonzero().squeeze(1)
        columns["asked"] = asked
        if check.attack is None and len(rows):
            for name, column in _looked_at(model, samples.select(rows)).items():
                columns[name][rows] = column.double()
            columns["forwards"][rows], columns["backwards"][rows] = 4, 2
        elif check.box:
            self._attack(model, samples, check, Linf(1.0), rows, found, columns)
        else:  # each image at its own radius
            for level, part in enumerate(RADII):
                threat = THREAT_MODELS[self.norm](part * self.epsilon)
                rows = (asked & (state.level == level)).nonzero().squeeze(1)
                self._attack(model, samples, check, threat, rows, found, columns)
        return found, columns

    def _attack(
        self,
        model: Queries,
        samples: Samples,
        check: Check,
        threat: ThreatModel,
        rows: Tensor,
        found: Tensor,
        columns: dict[str, Tensor],
    ) -> None:
        """Attacks the samples `rows`, judges, and writes answers and columns."""
        if not len(rows) or check.attack is None:
            return
        part = samples.select(rows)
        result = check.attack(model, part.image, part.label, threat, part.draw)
        answer = model(admissible(threat, result.image, part.image))
        found[rows] = answer
        columns["success"][rows] = (answer.argmax(1) != part.label) | ~is_answer(answer)
        columns["epsilon"][rows] = threat.epsilon
        columns["forwards"][rows] = result.steps + result.forwards + 1
        columns["backwards"][rows] = result.steps

    def _columns(self, samples: Samples) -> dict[str, Tensor]:
        """As they are where nothing was tried."""
        whole = {
            "differentiable": float(self.differentiable),
            "headline": self.epsilon,
            "chance": 1 / self.classes,
            **dict.fromkeys((*_LOOKS, "epsilon"), math.nan),
        }
        none = torch.zeros_like(samples.label)
        return {
            "clean_correct": samples.correct,
            "success": torch.zeros_like(samples.correct),
            "forwards": none,
            "backwards": none.clone(),
            **{name: none.double() + value for name, value in whole.items()},
        }


class _State:
    """What the checks have left of the images so far."""

    def __init__(self, samples: Samples) -> None:
        self.right, self.left = samples.correct, samples.correct.clone()
        self.level = torch.zeros_like(samples.label)
        """Position in `RADII` of the largest radius at which PGD has not broken an image yet."""
        self.logits = samples.logits.clone()

    def asked(self, check: Check) -> Tensor:
        """`(N,)` bool: what a check is tried on."""
        if check.images == "right":
            return self.right
        if check.images == "narrowing":
            return self.right & (self.level == RADII.index(check.part))
        return self.left & (self.level < len(RADII))

    def take(self, check: Check, found: Tensor, success: Tensor) -> None:
        """Takes note of `(N, K)` answers and of what the check broke, `(N,)` bool."""
        if not check.narrows:
            return
        if check.images == "standing":
            self.left = self.left & ~success
        else:
            self.level = self.level + success.long()
        gone = success & (~self.left | (self.level == len(RADII)))
        self.logits = torch.where(gone[:, None], found, self.logits)


_LOOKS = ("zero_gradient", "zero_margin", "moved")


def _looked_at(model: Queries, part: Samples) -> dict[str, Tensor]:
    """`(n,)` bool: no gradient of cross-entropy, none of the margin, other answers when asked anew.

    The margin tells networks without a gradient from those whose softmax is one. What is asked for
    a gradient is compared too: a network may answer otherwise then.
    """
    first, second = model(part.image), model(part.image)
    third, _, gradient = model.gradient(part.image, cross_entropy, part.label)
    zero = zero_gradient(gradient)
    zero_margin = zero_gradient(model.gradient(part.image, margin, part.label)[2])
    moved = _apart(first, second) | _apart(first, third)
    return {"zero_gradient": zero, "zero_margin": zero_margin, "moved": moved}


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """`(n,)` whether two answers differ by more than rounding, whatever their scale."""
    one, other = (answer.nan_to_num(0.0, 0.0, 0.0).double() for answer in (one, other))
    length = one.norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)
    return (one - other).norm(dim=1) / length > _MOVED


def _gives_gradient(classifier: Classifier, data: ImageDataModule) -> bool:
    """Whether cross-entropy can be differentiated by some images."""
    some = data.taken("test", _TRIED)
    image, label = some.image.to(classifier.device), some.label.to(classifier.device)
    with torch.inference_mode(False), leave_no_trace(classifier):
        try:
            Queries(classifier).gradient(image.clone(), cross_entropy, label.clone())
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a stranger's backward may raise anything
            return False
    return True
