"""Trains a damaged classifier, or a part of it, back towards what it was."""

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import Self

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.soft_targets import soft_target_loss
from lightning_modules.dropout import set_dropout
from lightning_modules.fine_tuning import DivergedError, check_gradient
from lightning_modules.losses import LOSSES
from lightning_modules.mixing import mixed
from lightning_modules.optimization import make_optimizer, make_schedule
from lightning_modules.tuning import Tuning

Trainable = dict[str, Tensor | None]
"""Parameters that may change, by name: a mask of elements, or None for all of them."""


class Recovery(L.LightningModule):
    """Retrains what it is allowed to change; everything else keeps its bits.

    Args:
        classifier: damaged, trained in place.
        tuning: the recipe; a teacher's answers have a loss of their own. `mode` and `ema` do not
            concern it.
        trainable: what may change; None for everything, batch-norm statistics included.
        teacher: the original, whose answers replace the labels; None learns from labels.
        held: elements that stay zero: removed connections. By name, True where kept.
        temperature: of the distillation (1503.02531, 2015).
    """

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning,
        trainable: Trainable | None = None,
        teacher: Classifier | None = None,
        held: dict[str, Tensor] | None = None,
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        # Damaged weights are not tender: small built-in networks take what trained them.
        built_in = classifier.architecture.startswith("builtin:")
        self.classifier, self.tuning = classifier, tuning.filled(pretrained=not built_in)
        self.trainable, self.held, self.temperature = trainable, held or {}, temperature
        if self.tuning.dropout is not None:
            set_dropout(classifier.model, self.tuning.dropout)
        # Not a submodule: it must not be trained, saved, or switched to training mode.
        self._teacher: tuple[Classifier, ...] = ()
        if teacher is not None:
            self._teacher = (teacher.eval().requires_grad_(False),)
        parameters = dict(classifier.named_parameters())
        if trainable is not None and (unknown := sorted(set(trainable) - set(parameters))):
            raise UserError(f"There is no parameter {unknown[0]!r} to train.")
        for name, parameter in parameters.items():
            parameter.requires_grad_(trainable is None or name in trainable)
        self._fixed = {
            name: (parameters[name], mask, parameters[name].detach().clone())
            for name, mask in (trainable or {}).items()
            if mask is not None
        }
        self._fixed |= {
            f"{name} held": (parameters[name], kept, torch.zeros_like(parameters[name]))
            for name, kept in self.held.items()
        }
        self.hold()

    def train(self, mode: bool = True) -> Self:
        """Switches modes; where only parts may change, batch norms keep their statistics."""
        super().train(mode)
        if self.trainable is not None:
            for part in self.classifier.modules():
                if isinstance(part, _BatchNorm):
                    part.training = False
        return self

    def on_fit_start(self) -> None:
        """Leaves eval mode, in which Lightning keeps a model that was evaluated."""
        self.train()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the recipe's loss, or the distillation loss (T^2 times the divergence)."""
        recipe, classes = self.tuning, self.classifier.num_classes
        image, target = mixed(batch.image, batch.label, classes, recipe.mixup, recipe.cutmix)
        logits = self.classifier(image).float()
        if self._teacher:
            loss = self._distilled(logits, image)
        else:
            loss = LOSSES[recipe.loss](logits, target, recipe.label_smoothing)
        check_gradient(loss)
        if not bool(torch.isfinite(loss)):
            closed = int((logits.gather(1, batch.label[:, None]) == -torch.inf).sum())
            if closed:
                raise DivergedError(
                    f"The loss of the recovery became {loss.item():g} in step {self.global_step}: "
                    f"{closed} of {len(logits)} images are of classes that the model rules out "
                    "(logits of minus infinity), which no training on them brings back."
                )
            raise DivergedError(
                f"The loss of the recovery became {loss.item():g} in step {self.global_step}: use "
                f"a smaller learning rate than {self.tuning.lr:g}, or clip activations first."
            )
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Gives every element back that may not change: momentum and decay would move it."""
        self.hold()

    @torch.no_grad()
    def hold(self) -> None:
        """Writes the fixed elements; exact, whatever the optimizer did."""
        for parameter, mask, fixed in self._fixed.values():
            mask, fixed = mask.to(parameter.device), fixed.to(parameter.device)
            torch.where(mask, parameter, fixed, out=parameter.data)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Makes optimizer and schedule; the schedule moves with every step."""
        optimizer = make_optimizer(self, self.tuning)
        schedule = make_schedule(optimizer, self.tuning, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _distilled(self, logits: Tensor, image: Tensor) -> Tensor:
        teacher, t = self._teacher[0].to(logits.device), self.temperature
        with torch.no_grad():
            target = teacher(image).float()
        return soft_target_loss(logits, target, t)
