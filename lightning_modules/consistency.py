"""Training on answers that agree over disturbed copies of an image."""

import torch
from torch import Tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.losses import LOSSES
from lightning_modules.perturb import Perturb, perturbed
from lightning_modules.tuning import Tuning

_TINY = 1e-7
"""Of the authors' script: the mean probability is cut here, which keeps its logarithm finite."""


def jensen_shannon(*logits: Tensor) -> Tensor:
    """Divergence of several answers to the same images (Hendrycks et al. 2020, 1912.02781).

    The mean over answers of KL(p_i || mean of all), and over images.

    Args:
        *logits: `(N, K)` each.

    Returns:
        `()` in nats, between 0 and log(number of answers).

    >>> jensen_shannon(torch.zeros(1, 2), torch.zeros(1, 2)).item()
    0.0
    """
    log_p = torch.stack([one.float().log_softmax(1) for one in logits])
    p = log_p.exp()
    log_mean = p.mean(0).clamp(min=_TINY).log()
    # Not xlogy: its gradient at 0 is infinite; a logit of minus infinity has p = 0 and no part.
    parts = torch.where(p > 0, p * (log_p.clamp(min=-1e4) - log_mean), 0.0)
    return parts.sum(2).mean()


class ConsistentFineTuning(FineTuning):
    """Fits a classifier to images as they are, and its answers to two disturbed copies to these.

    The loss is that of the recipe on undisturbed images, plus `perturb.consistency` times the
    Jensen-Shannon divergence of the three answers, all from one forward in training mode.

    Args:
        classifier: trained in place.
        tuning: the recipe of any training.
        perturb: gives another copy at every call, and has a `consistency` above 0.
    """

    def __init__(self, classifier: Classifier, tuning: Tuning, perturb: Perturb) -> None:
        if tuning.mixup or tuning.cutmix:
            raise UserError(
                "Got `tuning.mixup` or `cutmix` with a consistency loss, which compares copies of "
                "one image: leave them out, or set `perturb.init_args.consistency` to 0."
            )
        super().__init__(classifier, tuning, perturb)
        self.weight = float(perturb.consistency)  # type: ignore[attr-defined]

    def batch_loss(self, batch: Batch) -> Tensor:
        """The recipe's loss `()` of the images, and what their copies' answers differ by."""
        assert self.perturb is not None
        copies = [
            perturbed(self.perturb, self.classifier, batch.image, batch.label) for _ in range(2)
        ]
        answers = self(torch.cat([batch.image, *copies])).float().split(len(batch.image))
        recipe = self.tuning
        loss = LOSSES[recipe.loss](answers[0], batch.label, recipe.label_smoothing)
        return loss + self.weight * jensen_shannon(*answers)
