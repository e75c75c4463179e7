"""A network that takes images in [0, 1] and answers logits."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from datamodules.batch import Batch
from datamodules.preprocessing import Preprocessing
from lightning_modules.chunks import in_chunks


class Classifier(L.LightningModule):
    """Normalises inside, so that every epsilon is in pixel units.

    Args:
        model: from normalised images `(N, C, H, W)` to logits `(N, K)`.
        classes: their names, or how many.
        preprocessing: what the model wants to see; mean and std are applied here, sizes by the
            data.
        architecture: what rebuilds the network, e.g. `builtin:lenet`; kept with saved weights.
        source: where the weights came from.
        chunk: images in every call of the test step, so that answers do not depend on the loader.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: Sequence[str] | int,
        preprocessing: Preprocessing,
        architecture: str,
        source: str = "",
        chunk: int = 128,
    ) -> None:
        super().__init__()
        self.model = model
        names = [str(i) for i in range(classes)] if isinstance(classes, int) else classes
        self.classes = tuple(names)
        self.preprocessing = preprocessing
        self.architecture, self.source, self.chunk = architecture, source, chunk
        self.notes: list[str] = []
        """What a reader of the numbers must know of the model."""
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart."""
        return len(self.classes)

    def note(self, text: str) -> None:
        """Keeps, once, what a reader of the numbers must know."""
        if text and text not in self.notes:
            self.notes.append(text)

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to logits `(N, K)`."""
        return self.model((image - self.mean) / self.std)

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        """Answers the clean logits, which all probes share."""
        return in_chunks(self, batch.image, self.chunk)
