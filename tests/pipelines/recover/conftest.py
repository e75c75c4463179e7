"""Rows of make-believe repairs, and a result made of them."""

import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from pipelines.recover.plan import Plan
from pipelines.recover.repair import Effort
from pipelines.recover.result import Recoverability
from pipelines.report.about import About

MakeRecoverability = Callable[..., Recoverability]
N = 200


def row(
    damage: str, severity: float, seed: int, strategy: str, repaired: float, **more: Any
) -> dict[str, Any]:
    """A row; the damage leaves less where it is severe, and draws differ by a point."""
    damaged = 0.9 if damage == "none" else max(0.9 - severity - 0.01 * seed, 0.1)
    steps = 0 if strategy in ("nothing", "mend") else 10
    points = [{"step": float(i), "seconds": 0.1 * i, "acc": damaged} for i in range(steps // 4)]
    return {
        "subject": "lenet/Digits", "damage": damage, "severity": severity, "seed": seed,
        "strategy": strategy, "training_seed": seed, "optimizer": "adamw" if steps else "",
        "status": "ok", "seconds": 0.5 + 0.1 * seed, "steps": steps, "samples": 64 * steps,
        "labels": 64 * steps, "images": 64 * steps, "forwards": 0, "storage_bits": 0,
        "flops": 2.5e9 * steps, "memory": 4e6, "curve": json.dumps(points), "n": float(N),
        "classes": 10.0, "acc_original": 0.9, "acc_damaged": damaged,
        "acc_repaired": damaged if strategy == "nothing" else repaired, "drop_error": 0.01,
        "negative_flips": 0.05, "positive_flips": 0.02, "agreement": 0.9, "asr_damaged": math.nan,
        "asr_repaired": math.nan, **more,
    }  # fmt: skip


def repair_rows(
    severities: tuple[float, ...] = (0.3, 0.6),
    strategies: tuple[str, ...] = ("retrain_all", "mend"),
    draws: int = 2,
    better: float = 0.0,
    damage: str = "zero",
    **more: Any,
) -> list[dict[str, Any]]:
    """Controls and repairs; those of a better model end higher."""
    rows = [row("none", 0.0, seed, "retrain_all", 0.9, **more) for seed in range(draws)]
    rows += [
        row(damage, severity, seed, strategy, 0.8 + better - 0.02 * seed, **more)
        for severity in severities
        for seed in range(draws)
        for strategy in ("nothing", *strategies)
    ]
    return rows


@pytest.fixture(scope="session")
def made_recoverability() -> MakeRecoverability:
    """Makes results out of nothing; `rows` replaces theirs."""

    def make(
        name: str = "lenet", rows: list[dict[str, Any]] | None = None, steps: int = 10,
        silent_errors: pd.DataFrame | None = None, **options: Any,
    ) -> Recoverability:  # fmt: skip
        model = {
            "name": name, "source": f"builtin:{name}", "architecture": f"builtin:{name}",
            "parameters": 44426, "digest": "0123456789abcdef",
            "classes": [f"class {i}" for i in range(10)],
        }  # fmt: skip
        data = {
            "name": "Digits", "title": "Digits", "digest": "e" * 32, "skipped": [], "notes": [],
            "splits": {"test": {"samples": N, "digest": "d" * 64}}, "preprocessing": {},
        }  # fmt: skip
        about = About(
            command=f"assay recover --model {name} --data Digits", models=[model], data=[data],
            environment={"device": "cpu", "precision": "32-true"}, seconds=1.5,
            created="2026-11-21T10:00:00+00:00",
        )  # fmt: skip
        table = pd.DataFrame(rows or repair_rows(**options))
        plan = Plan({"zero": (0.3, 0.6)}, ("retrain_all", "mend"), [Effort(steps=steps)], 2, N)
        subjects = dict.fromkeys(table["subject"])
        settings = {subject: plan.parameters() for subject in subjects}
        several = About(**{**about.as_dict(), "models": [model] * 2, "data": [data] * 2})
        errors = pd.DataFrame() if silent_errors is None else silent_errors
        return Recoverability(about if len(subjects) == 1 else several, table, settings, errors)

    return make
