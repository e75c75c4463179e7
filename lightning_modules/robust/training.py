"""Trains a classifier against an attack, and keeps the epoch that stands up best."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.perturb import Perturb, as_in_a_test, perturbed
from lightning_modules.regularisers import Regularisation, Step
from lightning_modules.robust.losses import mart_loss, trades_loss
from lightning_modules.robust.recipe import RobustRecipe
from lightning_modules.tuning import Tuning

Withstands = Callable[[nn.Module, Batch], Tensor]
"""From a classifier and a batch to `(N,)` bool: right, also under attack."""
_LOSSES = {"trades": trades_loss, "mart": mart_loss}


class RobustFineTuning(FineTuning):
    """Fits a classifier to images that an attack found, by the recipe's loss.

    Logs `val/robust_acc` beside `val/acc` in the epochs in which it is measured; `monitor` names
    what selects the epoch that is kept. Where robust accuracy falls by more than `recipe.drop`
    below its best the training ends, and `overfitted` says so.

    Args:
        classifier: trained in place.
        tuning: the recipe of any training.
        perturb: the attack; an object with `replays` and `move` trains for free.
        recipe: of the robust training.
        withstands: measures robust accuracy on validation images.
        regularisation: what is added to the loss.
    """

    def __init__(
        self,
        classifier: Classifier,
        tuning: Tuning,
        perturb: Perturb,
        recipe: RobustRecipe,
        withstands: Withstands,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        if tuning.mode not in self.modes:
            raise UserError(
                f"Got `tuning.mode` {tuning.mode} with an attack in `perturb`: robust training is "
                f"done in mode {', '.join(self.modes)}."
            )
        super().__init__(classifier, tuning, perturb, regularisation)
        self.recipe, self.withstands = recipe, withstands
        self.overfitted = ""
        self.val_robust, self._best, self._seen = MeanMetric(), 0.0, 0
        self._replays = int(getattr(perturb, "replays", 0))
        self.automatic_optimization = not self._replays
        self._radius = getattr(perturb, "epsilon", 0.0)
        self._check_terms()

    # -- training --------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Lets the radius of the attack rise, so that there is something to learn at first."""
        self.perturb.epsilon = self._radius * self.share_of_radius  # type: ignore[union-attr]

    def on_train_end(self) -> None:
        """Hands the attack back as it came."""
        self.perturb.epsilon = self._radius  # type: ignore[union-attr]

    @property
    def share_of_radius(self) -> float:
        """In (0, 1], by the optimizer steps taken: a resumed training goes on where it was."""
        rising = self.recipe.ramp * self.planned_steps
        return min(1.0, (self.trainer.global_step + 1) / max(rising, 1.0))

    def batch_loss(self, batch: Batch) -> Tensor:
        """The recipe's loss `()`: of attacked images alone, or of clean ones beside."""
        if self.recipe.loss == "plain":
            return super().batch_loss(batch)
        assert self.perturb is not None
        aim = batch.label
        if self.recipe.loss == "trades":  # the attack leaves the model's own answer
            aim = self._answer(batch.image)
        image = perturbed(self.perturb, self.classifier, batch.image, aim)
        return self.regularised(batch.image, image, batch.label, self._compared)

    def _compared(self, step: Step) -> Tensor:
        """The loss `()` of attacked images and of clean ones beside."""
        answers = step.logits(step.disturbed), step.logits(step.image)
        return _LOSSES[self.recipe.loss](*answers, step.label, self.recipe.weight)

    def training_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int
    ) -> Tensor | None:
        """Returns the loss, or replays the batch and takes the steps itself."""
        if not self._replays:
            return super().training_step(batch, batch_idx)
        for _ in range(self._replays):
            self._replay(batch)
        return None

    @property
    def planned_steps(self) -> float:
        """Optimizer steps of the whole training, those of replays too."""
        return super().planned_steps * max(self._replays, 1)

    def _replay(self, batch: Batch) -> None:
        """One step of the weights and of the disturbance, by the same gradient."""
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert self.perturb is not None
        image = perturbed(self.perturb, self.classifier, batch.image, batch.label)
        image.requires_grad_()
        loss = self.fitted(Step(self, batch.image, image, batch.label))
        self._check(loss)
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(loss)
        assert image.grad is not None
        self.perturb.move(image.grad)  # type: ignore[attr-defined]
        optimizer.step()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr]
        self.train_loss(loss.detach(), len(batch.label))
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)

    def _answer(self, image: Tensor) -> Tensor:
        """Probabilities `(N, K)` of undisturbed images, as the model would be tested."""
        with as_in_a_test(self.classifier), torch.no_grad():
            return self(image).float().softmax(1)

    @property
    def monitor(self) -> str:
        """The logged number whose largest value marks the epoch to keep."""
        return self.recipe.monitor

    # -- which epoch -----------------------------------------------------------------------------

    @property
    def measures(self) -> bool:
        """Whether robust accuracy is measured in this epoch: in every n-th, the first and last."""
        every, epoch = self.recipe.every, self.current_epoch
        last = epoch + 1 == self.trainer.max_epochs
        due = bool(every) and (epoch % every == 0 or last)
        return due and not self.trainer.sanity_checking

    def on_validation_epoch_start(self) -> None:
        """Begins to count the images that are attacked."""
        self._seen = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures loss and accuracy of images as they are, and of some of them under attack."""
        super().validation_step(batch, batch_idx)
        left = -(-self.recipe.images // self.trainer.world_size) - self._seen
        if not self.measures or left <= 0:
            return
        part = Batch(*(values[:left].clone() for values in batch))
        self._seen += len(part.label)
        with torch.inference_mode(False), torch.enable_grad():
            right = self.withstands(self.classifier, Batch(*(v.clone() for v in part)))
        self.val_robust(right.float())
        self.log("val/robust_acc", self.val_robust, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Ends a training that has lost its robustness from one measurement to the next."""
        if not self.measures or self.share_of_radius < 1:  # a smaller radius teaches less of this
            return
        now = float(self.val_robust.compute())
        if self._best - now > self.recipe.drop:
            self.overfitted = (
                f"Catastrophic overfitting in epoch {self.current_epoch}: robust accuracy on "
                f"validation images fell from {self._best:.1%} to {now:.1%}, so the training "
                "ended; take a smaller step of the attack, or more of them."
            )
            self.trainer.should_stop = True
        self._best = max(self._best, now)

    def progress(self) -> dict[str, Any]:
        """What the next step and the choice of the epoch depend on, in plain values."""
        return {**super().progress(), "best": self._best, "overfitted": self.overfitted}

    def go_on(self, progress: dict[str, Any]) -> None:
        """Goes on where `progress` was told."""
        super().go_on(progress)
        self._best, self.overfitted = progress["best"], progress["overfitted"]

    # -- what makes no sense ---------------------------------------------------------------------

    def _check_terms(self) -> None:
        if self._replays and self.regularisation.chosen:
            raise UserError(
                f"Got `regulariser` {self.regularisation} with free training, whose one gradient "
                "moves weights and images: take callbacks.AdversarialTraining."
            )
        soft = bool(getattr(self.perturb, "soft", False))
        if self.recipe.loss == "plain":
            return
        if soft != (self.recipe.loss == "trades"):
            wanted = "SoftLabelTraining" if self.recipe.loss == "trades" else "AdversarialTraining"
            raise UserError(
                f"Expected `perturb` callbacks.adversarial.{wanted} for --robust.loss "
                f"{self.recipe.loss}, but got {type(self.perturb).__name__}."
            )
        if self._replays:
            raise UserError(f"Got free training with --robust.loss {self.recipe.loss}: say plain.")
        tuning = self.tuning
        if (
            tuning.mixup
            or tuning.cutmix
            or tuning.label_smoothing
            or tuning.loss != "cross_entropy"
        ):
            raise UserError(
                f"Got `tuning.loss`, `label_smoothing`, `mixup` or `cutmix` with --robust.loss "
                f"{self.recipe.loss}, which has a loss of its own: leave them out."
            )
