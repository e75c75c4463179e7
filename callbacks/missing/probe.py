"""Measures a model on input of which a part is missing or broken, in the one pass."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.missing.missing_input import Given, MissingInput
from callbacks.missing.places import Patches, Pixels
from callbacks.probe import Probe
from callbacks.queries import Queries
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.black_box import require_gradients
from lightning_modules.classifier import Classifier

_OF_GREY = {
    "channel_order": "have no order, so it is left out of the mean",
    "channels": "are lost whole",
}
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class MissingProbe(Probe):
    """Accuracy, loss and confidence against the share of the input that is missing or broken.

    What is lost at a rate is lost at every larger one, so that a curve is of losing more alone.
    Columns of its own: `lost`, the share of an image's values that differ from what they were, and
    `sure`, the confidence, 0 where there is no answer.

    Args:
        missing: what goes missing or breaks.
        rates: shares in (0, 1]: of the parts of each image, or of the images where these are hit as
            a whole.
        label: name in tables and metric keys; default: `missing_` and the input's.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "missing"
    unit: ClassVar[str] = "rate"
    extras: ClassVar[tuple[str, ...]] = ("lost", "sure")

    def __init__(
        self,
        missing: MissingInput,
        rates: Sequence[float] = RATES,
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        self.rates = tuple(sorted(set(rates)))
        if not self.rates or not all(0 < rate <= 1 for rate in self.rates):
            raise UserError(f"Expected `rates` to be shares in (0, 1], but got {[*rates]}.")
        self.missing, self.label = missing, label
        self.mean: tuple[float, ...] = ()
        self.shape: tuple[int, ...] = ()

    @classmethod
    def within(cls, budget: Budget, missing: type[MissingInput] = Pixels, **options: Any) -> Self:
        """Makes a probe of a kind of missing input.

        Args:
            budget: of a preset.
            missing: its class.
            **options: of the constructor, such as `rates`.
        """
        return super().within(budget, **{**options, "missing": missing()})

    @property
    def name(self) -> str:
        """The label, or `missing_pixels`."""
        return self.label or f"missing_{self.missing.name}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return self.missing.title

    @property
    def headline(self) -> float:
        """The middle rate."""
        return self.rates[len(self.rates) // 2]

    @property
    def reported(self) -> tuple[str, ...]:
        """How sure the model is of what it says."""
        return ("sure",)

    @property
    def algorithm(self) -> str:
        """The input with its parameters, its grid, and the mean that may fill it."""
        mean = " ".join(f"{value:.4g}" for value in self.mean)
        told = f", mean {mean}" if getattr(self.missing, "fill", "") == "mean" else ""
        if isinstance(self.missing, Patches) and self.shape:
            grid = self.missing.patches(torch.empty(1, *self.shape))
            told += f", {grid} x {grid} patches"
        return f"{self.missing!r}{told}"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Learns the data's mean and size, and refuses to ask a black box what matters to it."""
        if self.missing.salient:
            require_gradients(classifier, f"The probe {self.name!r}")
        if not isinstance(data, ImageDataModule):
            return
        self.shape = tuple(data.taken("test", 1).image.shape[1:])
        self.mean = tuple(float(value) for value in data.mean_std()[0])
        if self.shape[0] == 1 and self.missing.name in _OF_GREY:
            self.note = f"{self.title}: grey images {_OF_GREY[self.missing.name]}."

    def settings(self) -> tuple[Setting, ...]:
        """One for each rate, with step 1000·rate."""
        return tuple(Setting(self.name, round(1000 * rate), rate) for rate in self.rates)

    def cost(self, setting: Setting) -> float:
        """A forward, and a share of the gradient that says what matters."""
        return 1.0 + (3.0 / len(self.rates) if self.missing.salient else 0.0)

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Asks about what is left, chunk by chunk; what is lost is drawn once for all rates."""
        parts: dict[Setting, list[tuple[Tensor, Tensor]]] = {setting: [] for setting in settings}
        for start in range(0, len(samples), self.chunk):
            chunk = samples.select(slice(start, start + self.chunk))
            loss = self.missing(self._given(model, chunk))
            for setting in settings:
                left = loss.at(chunk.image, setting.value)
                lost = (left != chunk.image).float().mean((1, 2, 3))
                parts[setting].append((model(left), lost))
        for setting in settings:
            logits, lost = (torch.cat(part) for part in zip(*parts[setting], strict=True))
            sure = logits.softmax(1).amax(1).nan_to_num(0.0)
            yield Measurement(setting, logits, {"lost": lost, "sure": sure})

    def _given(self, model: Queries, samples: Samples) -> Given:
        image = samples.image
        mean = torch.tensor(self.mean or (0.5,) * image.shape[1], device=image.device)
        salience = None
        if self.missing.salient:
            top = samples.logits.argmax(1)
            gradient = model.gradient(image, _logit, top)[2]
            salience = gradient.nan_to_num(0.0).abs().sum(1, keepdim=True)
        return Given(image, samples.draw, mean[:, None, None], salience)


def _logit(logits: Tensor, label: Tensor) -> Tensor:
    """`(n,)` logit of a class."""
    return logits.gather(1, label[:, None]).squeeze(1)
