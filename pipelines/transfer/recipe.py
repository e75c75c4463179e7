"""How a cell is measured: everything besides model, data, mode, fraction and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from callbacks import probe_entries
from datamodules.errors import UserError, suggestion
from lightning_modules import Tuning
from pipelines.study.trainer_flags import deciding

MODES: dict[str, str] = {
    "untouched": "the model as it is",
    "probe": "a new last layer, the rest frozen",
    "last_k": "training the last blocks",
    "lora": "training low-rank changes of all weights",
    "adapter": "training 1x1 convolutions beside the larger ones, and the norms",
    "staged": "training block after block, the last ones first",
    "l2_sp": "training everything, pulled to where it started and not to 0 by weight decay",
    "lwf": "training everything, the old classes answered as before",
    "lp_ft": "training everything, from a linear probe's head",
    "full": "training everything",
}
"""By growing cost, which decides between modes that are equally good."""
TRAINED = ("last_k", "lora", "adapter", "staged", "l2_sp", "lwf", "lp_ft", "full")
"""Modes that change the backbone."""
VERSION = 2
"""Raised whenever the same cell would give other rows: stored cells are then not reused."""
_OF_MODE = {
    "last_k": "last_k", "alpha": "l2_sp", "lora_rank": "lora", "lora_alpha": "lora",
    "lwf_weight": "lwf",
}  # fmt: skip
"""Options that one mode alone heeds."""
# Flags of the Trainer that are in the key by what came of them.
_FREE = ("max_epochs", "accelerator", "devices")


@dataclass(frozen=True)
class Recipe:
    """What all cells share.

    Args:
        tuning: optimizer, rates and regularisation of the modes that train the backbone.
        epochs: of those.
        min_steps: of those; a few images are seen in as many epochs more.
        batch_size: images in a training step.
        last_k: blocks that `last_k` trains besides the head.
        alpha: pull of `l2_sp` to where the weights started.
        lora_rank: of the changes of `lora`.
        lora_alpha: they are multiplied by this and divided by the rank; None takes the rank.
        lwf_weight: of the old answers beside the new ones.
        probes: names of probes measured on the finished model, for what became of its robustness.
        flags: of the Trainer.

    Raises:
        UserError: it would train nothing, names no probe, or says twice what learns.
    """

    tuning: Tuning = Tuning()  # noqa: RUF009  (frozen)
    epochs: int = 10
    min_steps: int = 200
    batch_size: int = 64
    last_k: int = 1
    alpha: float = 0.1
    lora_rank: int = 8
    lora_alpha: float | None = None
    lwf_weight: float = 1.0
    probes: tuple[str, ...] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what would train nothing or act on nothing."""
        for name in ("epochs", "min_steps", "batch_size", "last_k", "lora_rank"):
            if (value := getattr(self, name)) < 1:
                raise UserError(f"Expected `{name}` to be at least 1, but got {value}.")
        known = probe_entries()
        if unknown := [name for name in self.probes if name not in known]:
            hint = suggestion(str(unknown[0]), known)
            raise UserError(f"There is no probe {unknown[0]!r} to name here.{hint}")
        if self.tuning.mode != "full":
            raise UserError(
                f"Expected no `tuning.mode` {self.tuning.mode}: `modes` says what learns; "
                "say --modes probe."
            )

    def epochs_for(self, samples: int) -> int:
        """Epochs of a training on so many images: those asked for, or more to reach `min_steps`."""
        return max(self.epochs, ceil(self.min_steps / ceil(samples / self.batch_size)))

    def facts(self, mode: str) -> dict[str, Any]:
        """What may change the rows of a mode."""
        facts: dict[str, Any] = {"version": VERSION, "probes": list(self.probes)}
        if mode in TRAINED:
            facts |= {"tuning": asdict(self.tuning), "epochs": [self.epochs, self.min_steps]}
            chosen = deciding({k: v for k, v in self.flags.items() if k not in _FREE})
            facts |= {"batch_size": self.batch_size, "flags": chosen}
        if mode == "last_k":
            facts["last_k"] = self.last_k
        if mode == "l2_sp":
            facts["alpha"] = self.alpha
        if mode == "lora":
            facts["lora"] = [self.lora_rank, self.lora_alpha]
        if mode == "lwf":
            facts["lwf_weight"] = self.lwf_weight
        return facts

    def parameters(self) -> dict[str, Any]:
        """What runs are compared by, flat."""
        names = (
            "epochs", "min_steps", "batch_size", "last_k", "alpha", "lora_rank", "lora_alpha",
            "lwf_weight",
        )  # fmt: skip
        tuning = {f"tuning.{name}": value for name, value in asdict(self.tuning).items()}
        probes = " ".join(self.probes) or "none"
        return {name: getattr(self, name) for name in names} | {"probes": probes} | tuning


def checked_modes(modes: Sequence[str]) -> tuple[str, ...]:
    """The modes by growing cost, `untouched` always among them: it is what the others changed.

    Raises:
        UserError: there is no such mode.
    """
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise UserError(f"There is no mode {unknown[0]!r}.{suggestion(unknown[0], MODES)}")
    return tuple(mode for mode in MODES if mode in {"untouched", *modes})


def check_heeded(recipe: Recipe, modes: Sequence[str]) -> list[str]:
    """Refuses options that none of the modes heeds.

    Returns:
        Notes on the length of trainings where nothing is trained, which does no harm.

    Raises:
        UserError: an option would change nothing.
    """
    fields = Recipe.__dataclass_fields__
    for name, mode in _OF_MODE.items():
        if mode not in modes and getattr(recipe, name) != fields[name].default:
            raise UserError(
                f"Got `{name}`, which --modes {mode} alone heeds: leave it out, or name that mode."
            )
    if set(TRAINED) & set(modes):
        return []
    usual, own = asdict(Tuning()), asdict(recipe.tuning)
    if changed := [name for name, value in own.items() if value != usual[name]]:
        raise UserError(
            f"Got `tuning.{changed[0]}`, but none of --modes {' '.join(modes)} trains the "
            "backbone: leave it out, or name a mode that does, e.g. full."
        )
    lengths = {"trainer.max_epochs": "epochs", "min_steps": "min_steps", "batch_size": "batch_size"}
    said = [n for n, own in lengths.items() if getattr(recipe, own) != fields[own].default]
    return [f"`{name}` is not used: no mode trains the backbone." for name in said]
