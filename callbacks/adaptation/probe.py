"""Measures what adapting to corrupted test images brings, on batches of its own."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.adaptation.adaptation import Adaptation, StreamBatch, Unadapted, is_foreign
from callbacks.adaptation.stream import ORDERS, Order, Stream, stream_of
from callbacks.budget import Budget
from callbacks.corruption.constants import checked_side, side_for
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.subset import chosen
from datamodules.errors import UserError, suggestion
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import Images
from datamodules.preprocessing import in_unit_range
from lightning_modules.black_box import require_layers
from lightning_modules.chunks import padded
from lightning_modules.classifier import Classifier

USUAL = ("gaussian_noise", "defocus_blur", "fog", "contrast", "jpeg_compression")
"""One of every kind: noise, blur, weather, light, storage."""
MOST = 1000
"""Images that a probe made by name takes: all of them are in memory at once."""
CLEAN = "clean"


class AdaptationProbe(Probe):
    """Accuracy of a network that adapts to unlabelled test images, cell by cell.

    A cell is a corruption at a severity, and one the images as they are; every cell begins with the
    weights of the source. **What is answered to an image depends on those in its batch, and for
    Tent on all before**: the numbers belong to (model, set of images, order, batch size), which
    `algorithm` states; the column `batch` tells who was answered together. Batches are cut by the
    probe from the whole set, so that the loader, the order and the number of processes change
    nothing; another `limit` is another set, and measured anew. Every process goes through all
    batches.

    Args:
        adaptation: how.
        corruptions: names.
        severities: between 1 and 5.
        batch: images that are answered together, at most; all batches are nearly equally large.
        order: "mixed", or "sorted" class after class: the control that fails.
        label: name in tables and metric keys; default: `adaptation_` and the adaptation's.
        limit, chunk, pool, seed: see `Probe`; a chunk is what is corrupted at once.
    """

    family: ClassVar[str] = "adaptation"
    unit: ClassVar[str] = "cell"
    extras: ClassVar[tuple[str, ...]] = ("batch",)
    version: ClassVar[int] = 2  # 2: with the column `batch`

    def __init__(
        self,
        adaptation: Adaptation,
        corruptions: Sequence[str] = USUAL,
        severities: Sequence[float] = (3, 5),
        batch: int = 200,
        order: Order = "mixed",
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if unknown := [name for name in corruptions if name not in CORRUPTIONS]:
            raise UserError(
                f"There is no corruption {unknown[0]!r}.{suggestion(unknown[0], CORRUPTIONS)}"
            )
        if not corruptions or not severities or not all(1 <= s <= 5 for s in severities):
            raise UserError(
                "Expected at least one of `corruptions`, and `severities` between 1 and 5, but got "
                f"{[*corruptions]} and {[*severities]}."
            )
        if batch < 2:
            raise UserError(f"Expected `batch` of at least 2 images, but got {batch}.")
        if order not in ORDERS:
            raise UserError(f"Expected `order` to be mixed or sorted, but got {order!r}.")
        self.adaptation, self.batch, self.label = adaptation, batch, label
        self.order: Order = order
        self.corruptions = tuple(dict.fromkeys(corruptions))
        self.severities = tuple(sorted({float(severity) for severity in severities}))
        self.side: int | None = None
        self.adapted = ""
        self._images: Images | None = None
        self._stream: Stream | None = None
        self._answers: dict[Setting, Tensor] = {}
        if is_foreign(adaptation) and len(self.corruptions) < 2:
            raise UserError(
                "Expected at least two of `corruptions` for foreign statistics, but got "
                f"{[*self.corruptions]}: they come from the next one."
            )

    @classmethod
    def within(
        cls, budget: Budget, adaptation: type[Adaptation] = Unadapted, **options: Any
    ) -> Self:
        """Makes a probe of an adaptation, on at most `MOST` images.

        Args:
            budget: of a preset.
            adaptation: its class.
            **options: of the constructor, such as `batch`.
        """
        limit = min(budget.limit or MOST, MOST)
        return super().within(budget, **{"limit": limit, **options, "adaptation": adaptation()})

    @property
    def name(self) -> str:
        """The label, or `adaptation_tent`."""
        return self.label or f"adaptation_{self.adaptation.name}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        if isinstance(self.adaptation, Unadapted):
            return self.adaptation.title
        foreign = ", statistics of another corruption" if is_foreign(self.adaptation) else ""
        order = ", class after class" if self.order == "sorted" else ""
        return f"{self.adaptation.title}{foreign}{order} (batches of {self.batch})"

    @property
    def algorithm(self) -> str:
        """The adaptation with its parameters, and everything that decides who is answered when."""
        side = f", constants for {self.side} px" if self.side else ""
        stream = f" of {self._stream}" if self._stream else f" in batches of {self.batch}"
        adapted = f" ({self.adapted})" if self.adapted else ""
        return (
            f"{self.adaptation!r}{adapted}, {self.order} stream{stream}, seed {self.seed}, anew in "
            f"each of {', '.join(self.places.values())}{side}"
        )

    @property
    def cells(self) -> list[tuple[str, float]]:
        """Corruption and severity of every cell; the first is that of clean images."""
        pairs = [(name, severity) for name in self.corruptions for severity in self.severities]
        return [(CLEAN, 0.0), *pairs]

    @property
    def places(self) -> dict[str, str]:
        """What the cells are called, by the text of their step."""
        return {
            str(step): f"{name} {severity:g}" if severity else name
            for step, (name, severity) in enumerate(self.cells)
        }

    def settings(self) -> tuple[Setting, ...]:
        """One a cell; its step is its place."""
        return tuple(Setting(self.name, step, float(step)) for step in range(len(self.cells)))

    def cost(self, setting: Setting) -> float:
        """Of every image."""
        return self.adaptation.forwards + 2.0 * self.adaptation.backwards

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Refuses what cannot adapt, and cuts the set into batches."""
        self._answers = {}  # of another model, where an earlier pass was interrupted
        if not isinstance(self.adaptation, Unadapted):
            require_layers(classifier, f"The probe {self.name!r}")
            self.adapted = self.adaptation.check(classifier)
        if not isinstance(data, ImageDataModule):
            return
        self._images = data.images("test")
        index = self._images.index
        taken = chosen(index, self.limit, self.seed)
        rows = torch.isin(index, index if taken is None else taken)
        if rows.sum() < 2:
            raise UserError("Expected at least two test images to adapt to, but got one.")
        label = self._images.label[rows]
        self._stream = stream_of(index[rows], label, self.order, self.batch, self.seed)
        height, width = data.taken("test", 1).image.shape[-2:]
        self.side = checked_side(side_for(height, width))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures what is left, and forgets the answers."""
        super().on_test_epoch_end(trainer, pl_module)
        self._answers = {}

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Answers the whole stream of a cell, once, and yields those of some samples."""
        assert self._stream is not None, "the base class prepares"
        missing = [setting for setting in settings if setting not in self._answers]
        whole = self._whole(samples.image.device) if missing else None
        rows = torch.searchsorted(self._stream.index, samples.index.cpu())
        counts = {
            "forwards": torch.full((len(samples),), float(self.adaptation.forwards)),
            "backwards": torch.full((len(samples),), float(self.adaptation.backwards)),
            "batch": self._stream.batch_of_row[rows].to(samples.image.device),
        }
        for setting in settings:
            if setting not in self._answers:
                assert whole is not None
                self._answers[setting] = self._cell(model, whole, int(setting.value))
            logits = self._answers[setting][rows.to(samples.image.device)]
            yield Measurement(setting, logits, counts)

    def _cell(self, model: Queries, image: Tensor, cell: int) -> Tensor:
        """Logits `(N, K)` of all images in one cell, by ascending index."""
        assert self._stream is not None
        corrupted = self._corrupted(image, cell)
        reference = corrupted
        if is_foreign(self.adaptation):
            reference = self._corrupted(image, self._other(cell))
        order = torch.cat(self._stream.batches).to(image.device)
        batches = (
            StreamBatch(corrupted[rows], reference[rows])
            for rows in order.split([len(rows) for rows in self._stream.batches])
        )
        logits = torch.cat(list(self.adaptation(model, batches)))
        result = torch.empty_like(logits)
        result[order] = logits
        return result

    def _other(self, cell: int) -> int:
        """The cell whose images give foreign statistics: the next corruption's, as severe.

        Clean images take those of the first corruption at its least severity.
        """
        per = len(self.severities)
        return 1 + (cell - 1 + per) % (len(self.cells) - 1) if cell else 1

    def _whole(self, device: torch.device) -> Tensor:
        """All images of the stream `(N, C, H, W)`, by ascending index, on the device."""
        assert self._stream is not None
        assert self._images is not None
        order = self._images.index.argsort()
        rows = order[torch.isin(self._images.index[order], self._stream.index)].tolist()
        parts = [
            in_unit_range(self._images.__getitems__(rows[start : start + self.chunk]).image)
            for start in range(0, len(rows), self.chunk)
        ]
        return torch.cat(parts).to(device)

    def _corrupted(self, image: Tensor, cell: int) -> Tensor:
        """The images of a cell, corrupted chunk by chunk as `CorruptionProbe` does."""
        assert self._stream is not None
        name, severity = self.cells[cell]
        if not severity:
            return image
        corruption, index = CORRUPTIONS[name](), self._stream.index.to(image.device)
        parts = []
        for start in range(0, len(image), self.chunk):
            rows = slice(start, start + self.chunk)
            draw = Draw(self.seed, padded(index[rows], self.chunk))
            whole = corruption(padded(image[rows], self.chunk), severity, draw, self.side)
            parts.append(whole[: len(image[rows])])
        return torch.cat(parts)
