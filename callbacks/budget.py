"""How much a probe may spend; presets fill it in, a probe takes what concerns it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Budget:
    """The part of a preset that reaches a probe made by name.

    Args:
        limit: samples, None for all.
        steps: of iterative attacks.
        restarts: of iterative attacks.
        objective: of attacks: "loss" measures the worst-case loss too, "verdict" stops an image as
            soon as it is broken.
        curve: severities, as multiples of the data set's usual one.
        draws: random variants of each damage.
        chunk: images in every model call.
        seed: of every random number.
    """

    limit: int | None = None
    steps: int = 40
    restarts: int = 1
    objective: Literal["verdict", "loss"] = "loss"
    curve: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    draws: int = 3
    chunk: int = 128
    seed: int = 0
