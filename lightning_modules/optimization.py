"""Optimizers and schedules of the learning rate, by name."""

import math
from functools import partial

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from datamodules.errors import UserError
from lightning_modules.tuning import Tuning


def make_optimizer(model: nn.Module, tuning: Tuning) -> Optimizer:
    """Makes the optimizer of all parameters that learn.

    Args:
        model: with at least one parameter that requires a gradient.
        tuning: optimizer, lr, momentum and weight decay; vectors (biases, norms) do not decay.
    """
    assert tuning.lr is not None, "see Tuning.filled"
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": tuning.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if tuning.optimizer == "sgd":
        ahead = tuning.nesterov and tuning.momentum > 0
        return SGD(groups, tuning.lr, momentum=tuning.momentum, nesterov=ahead)
    return {"adam": Adam, "adamw": AdamW}[tuning.optimizer](groups, tuning.lr)


def make_schedule(optimizer: Optimizer, tuning: Tuning, steps: float) -> LambdaLR:
    """Makes the schedule, which is advanced once an optimizer step.

    Only the number of steps done is kept in a checkpoint, so that a training resumed with more
    epochs is planned anew; torch's own cosine would rise again and its one-cycle raise.

    Args:
        optimizer: from `make_optimizer`.
        tuning: schedule, lr and warm-up.
        steps: of the whole training; may be infinite for "constant".

    Raises:
        UserError: the schedule ends but the training does not.
    """
    tuning = tuning.filled(pretrained=False)  # the rate is the optimizer's
    assert tuning.schedule is not None
    assert tuning.warmup is not None
    if math.isinf(steps) and (tuning.schedule != "constant" or tuning.warmup):
        raise UserError(
            f"The schedule {tuning.schedule!r} with warm-up {tuning.warmup:g} needs to know the "
            "end: set --trainer.max_epochs, or --tuning.schedule constant --tuning.warmup 0."
        )
    return LambdaLR(optimizer, partial(rate, tuning.schedule, tuning.warmup, steps))


def rate(schedule: str, warmup: float, steps: float, step: int) -> float:
    """The learning rate of a step as a share of the largest one, in [0, 1].

    Args:
        schedule: "constant", "cosine" (1608.03983, 2016), "step" (a tenth from 50 %, a hundredth
            from 75 %) or "onecycle" (1708.07120, 2017, with torch's constants).
        warmup: share of the steps that rise linearly; not of "onecycle".
        steps: of the whole training.
        step: from 0.
    """
    if schedule == "onecycle":
        return _one_cycle(steps, step)
    rising = 0 if math.isinf(steps) else round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = min((step - rising) / max(steps - rising, 1), 1.0)
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 0.1 ** ((done >= 0.5) + (done >= 0.75)) if schedule == "step" else 1.0


def _one_cycle(steps: float, step: int) -> float:
    """Rises by a cosine from 1/25 during 30 % of the steps, then falls to 1/250,000."""
    top = 0.3 * (steps + 1) - 1
    first, last = 1 / 25, 1 / 250_000
    if step <= top:
        return 1 + (first - 1) / 2 * (1 + math.cos(math.pi * step / max(top, 1e-9)))
    done = min((step - top) / (steps - top), 1.0)
    return last + (1 - last) / 2 * (1 + math.cos(math.pi * done))
