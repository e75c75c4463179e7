"""A linear probe by the optimizer, on features that the frozen network says once."""

import torch
from torch import Tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.agreement import near
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.answers import Answers
from lightning_modules.distillation.cache import AnswerCache
from lightning_modules.features import head_features
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.kept_features import probed_head
from lightning_modules.perturb import Perturb
from lightning_modules.regularisers import Regularisation
from lightning_modules.trial import undisturbed
from lightning_modules.tuning import Tuning

_FEW = 8
"""Images whose answers are compared at the end."""
_NEAR = 1e-2
"""Share of the largest answer; batches of other sizes are rounded otherwise, also in TF32."""


class ProbeTuning(FineTuning):
    """Fits a new last layer; every image goes through the frozen network only once.

    What goes into the head is kept by sample index, for training and validation images. It is
    asked for anew where the images are random (augmentation, noise, attacks, mixtures), and in a
    network that is not answered so, which is `told`; see `probed_head`.

    Args:
        classifier: its head is trained in place.
        tuning: the recipe, of mode `linear_probe`.
        perturb: see `FineTuning`.
        regularisation: see `FineTuning`.

    Raises:
        UserError: the head cannot change alone; or the kept answers were not its own.
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
        self._head, why = probed_head(classifier)
        if why:
            self.told = f"the last layer, and every image is asked about in every epoch: {why}"
        self._kept: dict[str, AnswerCache] = {}
        self._served: tuple[Tensor, Tensor] | None = None
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
            self._served = (image[:_FEW], known.logits[:_FEW])
            return self._answered(known.logits)
        with head_features(self.classifier.model) as seen:
            logits = super().forward(image)
        if seen:
            cache.put(batch.index, Answers(seen[-1].detach()))
        return logits

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Compares answers from kept features with the network's own of the last such images."""
        if self._served is None:
            return
        image, feature = self._served
        context = self.trainer.precision_plugin.forward_context()
        with context, undisturbed(self.classifier.model):
            own, kept = self.classifier(image), self._answered(feature)
        tolerance = max(_NEAR, 10 * torch.finfo(kept.dtype).eps)
        if not near(kept.float().log_softmax(1), own.float().log_softmax(1), tolerance):
            raise UserError(
                "Expected the network to answer as from its kept features, but it does not after "
                "the linear probe: the same index is not always the same image, or the backbone "
                "did not stay as it was. Take --tuning.mode last_k or full."
            )

    def _serve(self, split: str, batch: Batch) -> None:
        cache = self._kept.get(split)
        self._now = None if cache is None else (cache, batch)

    def _answered(self, feature: Tensor) -> Tensor:
        """Logits `(N, K)` of features `(N, D)`."""
        assert self._head is not None
        return self._head.answered(self.classifier.model, feature)
