"""Probes that bound robust accuracy from below: an image counts only if nothing can change it."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adversarial.certified.margin_bounds import Crown, MarginBounds
from callbacks.adversarial.certified.program import Step, program, refused, run
from callbacks.adversarial.certified.smoothing import Smoothing
from callbacks.adversarial.threat_models import L2, Linf, radius
from callbacks.budget import Budget
from callbacks.digests import model_digest
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.classifier import Classifier
from lightning_modules.trial import example

_BALLS: dict[str, type[Linf] | type[L2]] = {"linf": Linf, "l2": L2}
_SIGNS = {"linf": "L∞", "l2": "L2"}
_AGREE = 1e-3
"""Share of the spread of the logits by which float32 may differ from the double precision here."""
_ROUNDING = 1e-5
"""The same of a margin, which must be larger than this to be certain."""
_AT_ONCE = 32
"""Images that are bounded together."""
_LEAST = 1e-12
"""Probabilities are kept so far from 0 and 1."""


class LowerBound(Probe):
    """What the probes of certified bounds share: radii, and rows that say what is certain.

    The logits of a row are the worst that are possible: that of the label is 0, that of another
    class what it may be above the label's. So `correct` says that the answer is right and certain,
    and `loss` is an upper bound of the worst-case loss.

    Args:
        epsilons: radii in pixel units, as numbers or like `8/255`; None takes `curve` times the
            data set's usual radius.
        curve: multiples of the usual radius.
        norm: of the ball.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"
    extras: ClassVar[tuple[str, ...]] = ("certified",)
    method: ClassVar[str]

    def __init__(
        self,
        norm: str = "linf",
        epsilons: Sequence[float | str] | None = None,
        curve: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if norm not in _BALLS:
            raise UserError(f"Expected `norm` to be one of {list(_BALLS)}, but got {norm!r}.")
        self.norm, self.curve = norm, tuple(curve)
        self.epsilons = None if epsilons is None else self._checked(epsilons)
        self.headline: float | None = None
        """The data set's usual radius, where it has one."""

    @classmethod
    def within(cls, budget: Budget, **options: Any) -> Self:
        """Makes the probe with a preset's radii."""
        return super().within(budget, **{"curve": budget.curve, **options})

    @property
    def name(self) -> str:
        """`<method>_<norm>`."""
        return f"{self.method}_{self.norm}"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The radius, in pixel units."""
        return f"epsilon ({_SIGNS[self.norm]})"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Takes the data set's usual radius where none was given."""
        if isinstance(data, ImageDataModule):
            self.headline = data.epsilon[_BALLS[self.norm].__name__]
        if self.epsilons is None:
            if self.headline is None:
                raise UserError("Expected `epsilons`, because the data has no usual radius.")
            self.epsilons = self._checked([self.headline * factor for factor in self.curve])

    def settings(self) -> tuple[Setting, ...]:
        """One for each radius, with step 1000·epsilon, as attacks have."""
        return tuple(Setting(self.name, round(1000 * e), e) for e in self.epsilons or ())

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Bounds the samples at each radius."""
        for setting in settings:
            yield self._certified(model, samples, setting)

    @abstractmethod
    def _certified(self, model: Queries, samples: Samples, setting: Setting) -> Measurement: ...

    def _checked(self, epsilons: Sequence[float | str]) -> tuple[float, ...]:
        return tuple(radius(epsilon, self.norm, "epsilons") for epsilon in epsilons)


class CertifiedProbe(LowerBound):
    """Certified accuracy against epsilon by bounds of the network itself.

    Args:
        bounds: how the network is bounded.
        **options: see `LowerBound`.
    """

    version = 1

    def __init__(self, bounds: MarginBounds | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.bounds = bounds or Crown()
        self._steps: list[Step] = []
        self._traced: tuple[str, torch.Size] | None = None
        self._classifier: Classifier | None = None

    @classmethod
    def within(cls, budget: Budget, bounds: type[MarginBounds] = Crown, **options: Any) -> Self:
        """Makes the probe of a kind of bounds."""
        return super().within(budget, bounds=bounds(), **options)

    @property
    def method(self) -> str:  # type: ignore[override]
        """Of the bounds, in names of metrics."""
        return {"Crown": "crown"}.get(type(self.bounds).__name__, "interval_bounds")

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        kind = "linear bounds" if self.method == "crown" else "interval bounds"
        return f"Certified by {kind} ({_SIGNS[self.norm]})"

    @property
    def algorithm(self) -> str:
        """The bounds and the norm."""
        return f"{self.bounds!r} norm={self.norm}"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Reads the network, and refuses one whose bounds are not known."""
        super().prepare(classifier, data)
        self._classifier = classifier
        self._trace(_some(classifier, data))

    def _trace(self, image: Tensor) -> None:
        """Reads the network as it answers images of this shape; once for the same weights."""
        classifier = self._classifier
        assert classifier is not None
        image = torch.cat((image, image))[:2].to(classifier.device)
        with torch.no_grad():
            classifier(image)  # a lazy layer has no weights before
        traced = (model_digest(classifier), image.shape)
        if traced != self._traced:
            shown = _shown(classifier)
            steps = program(classifier.model, run(shown, image.double()).float())
            self._steps, self._traced = [*shown, *_moved(steps)], traced

    def cost(self, setting: Setting) -> float:
        """Guessed: each value that may have either sign is carried back through the network."""
        return 20.0 if self.method == "interval_bounds" else 500.0

    def _certified(self, model: Queries, samples: Samples, setting: Setting) -> Measurement:
        self._trace(samples.image)
        image, label = samples.image.double(), samples.label
        apart = self._apart(model, samples)
        worst = samples.logits.double() - _at_label(samples.logits, label)  # of wrong answers
        threat = _BALLS[self.norm](setting.value)
        for rows in samples.correct.nonzero()[:, 0].split(_AT_ONCE):
            worst[rows] = -self.bounds(self._steps, image[rows], label[rows], threat)
        # What is measured in float32, or less, may be this far from what is bounded.
        least = _ROUNDING * samples.logits.std(1) + 2 * apart
        certified = samples.correct & (_others(worst, label) < -least)
        own = F.one_hot(label, worst.shape[1]).bool()
        worst = worst.where(~own | certified[:, None], -2 * least[:, None].double())
        return Measurement(setting, worst.float(), {"certified": certified})

    def _apart(self, model: Queries, samples: Samples) -> Tensor:
        """How far the measured logits of each image are from those of the steps, `(N,)`.

        Raises:
            UserError: hooks, in-place operations or another answer rule change the answers.
        """
        assert self._classifier is not None
        with torch.no_grad():
            single = self._classifier(samples.image).float()  # whatever the Trainer's precision
        model.forwards += len(samples)
        answers = _centred(run(self._steps, samples.image.double()))
        if not bool((answers - _centred(single)).abs().max() <= _AGREE * single.std() + 1e-9):
            raise refused("hooks, in-place operations or answers that its code does not show")
        return (answers - _centred(samples.logits)).abs().amax(1).float()


def _centred(logits: Tensor) -> Tensor:
    """Up to one number for all classes, by which probabilities' logarithms differ from logits."""
    return (logits - logits.mean(1, keepdim=True)).double()


def _some(classifier: Classifier, data: L.LightningDataModule | None) -> Tensor:
    """Some images, to trace a network with."""
    if isinstance(data, ImageDataModule):
        return data.taken("test", 2).image
    image = example(classifier.model)
    if image is None:
        raise refused("a forward that accepts no image of a usual size")
    return image


def _shown(classifier: Classifier) -> list[Step]:
    """What a classifier does to an image in [0, 1] before the network sees it."""
    mean, std = classifier.mean.double(), classifier.std.double()

    def ordered(image: Tensor) -> Tensor:
        return image.flip(1) if classifier.preprocessing.bgr else image

    shown = Step(
        "affine", (-1,), lambda x: ordered((x - mean) / std), lambda r: ordered(r / std.abs())
    )
    return [shown]


def _moved(steps: Sequence[Step]) -> list[Step]:
    """The same steps behind one more."""
    return [step._replace(inputs=tuple(i + 1 for i in step.inputs)) for step in steps]


def _at_label(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None])


def _others(logits: Tensor, label: Tensor) -> Tensor:
    """The largest logit of another class, `(N,)`."""
    return logits.scatter(1, label[:, None], -torch.inf).amax(1)


class SmoothingProbe(LowerBound):
    """Certified accuracy of the *smoothed* network: the class it answers most often under noise.

    Args:
        smoothing: noise, samples and confidence.
        **options: see `LowerBound`; the norm is L2.
    """

    extras: ClassVar[tuple[str, ...]] = ("certified", "worst_loss")
    method: ClassVar[str] = "smoothing"

    def __init__(self, smoothing: Smoothing | None = None, **options: Any) -> None:
        super().__init__(**{"norm": "l2", **options})
        if self.norm != "l2":
            raise UserError(f"Expected `norm` to be l2 for smoothing, but got {self.norm!r}.")
        self.smoothing = smoothing or Smoothing()

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return f"Certified, smoothed network, noise {self.smoothing.sigma:g} (L2)"

    @property
    def algorithm(self) -> str:
        """Noise, samples and confidence."""
        return repr(self.smoothing)

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Says that it is another network that is certified."""
        super().prepare(classifier, data)
        self.note = f"{self.title}: {self.smoothing.described}."

    def cost(self, setting: Setting) -> float:
        """All noisy copies, once for all radii."""
        return self.smoothing.forwards / max(1, len(self.epsilons or ()))

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Asks about the noisy copies of each image once, for all radii."""
        classes = samples.logits.shape[1]
        answer = self.smoothing(model, samples.image, samples.label, samples.draw, classes)
        for setting in settings:
            first = setting is settings[0]
            spent = torch.full_like(samples.label, self.smoothing.forwards if first else 0)
            share = self.smoothing.at(answer.least, setting.value).clamp(_LEAST, 1 - _LEAST)
            certified = (share > 0.5) & (answer.label == samples.label)
            other = torch.where(answer.label == samples.label, _next(samples), answer.label)
            logits = torch.full_like(samples.logits, -torch.inf)
            share = share.where(certified | (share <= 0.5), 0.5 - _LEAST)
            logits.scatter_(1, other[:, None], (1 - share).log().float()[:, None])
            logits.scatter_(1, samples.label[:, None], share.log().float()[:, None])
            unknown = torch.full_like(share, torch.nan)
            columns = {"certified": certified, "worst_loss": unknown, "forwards": spent}
            yield Measurement(setting, logits, columns)

    def _certified(self, model: Queries, samples: Samples, setting: Setting) -> Measurement:
        return next(self.measure(model, samples, [setting]))


def _next(samples: Samples) -> Tensor:
    """Any class but the label, which has what probability the label has not."""
    return (samples.label + 1) % samples.logits.shape[1]
