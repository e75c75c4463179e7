"""What `quick`, `regular` and `full` mean: samples and budgets; the probes are the families'."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preset:
    """Samples and budgets of an evaluation.

    Args:
        purpose: one sentence.
        limit: samples of each attack; clean images are always measured in full.
        steps: of iterative attacks.
        restarts: of iterative attacks.
        objective: "loss" measures the worst-case loss too, "verdict" drops broken images.
        curve: radii, as multiples of the data set's usual one.
    """

    purpose: str
    limit: int | None
    steps: int
    restarts: int = 1
    objective: Literal["verdict", "loss"] = "loss"
    curve: tuple[float, ...] = (0.25, 0.5, 1.0)

    def __str__(self) -> str:
        samples = "all samples" if self.limit is None else f"{self.limit:,} samples"
        effort = f"{self.steps} steps x {self.restarts}, {self.objective}"
        curve = ", ".join(f"{factor:g}" for factor in self.curve)
        return f"{self.purpose}: {samples}; {effort}; epsilon x {curve}"


PRESETS: dict[str, Preset] = {
    "quick": Preset("a first look", limit=512, steps=10),
    "regular": Preset(
        "numbers to compare models by", limit=2048, steps=40, curve=(0.125, 0.25, 0.5, 1.0, 2.0)
    ),
    "full": Preset(
        "numbers to decide by",
        limit=None,
        steps=100,
        restarts=5,
        objective="verdict",
        curve=(0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    ),
}
