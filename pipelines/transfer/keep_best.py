"""The best epoch of a training, in memory."""

import lightning as L
import torch
from torch import Tensor, nn


class KeepBest(L.Callback):
    """Keeps the weights of the best validation accuracy; of equal ones those of the lower loss.

    Args:
        model: that is trained.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.epoch: int | None = None
        self.accuracy = float("nan")
        self._best = (-1.0, float("inf"))
        self._state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copies the weights where they are better."""
        metrics = trainer.callback_metrics
        accuracy, loss = float(metrics["val/acc"]), float(metrics["val/loss"])
        if trainer.sanity_checking or not (accuracy, -loss) > (self._best[0], -self._best[1]):
            return
        self._best, self.epoch, self.accuracy = (accuracy, loss), trainer.current_epoch, accuracy
        self._state = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}

    def restore(self) -> bool:
        """Puts the best weights back; False where no epoch was validated."""
        if self._state:
            with torch.no_grad():
                self.model.load_state_dict(self._state)
        return bool(self._state)
