"""What `quick`, `regular` and `full` ask of the five questions: their settings, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.recover.repair import Effort

_REPAIRS = ["retrain_last", "retrain_all", "distil"]


@dataclass(frozen=True)
class AssessmentPreset:
    """What is asked of a model.

    Args:
        purpose: one sentence.
        settings: arguments of each question's command.
        epochs: of the trainings in variability and distillation, unless the user says how many.
    """

    purpose: str
    settings: Mapping[str, Mapping[str, Any]]
    epochs: int


PRESETS: dict[str, AssessmentPreset] = {
    "quick": AssessmentPreset(
        "a first look at all five abilities",
        {
            "data": {},
            "robustness": {"preset": "quick"},
            "recoverability": {
                "damage": "zero", "severities": [0.3], "draws": 2, "limit": 500,
                "strategies": _REPAIRS, "effort": Effort(steps=50, images=256, points=4),
            },
            "variability": {"modes": ["probe", "full"], "min_steps": 100, "limit": 500},
            "distillation": {"controls": ["label_only"], "evaluation": "quick"},
            "monitorability": {
                "preset": "quick", "forwards": 200, "limit": 200, "train_limit": 1000,
            },
        },
        epochs=5,
    ),
    "regular": AssessmentPreset(
        "numbers to compare models by",
        {
            "data": {},
            "robustness": {"preset": "regular"},
            "recoverability": {
                "damage": "zero", "severities": [0.1, 0.3, 0.5], "draws": 3,
                "strategies": [*_REPAIRS, "retrain_damaged", "rebuild"],
            },
            "variability": {
                "modes": ["probe", "lp_ft", "full"], "fractions": ["5/class", "all"],
                "seeds": [0, 1, 2],
            },
            "distillation": {
                "controls": ["label_only", "pruned"], "seeds": [0, 1, 2], "evaluation": "regular",
            },
            "monitorability": {"preset": "regular"},
        },
        epochs=10,
    ),
    "full": AssessmentPreset(
        "numbers to decide by",
        {
            "data": {},
            "robustness": {"preset": "full"},
            "recoverability": {"damage": "zero", "draws": 5},
            "variability": {
                "modes": ["probe", "last_k", "lora", "l2_sp", "lp_ft", "full"],
                "fractions": ["1/class", "5/class", "20/class", "all"], "seeds": [0, 1, 2, 3, 4],
            },
            "distillation": {
                "controls": ["label_only", "random_teacher", "pruned", "int8"],
                "seeds": [0, 1, 2, 3, 4], "evaluation": "full",
            },
            "monitorability": {
                "preset": "full", "forwards": 5000, "limit": 5000, "train_limit": 50_000,
            },
        },
        epochs=30,
    ),
}  # fmt: skip
