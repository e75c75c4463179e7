"""An optimizer and a schedule of the user's, from `torch.optim` or anywhere."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from datamodules.errors import UserError
from lightning_modules.tuning import Tuning

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
"""From the parameters that learn to their optimizer, e.g. `partial(torch.optim.SGD, lr=0.01)`."""
MakeScheduler = Callable[[Optimizer], LRScheduler]
_SHORT = ("optimizer", "lr", "weight_decay", "momentum", "nesterov")
_PLANNED = ("schedule", "warmup")
_BY_STEP = (OneCycleLR, CyclicLR)
"""Which torch's documentation steps after every batch."""


@dataclass(frozen=True)
class OwnOptimization:
    """What takes the place of `Tuning`'s optimizer, of its schedule, or of both.

    Args:
        optimizer: of all parameters that learn, in one group as torch's users expect: weight decay
            acts on biases too.
        scheduler: stepped once an epoch; OneCycleLR and CyclicLR once a step; None with an
            optimizer of one's own keeps its rate, or follows `tuning.schedule` where that is said.
    """

    optimizer: MakeOptimizer | None = None
    scheduler: MakeScheduler | None = None

    def tuned(self, tuning: Tuning) -> Tuning:
        """The recipe beside it, in which nothing is said twice.

        Raises:
            UserError: both say something of the optimizer, or of the schedule.
        """
        if self.optimizer is not None:
            _refuse(tuning, _SHORT, "--optimizer")
        if self.scheduler is not None:
            _refuse(tuning, _PLANNED, "--scheduler")
        if self == OwnOptimization():
            return tuning
        said = tuning.schedule or ("constant" if self.optimizer or self.scheduler else None)
        warmup = 0.0 if tuning.warmup is None else tuning.warmup
        return replace(tuning, schedule=said, warmup=warmup)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Names of the recipe's values that do not act."""
        planned = _PLANNED if self.scheduler is not None else ()
        return (*(_SHORT if self.optimizer is not None else ()), *planned)

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        """Makes the user's optimizer of what learns in a model.

        Raises:
            UserError: it does not take its arguments, or these parameters.
        """
        assert self.optimizer is not None
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return _made(self.optimizer, learning, "--optimizer")

    def make_scheduler(self, optimizer: Optimizer, monitor: str) -> dict[str, Any]:
        """The user's schedule as Lightning takes it.

        Args:
            optimizer: whose rate it changes.
            monitor: of a schedule that watches a metric which is to rise; else `val/loss`.

        Raises:
            UserError: it does not take its arguments, or this optimizer.
        """
        assert self.scheduler is not None
        scheduler = _made(self.scheduler, optimizer, "--scheduler")
        told: dict[str, Any] = {"scheduler": scheduler, "interval": "epoch"}
        if isinstance(scheduler, ReduceLROnPlateau):
            usual = monitor if scheduler.mode == "max" else "val/loss"
            told["monitor"] = getattr(scheduler, "monitor", usual)
        if isinstance(scheduler, _BY_STEP):
            told["interval"] = "step"
        return told

    def told(self) -> dict[str, str]:
        """Both in words, where they are given, for terminal and MLflow."""
        given = {"optimizer": self.optimizer, "scheduler": self.scheduler}
        return {name: in_words(make) for name, make in given.items() if make is not None}


def in_words(make: Callable[..., Any]) -> str:
    """`SGD(lr=0.01, momentum=0.9)`: the name, and what differs from the defaults."""
    if not isinstance(make, partial):
        return getattr(make, "__name__", type(make).__name__)
    usual = inspect.signature(make.func).parameters
    chosen = {
        name: value
        for name, value in make.keywords.items()
        if name not in usual or value != usual[name].default
    }
    return f"{in_words(make.func)}({', '.join(f'{k}={v!r}' for k, v in chosen.items())})"


def _made(make: Callable[..., Any], of: Any, flag: str) -> Any:
    try:
        return make(of)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{flag} {in_words(make)} cannot be made: {error}") from error


def _refuse(tuning: Tuning, names: tuple[str, ...], flag: str) -> None:
    usual = Tuning()
    both = [name for name in names if getattr(tuning, name) != getattr(usual, name)]
    if both:
        raise UserError(
            f"Got `tuning.{both[0]}` beside {flag}, which says it too: leave one of them out."
        )
