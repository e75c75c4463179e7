"""Fine-tuning that is held near where it started."""

from collections.abc import Mapping

import torch
from torch import Tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.heads import head_name
from lightning_modules.perturb import Perturb
from lightning_modules.regularisers import Regularisation
from lightning_modules.tuning import Tuning


def l2_sp(
    weights: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    alpha: float = 0.1,
    beta: float = 0.01,
) -> Tensor:
    """Penalty on the way from the starting point (Li, Grandvalet & Davoine 2018, 1802.01483).

    Args:
        weights: names and parameters.
        start: names and starting values; parameters without one (the new head) are drawn to zero.
        alpha: weight of the starting point, >= 0.
        beta: weight of zero, for the new head, >= 0.

    Returns:
        alpha/2 |w - start|^2 + beta/2 |w_new|^2, a scalar.
    """
    old = [(w - start[name]).square().sum() for name, w in weights.items() if name in start]
    new = [w.square().sum() for name, w in weights.items() if name not in start]
    nothing = torch.zeros(())
    return alpha / 2 * sum(old, nothing) + beta / 2 * sum(new, nothing)


class L2SPTuning(FineTuning):
    """Fits all of a classifier, each weight on a spring to its pre-trained value.

    Plain weight decay pulls to zero, away from what was learnt; give `tuning.weight_decay` 0. The
    penalty is a part of the loss as published, so an adam rescales it together with the gradient.
    The starting point is where the classifier stands now, also for a training that is resumed:
    hand over the same pre-trained classifier.

    Args:
        classifier: trained in place.
        tuning: the recipe, of mode `l2_sp` or `full`.
        alpha: of the backbone's springs.
        beta: of the head's decay to zero.
        perturb: see `FineTuning`.
        regularisation: see `FineTuning`.
    """

    modes = ("full", "l2_sp")

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning | None = None,
        alpha: float = 0.1,
        beta: float = 0.01,
        perturb: Perturb | None = None,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(classifier, tuning, perturb, regularisation)
        if alpha < 0 or beta < 0:
            raise UserError(
                f"Expected `alpha` and `beta` of L2-SP to be at least 0, but got {alpha} and "
                f"{beta}."
            )
        self.alpha, self.beta = alpha, beta
        head = head_name(classifier.model)
        self._names = [name for name, _ in classifier.model.named_parameters()]
        for i, (name, weight) in enumerate(classifier.model.named_parameters()):
            if not name.startswith(f"{head}."):  # not persistent: a checkpoint holds the model only
                self.register_buffer(f"_start{i}", weight.detach().clone(), persistent=False)

    @property
    def start(self) -> dict[str, Tensor]:
        """The pre-trained weights by name, without the head."""
        buffers = dict(self.named_buffers(recurse=False))
        named = {name: buffers.get(f"_start{i}") for i, name in enumerate(self._names)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss with the penalty; `train/loss` is without."""
        loss = super().training_step(batch, batch_idx)
        weights = dict(self.classifier.model.named_parameters())
        return loss + l2_sp(weights, self.start, self.alpha, self.beta).to(loss.device)
