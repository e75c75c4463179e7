"""How a classifier is trained, in flat values."""

from dataclasses import dataclass, replace
from typing import Literal

from datamodules.errors import UserError

_RANGES: dict[str, tuple[float, float]] = {
    "weight_decay": (0, float("inf")),
    "momentum": (0, 1),
    "warmup": (0, 1),
    "label_smoothing": (0, 1),
    "mixup": (0, float("inf")),
    "cutmix": (0, float("inf")),
    "dropout": (0, 1),
    "ema": (0, 1),
    "last_k": (1, float("inf")),
    "alpha": (0, float("inf")),
    "lora_rank": (1, float("inf")),
    "lora_alpha": (0, float("inf")),
}
"""Lower bound included, upper bound not."""
_ONLY = {"last_k": "last_k", "alpha": "l2_sp", "lora_rank": "lora", "lora_alpha": "lora"}
"""Options of one mode."""
_WARMUP = 0.05
_GENTLE = ("linear_probe", "lora", "adapter")
"""Modes that leave a pre-trained network's own weights alone."""


@dataclass(frozen=True)
class Tuning:
    """The recipe of a fine-tuning; the defaults take LeNet on MNIST to 99 % in five epochs.

    Args:
        mode: train all weights (full), only a new last layer on a backbone that is truly frozen
            (linear_probe), the last blocks (last_k), block after block from the last one on
            (staged), everything held near where it started (l2_sp), everything after a linear
            probe (lp_ft), low-rank changes of all weights (lora), or 1x1 convolutions beside all
            larger ones, with the norms (adapter).
        loss: cross-entropy, or squared error of the probabilities (Brier score).
        optimizer: by name.
        lr: largest learning rate; None takes 0.003 for random weights, a linear probe, lora and
            adapter, a tenth of it where weights were loaded, and ten times as much for sgd.
        weight_decay: of weights; norms and biases have none.
        momentum: of sgd; the adams have their usual betas.
        nesterov: whether sgd's momentum looks ahead.
        schedule: of the learning rate over all steps; "step" divides it by 10 at 50 % and 75 %;
            None takes cosine, or constant beside an optimizer of your own.
        warmup: share of the steps with linearly growing learning rate; onecycle has its own; None
            takes 0.05, or 0 beside an optimizer of your own.
        label_smoothing: share of the label spread over all classes.
        mixup: Beta parameter of mixup; 0 for none.
        cutmix: Beta parameter of cutmix; 0 for none.
        dropout: probability for a model that has dropout layers; None keeps theirs.
        ema: decay of a moving average of the weights; 0 for none.
        last_k: blocks that last_k trains besides the head; None trains 1.
        alpha: pull of l2_sp to where the weights started; None takes 0.1.
        lora_rank: of lora's changes; None takes 8.
        lora_alpha: lora's changes are multiplied by this and divided by the rank; None takes the
            rank.
    """

    mode: Literal[
        "full", "linear_probe", "last_k", "staged", "l2_sp", "lp_ft", "lora", "adapter"
    ] = "full"
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float | None = None
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Literal["constant", "cosine", "step", "onecycle"] | None = None
    warmup: float | None = None
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    dropout: float | None = None
    ema: float = 0.0
    nesterov: bool = True
    last_k: int | None = None
    alpha: float | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None

    def __post_init__(self) -> None:
        """Refuses values that make no sense."""
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise UserError(f"Expected `tuning.lr` to be positive, but got {self.lr}.")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value < high:
                raise UserError(
                    f"Expected `tuning.{name}` in [{low:g}, {high:g}), but got {value}."
                )
        if self.mode == "linear_probe" and self.dropout is not None:
            raise UserError(
                "Got `tuning.dropout` with a linear probe, whose backbone is in inference mode: "
                "leave it out, or say --tuning.mode full."
            )

        for name, mode in _ONLY.items():
            if getattr(self, name) is not None and self.mode != mode:
                raise UserError(
                    f"Got `tuning.{name}` with --tuning.mode {self.mode}, which has none: leave it "
                    f"out, or say --tuning.mode {mode}."
                )
        self._check_sgd()
        # `filled` says 0.05, and beside an optimizer of one's own 0 is said.
        if self.schedule == "onecycle" and self.warmup not in (None, 0, _WARMUP):
            raise UserError(
                f"Got `tuning.warmup` {self.warmup:g} with --tuning.schedule onecycle, which has "
                "its own: leave it out, or say --tuning.schedule cosine."
            )
        usual = type(self).__dataclass_fields__["weight_decay"].default
        if self.mode == "l2_sp" and self.weight_decay not in (0, usual):
            raise UserError(
                f"Got `tuning.weight_decay` {self.weight_decay:g} with --tuning.mode l2_sp, whose "
                "springs take its place: set --tuning.alpha."
            )

    def _check_sgd(self) -> None:
        """Refuses options of sgd that would do nothing."""
        fields = type(self).__dataclass_fields__
        said = [n for n in ("momentum", "nesterov") if getattr(self, n) != fields[n].default]
        if said and self.optimizer != "sgd":
            raise UserError(
                f"Got `tuning.{said[0]}` with --tuning.optimizer {self.optimizer}, which has none: "
                "leave it out, or say --tuning.optimizer sgd."
            )

    def filled(self, pretrained: bool) -> "Tuning":
        """Returns the recipe with learning rate, schedule and warm-up: the given or usual ones.

        Args:
            pretrained: whether it begins with weights that learnt something.
        """
        tender = self.mode not in _GENTLE and pretrained
        rate = (3e-4 if tender else 3e-3) * (10 if self.optimizer == "sgd" else 1)
        return replace(
            self,
            lr=rate if self.lr is None else self.lr,
            schedule=self.schedule or "cosine",
            warmup=_WARMUP if self.warmup is None else self.warmup,
        )
