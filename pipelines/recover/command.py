"""`assay recover`: evaluate, damage, evaluate, repair, evaluate; what came back, at what cost."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from typing_extensions import Unpack  # Python 3.10 has none

from callbacks import Probe
from datamodules.errors import UserError
from pipelines.cli import COMMANDS
from pipelines.engine import Engine, opened_on
from pipelines.recover.cell import Experiment
from pipelines.recover.damages import Spoil
from pipelines.recover.opened import TRAINER, Opened, opened
from pipelines.recover.predictor import predictions
from pipelines.recover.repair import Effort
from pipelines.recover.result import Recoverability
from pipelines.recover.table import KEYS
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse

_OF_ATLAS = ("model", "data", "atlas", "atlas_root", "inject_until", "engine")
"""What an atlas lets its user choose."""


def main(words: list[str]) -> int:
    """Runs the command line."""
    recover(**parse(recover, words, TRAINER, COMMANDS["recover"].example))
    return 0


def recover(
    model: ModelLike | None = None,
    data: DataLike | None = None,
    damage: str = "zero",
    severities: list[float] | None = None,
    strategies: list[str] | None = None,
    draws: int = 3,
    effort: Effort = Effort(),  # noqa: B008  (frozen)
    stored_in: Literal["float32", "float16", "bfloat16", "int8", "int4"] = "float32",
    layers: list[str] | None = None,
    spoil: Spoil = Spoil(),  # noqa: B008  (frozen)
    recipes: list[str] | None = None,
    trainings: int = 1,
    inject_until: float | None = None,
    limit: int = 2000,
    atlas: Literal["none", "example", "quick", "predictor", "small"] = "none",
    atlas_root: Path | None = None,
    probes: list[Probe | str] | None = None,
    engine: Engine = Engine(),  # noqa: B008  (frozen)
    **options: Unpack[Options],
) -> Recoverability:
    """Damages a model, repairs it in several ways, and measures what came back at what cost.

    Args:
        model: where it comes from; see `assay list models`. In Python also a network. The atlas has
            models of its own.
        data: what it is repaired with and tested on; see `assay list data`.
        damage: see `assay list damages structure training_data`.
        severities: in the unit of the damage; default: its usual ones.
        strategies: see `assay list strategies`; default: all that apply to the damage.
        draws: random variants of each damage, each with a training seed of its own.
        effort: steps, images and recipe that a repair may spend.
        stored_in: number format of the weights; the model is rounded to it first.
        layers: damage only these modules.
        spoil: how is trained on training data that is damaged, and what a backdoor means.
        recipes: optimizers with learning rates, e.g. adamw:0.003 sgd:0.03; default: effort's.
        trainings: training seeds of every draw.
        inject_until: also tell the rate of silent errors, to this half-width, e.g. 0.05.
        limit: test images at most in the table of repairs; the evaluations use all of them.
        atlas: instead: many damages, repairs and severities on MNIST's LeNet and CIFAR's ResNet-20;
            "example": a tenth of every parameter tensor of LeNet zeroed, two epochs of plain SGD;
            "predictor": many kinds of damage, to tell what comes back before anything is repaired.
        atlas_root: folder with MNIST, cifar10 and weights/resnet20-12fca82f.th; default: the cache.
        probes: of the evaluations before and after; default: clean images.
        engine: workers that measure the cells: by Ray or by submitit, e.g. as SLURM's jobs.
        **options: see `Options`.

    Returns:
        The rows of all repairs, controls included, and what they amount to.

    Raises:
        UserError: something the user can mend.
        KeyboardInterrupt: after the rows so far are logged.
    """
    asked = dict(locals())
    _check_acting({name: given for name, given in asked.items() if name != "options"})
    with opened_on(engine, opened, asked) as (damaged, fill):
        return _carried_out(damaged, fill)


def _carried_out(damaged: Opened, fill: Callable[[], None]) -> Recoverability:
    """The result, which is complete or raises after the rows so far are logged."""
    study = damaged.study
    with study.running(damaged.name, damaged.settings):
        fill()
        result = _measured(study, [*damaged.experiments], damaged.inject_until, damaged.atlas)
        if len(damaged.experiments) > 1 and not result.about.interrupted:  # a run for each model
            for subject in result.subjects:
                study.log_stage(subject, result.of(subject))
        study.finish(result)
        if result.about.interrupted:
            raise KeyboardInterrupt
    return result


def _check_acting(asked: Mapping[str, Any]) -> None:
    """Refuses options that nothing would heed: all that differ from their defaults."""
    usual = signature(recover).parameters
    given = [n for n in usual if n in asked and asked[n] not in (usual[n].default, [])]
    fixed = [name for name in given if name not in _OF_ATLAS]
    if asked["atlas"] != "none" and fixed:
        raise UserError(
            f"Expected `atlas` without {', '.join(f'`{name}`' for name in fixed)}: an atlas says "
            "itself what is damaged, repaired and measured. Leave out the one or the other."
        )
    if asked["atlas"] == "none" and "atlas_root" in given:
        raise UserError("Expected `atlas_root` with `atlas` only: leave it out.")


def _measured(
    study: Study, experiments: list[Experiment], inject_until: float | None, atlas: str
) -> Recoverability:
    """Carries the plans out; after Ctrl-C with the rows so far."""
    rows: list[dict[str, Any]] = []
    injected, interrupted = [pd.DataFrame()], False
    try:
        for experiment in experiments:
            if inject_until is not None:
                injected.append(experiment.silent_errors(inject_until))
            for row in experiment.rows():
                rows.append(row)  # noqa: PERF402  (what is there is kept)
    except KeyboardInterrupt:
        if not rows:
            raise
        interrupted = True
    if any(row["status"].startswith("out of memory") for row in rows):
        study.notes.append("Some repairs ran out of memory; the same command tries them again.")
    study.notes += [n for n in _notes(rows) if "did not take" in n or "can be hit" in n]
    settings = {e.original.label: e.plan.parameters() for e in experiments}
    about, table = study.about(interrupted=interrupted), pd.DataFrame(rows)
    described = pd.DataFrame([line for e in experiments for line in e.features])
    return Recoverability(
        about,
        table,
        settings,
        pd.concat(injected),
        atlas,
        described,
        predictions(table, described),
        _answers(experiments),
    )


def _answers(experiments: list[Experiment]) -> pd.DataFrame:
    """Of all repairs in one table, whose names take no room."""
    told = [answers for experiment in experiments for answers in experiment.answers]
    if not told:
        return pd.DataFrame()
    return pd.concat(told, ignore_index=True).astype(dict.fromkeys(KEYS, "category"))


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    """What is said of rows, each once, with the damage that it is of."""
    severities: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        severities.setdefault((row["damage"], row.get("note", "")), []).append(
            f"{row['severity']:g}"
        )
    return [
        f"{damage} {', '.join(dict.fromkeys(of))}: {note}"
        for (damage, note), of in severities.items()
        if note
    ]
