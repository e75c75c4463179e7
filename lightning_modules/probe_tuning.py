"""A linear probe by the optimizer, on features that the frozen network says once."""

import torch.nn.functional as F
from torch import Tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.answers import Answers
from lightning_modules.distillation.cache import AnswerCache
from lightning_modules.features import head_features
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.heads import Head, find_head
from lightning_modules.perturb import Perturb
from lightning_modules.plain_layers import is_plain
from lightning_modules.regularisers import Regularisation
from lightning_modules.tuning import Tuning


class ProbeTuning(FineTuning):
    """Fits a new last layer; every image goes through the frozen network only once.

    What goes into the head is kept by sample index, for training and validation images. It is
    asked for anew where the images are random (augmentation, noise, attacks, mixtures), or where
    the answer is no linear function of it.

    Args:
        classifier: its head is trained in place.
        tuning: the recipe, of mode `linear_probe`.
        perturb: see `FineTuning`.
        regularisation: see `FineTuning`.
    """

    modes = ("linear_probe",)

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning,
        perturb: Perturb | None = None,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(classifier, tuning, perturb, regularisation)
        self._head = _linear_head(classifier)
        self._kept: dict[str, AnswerCache] = {}
        self._now: tuple[AnswerCache, Batch] | None = None

    def on_fit_start(self) -> None:
        """Keeps features where the same index is always the same image."""
        super().on_fit_start()
        augment = getattr(getattr(self.trainer, "datamodule", None), "augment", "none")
        splits = ("train", "val") if augment == "none" else ("val",)
        self._kept = {split: AnswerCache() for split in splits if self._head}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Remembers which images come now."""
        self._serve("train", batch)

    def on_validation_batch_start(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Remembers which images come now."""
        self._serve("val", batch)

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to logits `(N, K)`; of known images through the head alone.

        The logits are the network's up to a number for each image, which no loss of ours sees.
        """
        if self._now is None or image is not self._now[1].image:
            return super().forward(image)
        cache, batch = self._now
        if (known := cache.get(batch.index)) is not None:
            return self._answered(known.logits)
        with head_features(self.classifier.model) as seen:
            logits = super().forward(image)
        if seen:
            cache.put(batch.index, Answers(seen[-1].detach()))
        return logits

    def _serve(self, split: str, batch: Batch) -> None:
        cache = self._kept.get(split)
        self._now = None if cache is None else (cache, batch)

    def _answered(self, feature: Tensor) -> Tensor:
        """Logits `(N, K)` of features `(N, D)`."""
        assert self._head is not None
        layer = self.classifier.model.get_submodule(self._head.name)
        logits = F.linear(feature, layer.weight.flatten(1), layer.bias)  # type: ignore[arg-type, operator]
        return logits if self._head.scale == 1 else self._head.scale * logits


def _linear_head(classifier: Classifier) -> Head | None:
    """The head, if the answer is linear in what goes into it and its weight is a plain one."""
    try:
        head = find_head(classifier.model)
    except UserError:
        return None
    layer = classifier.model.get_submodule(head.name)
    return head if head.linear and is_plain(layer) else None
