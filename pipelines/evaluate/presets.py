"""What `quick`, `regular` and `full` mean, in one table."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Preset:
    """Probes, samples and budgets of an evaluation.

    Args:
        purpose: one sentence.
        probes: names, see `assay list probes`.
        limit: samples of each attack; clean images are always measured in full.
        steps: of iterative attacks.
        restarts: of iterative attacks.
        objective: "loss" measures the worst-case loss too, "verdict" drops broken images.
        curve: radii, as multiples of the data set's usual one.
    """

    purpose: str
    probes: tuple[str, ...]
    limit: int | None
    steps: int
    restarts: int = 1
    objective: Literal["verdict", "loss"] = "loss"
    curve: tuple[float, ...] = field(default=(0.25, 0.5, 1.0))

    def __str__(self) -> str:
        samples = "all samples" if self.limit is None else f"{self.limit:,} samples"
        effort = f"{self.steps} steps x {self.restarts}, {self.objective}"
        curve = ", ".join(f"{factor:g}" for factor in self.curve)
        return f"{self.purpose}: {' '.join(self.probes)}; {samples}; {effort}; epsilon x {curve}"


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        purpose="a first look",
        probes=("clean", "fgsm", "pgd"),
        limit=512,
        steps=10,
        curve=(0.25, 0.5, 1.0),
    ),
    "regular": Preset(
        purpose="numbers to compare models by",
        probes=("clean", "fgsm", "pgd", "fgsm_l2", "pgd_l2", "zero", "bit_flip"),
        limit=2048,
        steps=40,
        curve=(0.125, 0.25, 0.5, 1.0, 2.0),
    ),
    "full": Preset(
        purpose="numbers to decide by",
        probes=(
            *("clean", "fgsm", "pgd", "pgd_targeted", "fgsm_l2", "pgd_l2"),
            *("zero", "noise", "sign_flip", "bit_flip", "bit_error", "activation_fault"),
        ),
        limit=None,
        steps=100,
        restarts=5,
        objective="verdict",
        curve=(0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    ),
}
