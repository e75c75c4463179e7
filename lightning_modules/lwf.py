"""Learning without forgetting: new classes, while the old ones are answered as before."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.duplication import duplicate
from lightning_modules.features import head_features
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.freezing import refuse_tied_head
from lightning_modules.heads import find_head
from lightning_modules.losses import LOSSES
from lightning_modules.mixing import mixed
from lightning_modules.perturb import Perturb
from lightning_modules.plain_layers import is_plain
from lightning_modules.regularisers import Step
from lightning_modules.tuning import Tuning

TEMPERATURE = 2.0
"""Of the old answers, as published."""


def kept_answers(logits: Tensor, old: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of softened answers with what they were (Li & Hoiem 2016, 1606.09282).

    Args:
        logits: `(N, S)` of the old classes now.
        old: `(N, S)` before training.
        temperature: both are divided by it, which raises probabilities to its inverse.

    Returns:
        A scalar in nats, without the factor of the squared temperature that distillation has.
    """
    return F.cross_entropy(logits / temperature, (old / temperature).softmax(1))


class LwFTuning(FineTuning):
    """Fits everything to new images, whose answers for the old classes shall stay as they were.

    The old head goes on learning beside the new one, on the same backbone. Old images are not
    needed. Published with a warm-up of the new head alone: begin with that of a linear probe.

    Args:
        classifier: trained in place.
        old: the network as it was, with its old head; left as it is.
        tuning: the recipe, of mode `full`.
        weight: of the old answers beside the loss of the new ones, >= 0.
        perturb: see `FineTuning`.

    Raises:
        UserError: the old answers are no linear function of what goes into the old head, or its
            weight is one of the backbone's too.
    """

    modes = ("full",)

    def __init__(
        self,
        classifier: Classifier,
        old: Classifier,
        tuning: Tuning | None = None,
        weight: float = 1.0,
        perturb: Perturb | None = None,
    ) -> None:
        super().__init__(classifier, tuning, perturb)
        if weight < 0:
            raise UserError(f"Expected `lwf_weight` to be at least 0, but got {weight}.")
        head = find_head(old.model)
        layer = old.model.get_submodule(head.name)
        if not (head.linear and is_plain(layer)):
            raise UserError(
                f"Expected a linear last layer for mode lwf, whose old answers are kept, but "
                f"{head.name!r} is followed by more, or is no plain layer: take l2_sp."
            )
        refuse_tied_head(old.model)
        self.weight, self._scale = weight, head.scale
        bias = layer.bias
        self.old_weight = nn.Parameter(layer.weight.detach().flatten(1).clone())
        self.old_bias = None if bias is None else nn.Parameter(bias.detach().clone())
        # In a tuple: it is no part of what is trained or kept in checkpoints.
        self._old = (duplicate(old).eval().requires_grad_(False),)

    def on_fit_start(self) -> None:
        """Takes the old network along to the device."""
        super().on_fit_start()
        self._old[0].to(self.device)

    def fitted(self, step: Step) -> Tensor:
        """The recipe's own loss and that of the old answers, of the same images."""
        recipe, classes = self.tuning, self.classifier.num_classes
        image, target = mixed(step.disturbed, step.label, classes, recipe.mixup, recipe.cutmix)
        with head_features(self.classifier.model) as seen:
            logits = step.logits(image)
        with torch.no_grad():
            before = self._old[0](image).float()
        now = self._scale * F.linear(seen[-1], self.old_weight, self.old_bias).float()
        new = LOSSES[recipe.loss](logits, target, recipe.label_smoothing)
        return new + self.weight * kept_answers(now, before)

    def old_classifier(self) -> Classifier:
        """The old network with what has become of its head, whose backbone is still the old one."""
        classifier = duplicate(self._old[0]).cpu()
        layer = classifier.model.get_submodule(find_head(classifier.model).name)
        with torch.no_grad():
            layer.weight.copy_(self.old_weight.view_as(layer.weight))  # type: ignore[operator, union-attr, arg-type]
            if self.old_bias is not None:
                layer.bias.copy_(self.old_bias)  # type: ignore[operator, union-attr]
        return classifier
