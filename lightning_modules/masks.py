"""Removed connections that stay removed while the rest is trained."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from datamodules.errors import UserError, suggestion


class WeightMasks(L.Callback):
    """Keeps masked weights at exactly zero, after every optimizer step, and their momentum too.

    Nothing is renamed, unlike in `torch.nn.utils.prune`: checkpoints load into a clean model.

    Args:
        masks: by parameter; bool, True where kept.
        within: name of the submodule that the parameters are named from, such as "classifier" in a
            training module; empty for the model itself.
    """

    def __init__(self, masks: dict[str, Tensor], within: str = "") -> None:
        super().__init__()
        self.masks, self.within = masks, within
        self._handles: list[RemovableHandle] = []

    @torch.no_grad()
    def apply(self, model: nn.Module) -> nn.Module:
        """Sets the masked weights to zero in place.

        Raises:
            UserError: a parameter that the model does not have, or of another shape.
        """
        for parameter, mask in self._of(model):
            _erase(parameter, mask)
        return model

    def hold(self, model: nn.Module, optimizer: Optimizer) -> RemovableHandle:
        """Applies the masks now and after every step of an optimizer, until the handle is removed.

        Args:
            model: trained.
            optimizer: of some of its parameters.
        """
        pairs = self._of(model)
        self.apply(model)

        @torch.no_grad()
        def erase(stepped: Optimizer, *_: Any) -> None:
            for parameter, mask in pairs:
                for tensor in (parameter, *stepped.state.get(parameter, {}).values()):
                    if isinstance(tensor, Tensor) and tensor.shape == mask.shape:
                        _erase(tensor, mask)

        return optimizer.register_step_post_hook(erase)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes hold of the optimizers."""
        self._handles = [
            self.hold(self._root(pl_module), current) for current in trainer.optimizers
        ]

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        """Clears gradients of removed weights, so that they count in no norm that is clipped."""
        for parameter, mask in self._of(self._root(pl_module)):
            if parameter.grad is not None:
                _erase(parameter.grad, mask)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Lets go of the optimizers, also after an exception."""
        while self._handles:
            self._handles.pop().remove()

    def _root(self, module: nn.Module) -> nn.Module:
        return module.get_submodule(self.within) if self.within else module

    def _of(self, model: nn.Module) -> list[tuple[Tensor, Tensor]]:
        known = dict(model.named_parameters())
        for name, mask in self.masks.items():
            if name not in known:
                raise UserError(f"There is no parameter {name!r}.{suggestion(name, known)}")
            if known[name].shape != mask.shape:
                raise UserError(
                    f"Expected a mask {tuple(known[name].shape)} for {name!r}, but got "
                    f"{tuple(mask.shape)}."
                )
        return [(known[name], mask) for name, mask in self.masks.items()]


def _erase(tensor: Tensor, mask: Tensor) -> None:
    """Writes zeros; a product would keep NaN, and make -0."""
    tensor.masked_fill_(~mask.to(tensor.device), 0)
