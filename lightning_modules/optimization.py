"""Optimizers and schedules of the learning rate, by name."""

import math

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from datamodules.errors import UserError
from lightning_modules.tuning import Tuning


def make_optimizer(model: nn.Module, tuning: Tuning) -> Optimizer:
    """Makes the optimizer of all parameters that learn.

    Args:
        model: with at least one parameter that requires a gradient.
        tuning: optimizer, lr, momentum and weight decay; vectors (biases, norms) do not decay.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": tuning.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if tuning.optimizer == "sgd":
        return SGD(groups, tuning.lr, momentum=tuning.momentum, nesterov=tuning.momentum > 0)
    return {"adam": Adam, "adamw": AdamW}[tuning.optimizer](groups, tuning.lr)


def make_schedule(optimizer: Optimizer, tuning: Tuning, steps: float) -> LRScheduler:
    """Makes the schedule, which is advanced once an optimizer step.

    Args:
        optimizer: from `make_optimizer`.
        tuning: schedule, lr and warm-up.
        steps: of the whole training; may be infinite for "constant".

    Raises:
        UserError: the schedule ends but the training does not.
    """
    if math.isinf(steps):
        if tuning.schedule != "constant" or tuning.warmup:
            raise UserError(
                f"The schedule {tuning.schedule!r} with warm-up {tuning.warmup:g} needs to know "
                "the end: set --trainer.max_epochs, or --tuning.schedule constant "
                "--tuning.warmup 0."
            )
        return MultiStepLR(optimizer, [])
    total = max(int(steps), 1)
    if tuning.schedule == "onecycle":
        return OneCycleLR(optimizer, tuning.lr, total_steps=total + 1)
    rising = round(tuning.warmup * total)
    rest = max(total - rising, 1)
    main = _main(optimizer, tuning.schedule, rest)
    if rising == 0:
        return main
    warm = LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising)
    return SequentialLR(optimizer, [warm, main], milestones=[rising])


def _main(optimizer: Optimizer, schedule: str, steps: int) -> LRScheduler:
    """The part after the warm-up."""
    if schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    drops = [steps // 2, steps * 3 // 4] if schedule == "step" else []
    return MultiStepLR(optimizer, drops, gamma=0.1)
