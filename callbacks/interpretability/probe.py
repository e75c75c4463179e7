"""Explains every image and measures the explanation, in the one pass over the test data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import lightning as L
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.methods.gradient import Gradient
from callbacks.interpretability.metric import Metric
from callbacks.interpretability.registry import CONTROLS, EXPLAINERS, metric, named_explainer
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.classifier import Classifier

DONORS = 256
"""Images of the data that explainers compare with, where they compare with others."""
_MOST_FORWARDS = 64
"""Forwards of an explanation beyond which it is not asked again by default."""


class ExplanationProbe(Probe):
    """How far an explanation of the predicted class can be believed, image by image.

    A column for each metric (and its standard error `_se`, where it draws) and, beside it, the same
    of a random map (`_random`), of an edge filter (`_edges`) and of the inverse map (`_inverse`),
    which are what it has to beat. The other columns are those of the undisturbed image.

    Args:
        explainer: what explains, or its name in `EXPLAINERS`.
        metrics: by the name of their columns; a sequence names entries of `METRICS`. By default
            the symmetric relevance gain, sparseness and, where the explanation costs no more than
            64 forwards, max-sensitivity.
        controls: measure the three controls too.
        label: name in tables and metric keys; default: that of the explainer.
        options: of an explainer given by name.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "interpretability"
    unit: ClassVar[str] = "none"

    def __init__(
        self,
        explainer: Explainer | str,
        metrics: Mapping[str, Metric] | Sequence[str] | None = None,
        controls: bool = True,
        label: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if isinstance(explainer, str):
            explainer = named_explainer(explainer, **(options or {}))
        if metrics is None:
            again = ("max_sensitivity",) if explainer.forwards <= _MOST_FORWARDS else ()
            metrics = ("srg", "sparseness", *again)
        if not isinstance(metrics, Mapping):
            metrics = {name: metric(name, explainer) for name in metrics}
        self.explainer, self.metrics, self.controls = explainer, dict(metrics), controls
        self.label = label
        self.extras = tuple(self._columns())  # type: ignore[misc]  # its columns are its own

    @classmethod
    def within(cls, budget: Budget, explainer: type = Gradient, **options: Any) -> Self:
        """Makes a probe of an explainer.

        Args:
            budget: of a preset.
            explainer: its class.
            **options: of the constructor.
        """
        return super().within(budget, **{**options, "explainer": explainer()})

    @property
    def name(self) -> str:
        """The label, or `explain_` with the explainer's name."""
        known = {kind: name for name, kind in EXPLAINERS.items()}
        kind = type(self.explainer)
        return self.label or f"explain_{known.get(kind, kind.__name__.lower())}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return self.name.removeprefix("explain_").replace("_", " ").capitalize()

    @property
    def algorithm(self) -> str:
        """The explainer and the metrics with every parameter."""
        measures = ", ".join(f"{name}={one!r}" for name, one in self.metrics.items())
        return f"{self.explainer!r}; {measures}; controls={self.controls}"

    @property
    def reported(self) -> tuple[str, ...]:
        """The scores and their controls."""
        return tuple(self.extras)

    def settings(self) -> tuple[Setting, ...]:
        """One: nothing is done to the image."""
        return (Setting(self.name, 0, 0.0),)

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Hands images of the data to explainers that compare with other images."""
        if isinstance(data, ImageDataModule) and _wants_donors(self.explainer):
            own = with_donors(self.explainer, data.taken("test", DONORS).image)
            self.metrics = {name: _asking(one, own) for name, one in self.metrics.items()}
            self.explainer = own

    def cost(self, setting: Setting) -> float:
        """Forwards and, twice, backwards of the explanation and of its measures."""
        spent = [self.explainer, *(one for _, one, _ in self._panel())]
        return sum(one.forwards + 2 * one.backwards for one in spent)

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Explains the class that was predicted and measures the map; see `Probe`."""
        image, target, draw = samples.image, samples.logits.argmax(1), samples.draw
        for setting in settings:
            maps = {"": self.explainer(model, image, target, draw)}
            if self.controls:
                maps |= {
                    name: one(model, image, target, draw) for name, one in CONTROLS.items()
                } | {"inverse": -maps[""]}
            extras: dict[str, Tensor] = {}
            for column, measured, of in self._panel():
                if of or not hasattr(measured, "estimated"):
                    found = measured(model, image, target, maps[of], draw)
                else:  # it knows how far it is to be trusted
                    found, error = measured.estimated(model, image, target, maps[of], draw)  # type: ignore[attr-defined]
                    extras[f"{column}_se"] = error.float()
                extras[column] = found.float()
            yield Measurement(setting, samples.logits, extras)

    def _panel(self) -> Iterator[tuple[str, Metric, str]]:
        """Yields (column, metric, map): every metric with the controls that concern it."""
        for name, one in self.metrics.items():
            yield name, one, ""
            if not self.controls:
                continue
            for control, explainer in CONTROLS.items():
                yield f"{name}_{control}", _asking(one, explainer), control
            if one.higher_is_better is not None and not hasattr(one, "explainer"):
                yield f"{name}_inverse", one, "inverse"

    def _columns(self) -> Iterator[str]:
        for column, measured, of in self._panel():
            yield column
            if not of and hasattr(measured, "estimated"):
                yield f"{column}_se"


def with_donors(explainer: Explainer, donors: Tensor) -> Explainer:
    """Hands other images `(M, C, H, W)` to an explainer that compares with them and has none."""
    return replace(explainer, donors=donors) if _wants_donors(explainer) else explainer  # type: ignore[type-var]


def _wants_donors(explainer: Explainer) -> bool:
    return getattr(explainer, "donors", 0) is None


def _asking(one: Metric, explainer: Explainer) -> Metric:
    """Lets a metric that explains again ask another explainer."""
    return replace(one, explainer=explainer) if hasattr(one, "explainer") else one  # type: ignore[type-var]
