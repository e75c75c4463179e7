"""Trains a classifier on new data."""

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import Self

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.dropout import set_dropout
from lightning_modules.freezing import freeze_backbone, hold
from lightning_modules.input_contract import WEIGHTS, all_fields
from lightning_modules.losses import LOSSES
from lightning_modules.mixing import mixed
from lightning_modules.optimization import make_optimizer, make_schedule
from lightning_modules.own_optimization import OwnOptimization
from lightning_modules.perturb import Perturb, perturbed
from lightning_modules.progress import metric_states, plain_values, set_metric_states
from lightning_modules.regularisers import REGULARISERS, AdversarialWeights, Regularisation, Step
from lightning_modules.tuning import Tuning


class DivergedError(UserError):
    """The training loss is no number any more."""


def check_gradient(loss: Tensor) -> None:
    """Refuses a network that cannot learn, before torch would end with a traceback.

    Raises:
        UserError: no weight that is trained has a part in the loss.
    """
    if not loss.requires_grad:
        raise UserError(
            "No weight that is trained gets a gradient: the model answers under `torch.no_grad` or "
            "`inference_mode`, or detaches its answer. Take that out of its `forward` to train it."
        )


class FineTuning(L.LightningModule):
    """Fits a classifier: all of it, or a linear probe on a truly frozen backbone.

    Logs `train/loss`, `val/loss`, `val/acc`, and `train/NAME` of every regulariser, once an epoch.

    Args:
        classifier: trained in place.
        tuning: the recipe; its `ema` is a callback, see `weight_average`.
        perturb: replaces training images: noise, or an attack for adversarial training.
        regularisation: what is added to the loss.

    Raises:
        UserError: another module trains in the recipe's mode, see `tuned_module`, or a regulariser
            finds nothing to act on.
    """

    modes: ClassVar[tuple[str, ...]] = ("full", "linear_probe", "lp_ft")
    """Of the recipe, that this module trains in."""

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning | None = None,
        perturb: Perturb | None = None,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__()
        self.classifier, self.perturb = classifier, perturb
        self.tuning = (tuning or Tuning()).filled(classifier.pretrained)
        if self.tuning.mode not in self.modes:
            raise UserError(
                f"Expected `tuning.mode` {' or '.join(self.modes)} for {type(self).__name__}, but "
                f"got {self.tuning.mode}."
            )
        self.optimization = OwnOptimization()
        """Of the user, instead of the recipe's; to be set before the training."""
        classifier.requires_grad_(True)
        probing = self.tuning.mode == "linear_probe"
        # A tuple, not a list of submodules: they are registered in the classifier already.
        self._frozen = freeze_backbone(classifier.model) if probing else ()
        if self.tuning.dropout is not None:
            set_dropout(classifier.model, self.tuning.dropout)
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.val_acc = MulticlassAccuracy(classifier.num_classes, average="micro")
        self.regularisation, self._worst = regularisation, AdversarialWeights(regularisation.awp)
        self.terms = nn.ModuleDict({name: MeanMetric() for name in regularisation.weights})
        if regularisation.logit_pairing and perturb is None:
            raise UserError(
                "Got `regulariser.logit_pairing` without `perturb`, so that an image would be "
                "paired with itself: give an attack, or take regulariser.clean_logit_pairing."
            )

    told: str = ""
    """What must be said of the training before it begins."""

    def finish(self) -> None:
        """Makes the classifier what it is to be saved as; the training is over."""

    def train(self, mode: bool = True) -> Self:
        """Switches modes, except of what is frozen: Lightning calls this at every epoch."""
        super().train(mode)
        hold(self._frozen)
        return self

    def forward(self, image: Tensor) -> Tensor:
        """From `(N, C, H, W)` in [0, 1] to logits `(N, K)`."""
        return self.classifier(image)

    def own_weights(self) -> None:
        """Says of the classifier that its weights are those that this training makes of it.

        Also where they were made by an earlier process: the same command says the same.
        """
        self.classifier.facts.pop("fresh", None)
        self.classifier.pretrained = True
        if self.tuning.mode != "linear_probe":  # they are trained with what it is shown
            self.classifier.reasons = all_fields(WEIGHTS)

    def on_fit_start(self) -> None:
        """Leaves eval mode, in which Lightning keeps a model that was evaluated or loaded so."""
        self.own_weights()
        if self._frozen:  # in eval mode on purpose
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
        self.train()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of perturbed and mixed images."""
        loss = self.batch_loss(batch)
        self._check(loss)
        self.train_loss(loss.detach(), len(batch.label))
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        for name, mean in self.terms.items():
            self.log(f"train/{name}", mean, on_step=False, on_epoch=True)  # type: ignore[arg-type]
        return loss

    def batch_loss(self, batch: Batch) -> Tensor:
        """The recipe's loss `()` of a batch, perturbed and mixed, and what regularises it."""
        image = batch.image
        if self.perturb is not None:
            image = perturbed(self.perturb, self.classifier, image, batch.label)
        return self.regularised(batch.image, image, batch.label, self.fitted)

    def fitted(self, step: Step) -> Tensor:
        """Mixes the disturbed images and compares answers with labels: the recipe's own loss."""
        recipe, classes = self.tuning, self.classifier.num_classes
        image, target = mixed(step.disturbed, step.label, classes, recipe.mixup, recipe.cutmix)
        return LOSSES[recipe.loss](step.logits(image), target, recipe.label_smoothing)

    def regularised(
        self, image: Tensor, disturbed: Tensor, label: Tensor, own: Callable[[Step], Tensor]
    ) -> Tensor:
        """Adds lambda R(f) to a loss, and takes both where the weights are worse, if asked to.

        Args:
            image: see `Step`, like all that follow.
            disturbed: found before, so that both passes see the same images.
            label: `(N,)`.
            own: the loss without regularisers.
        """

        def loss(last: bool) -> Tensor:
            step = Step(self, image, disturbed, label, self.regularisation.noise or 0.1)
            total = own(step)
            for name, weight in self.regularisation.weights.items():
                term = REGULARISERS[name](step)
                total = total + weight * term
                if last:
                    self.terms[name](term.detach(), len(label))
            return total

        if self.regularisation.awp and self.current_epoch >= self.regularisation.awp_from:
            self._worst.climb(self.classifier.model, lambda: loss(False))
        return loss(True)

    def on_after_backward(self) -> None:
        """Takes worse weights back before the optimizer's step."""
        self._worst.restore()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures loss and accuracy of the images as they are."""
        logits = self(batch.image).float()
        self.val_loss(LOSSES[self.tuning.loss](logits, batch.label, 0.0), len(batch.label))
        self.val_acc(logits, batch.label)
        self.log("val/loss", self.val_loss, on_epoch=True)
        self.log("val/acc", self.val_acc, on_epoch=True, prog_bar=True)

    @property
    def planned_steps(self) -> float:
        """Optimizer steps of the whole training."""
        return self.trainer.estimated_stepping_batches

    @property
    def monitor(self) -> str:
        """The logged number whose largest value marks the epoch to keep."""
        return "val/acc"

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes optimizer and schedule; the recipe's schedule moves with every step."""
        own = self.optimization
        usual = own.optimizer is None
        optimizer = make_optimizer(self, self.tuning) if usual else own.make_optimizer(self)
        if own.scheduler is not None:
            told = own.make_scheduler(optimizer, self.monitor)
            return {"optimizer": optimizer, "lr_scheduler": told}  # type: ignore[typeddict-item]
        schedule = make_schedule(optimizer, self.tuning, self.planned_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def progress(self) -> dict[str, Any]:
        """What the next step depends on besides weights and optimizer, in plain values."""
        return {"perturb": plain_values(self.perturb), "metrics": metric_states(self)}

    def go_on(self, progress: dict[str, Any]) -> None:
        """Goes on where `progress` was told."""
        if progress["perturb"]:
            vars(self.perturb).update(progress["perturb"])
        set_metric_states(self, progress["metrics"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilds the classifier, in plain values that `weights_only` accepts."""
        checkpoint["assay"] = self.classifier.kept()

    def _check(self, loss: Tensor) -> None:
        """Stops before a step that would spoil the weights, or could not be taken."""
        check_gradient(loss)
        if not bool(torch.isfinite(loss)):
            self._worst.restore()
            raise DivergedError(
                f"The training loss became {loss.item():g} in step {self.global_step} of epoch "
                f"{self.current_epoch}: use a smaller --tuning.lr than {self.tuning.lr:g}, a "
                "longer --tuning.warmup, or --trainer.gradient_clip_val 1."
            )
