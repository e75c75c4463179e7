"""How a cell is measured: everything besides model, data, mode, seed and fraction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any, Literal, get_args

from datamodules.errors import UserError, suggestion
from lightning_modules import Tuning

Mode = Literal["untouched", "probe", "last_k", "staged", "l2_sp", "full"]
MODES: tuple[str, ...] = get_args(Mode)
"""By growing cost, which decides between modes that are equally good."""
TRAINED = ("last_k", "staged", "l2_sp", "full")
"""Modes that change the backbone."""
VERSION = 1
"""Raised whenever the same cell would give other rows: stored cells are then not reused."""


@dataclass(frozen=True)
class Recipe:
    """What all cells share.

    Args:
        tuning: optimizer, rates and regularisation of the modes that train the backbone.
        epochs: of those.
        min_steps: of those; a few images are seen in as many epochs more.
        batch_size: images in a training step, and in every call of a feature pass.
        last_k: blocks that `last_k` trains besides the head.
        alpha: spring of `l2_sp`.
        probes: names of probes measured on the finished model, for what became of its robustness.
        flags: of the Trainer.
    """

    tuning: Tuning = Tuning()  # noqa: RUF009  (frozen)
    epochs: int = 10
    min_steps: int = 200
    batch_size: int = 64
    last_k: int = 1
    alpha: float = 0.1
    probes: tuple[str, ...] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what would train nothing."""
        for name in ("epochs", "min_steps", "batch_size", "last_k"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected `{name}` to be at least 1, but got {getattr(self, name)}."
                )

    def epochs_for(self, samples: int) -> int:
        """Epochs of a training on so many images: those asked for, or more to reach `min_steps`."""
        return max(self.epochs, ceil(self.min_steps / ceil(samples / self.batch_size)))

    def facts(self, mode: str) -> dict[str, Any]:
        """What may change the rows of a mode."""
        found: dict[str, Any] = {"version": VERSION, "probes": self.probes}
        if mode in TRAINED:
            found |= {"tuning": asdict(self.tuning), "epochs": (self.epochs, self.min_steps)}
            found |= {"batch_size": self.batch_size, "precision": self.flags.get("precision")}
        if mode == "last_k":
            found["last_k"] = self.last_k
        if mode == "l2_sp":
            found["alpha"] = self.alpha
        return found


def checked_modes(modes: list[str]) -> tuple[str, ...]:
    """The modes by growing cost, `untouched` always among them: it is what the others changed.

    Raises:
        UserError: there is no such mode.
    """
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise UserError(f"There is no mode {unknown[0]!r}.{suggestion(unknown[0], MODES)}")
    return tuple(mode for mode in MODES if mode in {"untouched", *modes})
