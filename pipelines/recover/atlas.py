"""Many damages, repairs and severities on one or two models, cell by cell, resumable."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from callbacks.damage import Selection, StuckAt, Zero
from callbacks.digests import weights_digest
from callbacks.shards import fingerprint
from datamodules import CIFAR10, MNIST, ImageDataModule
from lightning_modules import Classifier, FineTuning, Tuning, save_classifier
from pipelines.arguments import typed_command
from pipelines.evaluate.command import classifier_for, opened, pipeline_run
from pipelines.recover.cell import control, repaired
from pipelines.recover.page import log_recovery, print_recovery, write_recovery
from pipelines.recover.patient import Effort
from pipelines.recover.subject import (
    DATA_DAMAGES,
    Damaged,
    Subject,
    damaged_by,
    make_damage,
    make_subject,
)
from pipelines.recover.table import summarised
from pipelines.tracking import Tracking, TrackingError, started
from pipelines.trainer import made_trainer

_VARIANTS: dict[str, Any] = {
    "zero_largest": lambda: Zero(Selection(order="largest")),
    "stuck_at_one": lambda: StuckAt(to=1),
}
"""Damages of the atlas besides those of `DAMAGES`."""


_FOR_DATA = (
    "retrain_all", "retrain_last", "recollect", "pretraining_part", "drop_suspects", "distil",
    "clip_activations", "restore_all",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What is done to one model.

    Args:
        damages: names with their severities.
        strategies: names; "nothing" is always there.
        for_data: names, where training data is what was damaged.
        draws: damage seeds, each with a training seed of its own.
        effort: of every repair.
        judged: test images.
        stored_in: number format of the weights.
    """

    damages: dict[str, tuple[float, ...]]
    strategies: tuple[str, ...]
    draws: int
    effort: Effort
    judged: int
    stored_in: str = "float32"
    for_data: tuple[str, ...] = _FOR_DATA


@dataclass(frozen=True)
class Atlas:
    """A plan.

    Args:
        purpose: one sentence.
        parts: by model: `lenet`, `cifar_resnet20`.
    """

    purpose: str
    parts: dict[str, Part] = field(default_factory=dict)


_LENET_DAMAGES: dict[str, tuple[float, ...]] = {
    "zero": (0.1, 0.3, 0.5),
    "zero_largest": (0.01, 0.05, 0.1),
    "randomise": (0.1, 0.3, 0.5),
    "noise": (0.3, 1.0, 2.0),
    "sign_flip": (0.05, 0.1, 0.3),
    "bit_flip": (1, 10, 100),
    "bit_error": (1e-5, 1e-4, 1e-3),
    "stuck_at": (1e-4, 1e-3, 1e-2),
    "bit_flip_attack": (1, 5, 20),
    "quantise": (4, 3, 2),
    "prune": (0.5, 0.8, 0.95),
    "remove_channels": (0.1, 0.3, 0.5),
    "label_noise": (0.2, 0.4, 0.6),
    "bad_nets": (0.01, 0.05, 0.1),
}
_TRAINED = ("retrain_all", "retrain_damaged", "retrain_last", "rebuild", "distil")
_AT_ONCE = ("restore_half", "clip_activations", "mend")
_SGD = Tuning(optimizer="sgd", lr=0.01, weight_decay=1e-4)

ATLASES: dict[str, Atlas] = {
    "quick": Atlas(
        "a first look in about 5 minutes",
        {
            "lenet": Part(
                {"zero": (0.1, 0.3, 0.5), "bit_error": (1e-4,), "bit_flip_attack": (5,)},
                ("retrain_all", "retrain_last", "distil", "clip_activations", "mend"),
                draws=3,
                effort=Effort(steps=50),
                judged=1000,
            ),
            "cifar_resnet20": Part(
                {"bit_flip_attack": (5,)},
                ("reestimate_batch_norm", "zero_suspects", "mend"),
                draws=1,
                effort=Effort(steps=10, tuning=_SGD),
                judged=500,
                stored_in="int8",
            ),
        },
    ),
    "small": Atlas(
        "the table of the README in about an hour",
        {
            "lenet": Part(
                _LENET_DAMAGES,
                (*_TRAINED, *_AT_ONCE),
                draws=3,
                effort=Effort(steps=60),
                judged=1500,
            ),
            "cifar_resnet20": Part(
                {
                    "zero": (0.1, 0.3),
                    "noise": (0.3, 0.6),
                    "bit_flip": (100, 1000),
                    "bit_flip_attack": (5, 20),
                    "quantise": (4, 3),
                    "prune": (0.5, 0.8),
                    "remove_layers": (1, 2),
                },
                (
                    "retrain_all", "retrain_last", "distil", "reestimate_batch_norm",
                    "clip_activations", "zero_suspects_batch_norm", "mend",
                ),
                draws=1,
                effort=Effort(steps=20, tuning=_SGD),
                judged=1017,
                stored_in="int8",
            ),
        },
    ),
}  # fmt: skip


def draw_atlas(
    plan: Atlas,
    model: str | Classifier | None,
    data: ImageDataModule | None,
    arch: str | None,
    places: Path | None,
    root: Path,
    tracking: Tracking,
    flags: dict[str, Any],
    seed: int,
    config: str,
) -> pd.DataFrame:
    """Measures every cell that is not on disk yet, then writes tables, maps and the report.

    Args:
        plan: an entry of `ATLASES`.
        model: one's own; None takes MNIST's LeNet and CIFAR's ResNet-20.
        data: one's own.
        arch: of a bare checkpoint.
        places: folder with `MNIST`, `cifar10` and `weights`; None for the usual ones.
        root: folder that holds `mlruns/`.
        tracking: where runs are logged.
        flags: of Lightning's Trainer.
        seed: of everything random.
        config: the parsed command line.

    Returns:
        The rows.
    """
    L.seed_everything(seed, verbose=False)
    title = next(name for name, one in ATLASES.items() if one is plan)
    store, problem = opened(tracking, root)
    tags = {"question": "recoverability", "atlas": title}
    tables = []
    key = fingerprint({"run": f"atlas-{title}", "command": config})
    keep, board = root / "mlruns" / "resume" / "runs" / f"{key}.json", tracking.board(root)
    with pipeline_run(store, f"atlas-{title}", tags, None, keep, board) as above:
        for subject, part in _subjects(plan, model, data, arch, places, root, flags):
            with started(store, f"atlas-{subject.label}", tags, above) as run:
                tables.append(_measured(subject, part, root, flags, seed))
                log_recovery(run, summarised(tables[-1]), None)
        table = pd.concat(tables, ignore_index=True)
        if not getattr(rank_zero_only, "rank", 0):
            folder = root / "mlruns" / "recoveries" / f"atlas-{title}"
            lines = summarised(table)
            write_recovery(table, lines, folder, f"Atlas of recovery, {title}", typed_command())
            (folder / "config.yaml").write_text(config)
            print_recovery(lines)
            log_recovery(above, lines, folder, curves=False)
            print(f"\nreport   {folder / 'report.html'}")
            if problem:
                raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
            if store:
                print(f"MLflow   {store.link}")
    return table


def _measured(
    subject: Subject, part: Part, root: Path, flags: dict[str, Any], seed: int
) -> pd.DataFrame:
    """All rows of one model; cells on disk are not measured again."""
    about = {
        "weights": weights_digest(subject.stored.original), "data": subject.data.manifest_digest(),
        "effort": repr(part.effort), "judged": part.judged, "stored_in": part.stored_in,
        "seed": seed, "version": 1,
    }  # fmt: skip
    file = root / "mlruns" / "resume" / "atlas" / f"{fingerprint(about)}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = _known(file)
    rows: list[dict[str, Any]] = []
    cells = dict(_cells(subject, part, flags, seed))
    with _bar() as progress:
        task = progress.add_task(subject.label, total=len(cells))
        for cell, work in cells.items():
            progress.update(task, description=f"{subject.label}  {cell}")
            if cell not in known:
                known[cell] = work()
                with file.open("a") as lines:
                    lines.write(json.dumps({"cell": cell, **known[cell]}) + "\n")
            rows.append(known[cell])
            progress.advance(task)
    return pd.DataFrame(rows).drop(columns="cell", errors="ignore")


def _cells(
    subject: Subject, part: Part, flags: dict[str, Any], seed: int
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yields every cell with the work that measures it."""

    @lru_cache(maxsize=1)  # the strategies of one damage follow each other
    def damaged(name: str, severity: float, draw: int) -> Damaged:
        own = name in _VARIANTS
        damage = _VARIANTS[name]() if own else make_damage(name, part.stored_in)
        return replace(damaged_by(subject, damage, severity, draw, flags), kind=name)

    def repair(name: str, severity: float, draw: int, strategy: str) -> dict[str, Any]:
        hurt = damaged(name, severity, draw)
        return repaired(subject, hurt, strategy, part.effort, draw, flags)[1]

    draws = range(seed, seed + part.draws)
    for kind, draw in product(("none", "scratch"), draws):
        yield f"{kind} {draw}", partial(control, subject, kind, part.effort, draw, flags)
    for name, severities in part.damages.items():
        ways = part.for_data if name in DATA_DAMAGES else part.strategies
        for severity, draw, way in product(severities, draws, ("nothing", *ways)):
            yield f"{name} {severity:g} {draw} {way}", partial(repair, name, severity, draw, way)


def _known(file: Path) -> dict[str, dict[str, Any]]:
    """The cells on disk; a line that a kill cut off is measured again."""
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith("}\n")]
    return {row["cell"]: row for row in rows}


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        disable=bool(getattr(rank_zero_only, "rank", 0)),
    )  # fmt: skip


def _subjects(
    plan: Atlas,
    model: str | Classifier | None,
    data: ImageDataModule | None,
    arch: str | None,
    places: Path | None,
    root: Path,
    flags: dict[str, Any],
) -> Iterator[tuple[Subject, Part]]:
    """The models of the plan with what is done to them; a missing one is left out and said so."""
    if model is not None and data is not None:
        part = plan.parts["lenet"]
        classifier = classifier_for(model, data, arch, False).eval()
        label = f"{classifier.architecture.rpartition(':')[2]}/{data.name}"
        yield make_subject(classifier, data, part.stored_in, part.judged, label), part
        return
    if "lenet" in plan.parts:
        part, mnist = plan.parts["lenet"], MNIST(root=places, batch_size=128)
        lenet = _lenet(mnist, root, flags)
        yield make_subject(lenet, mnist, part.stored_in, part.judged, "LeNet/MNIST"), part
    if "cifar_resnet20" in plan.parts:
        part, cifar = (
            plan.parts["cifar_resnet20"],
            CIFAR10(places and places / "cifar10", batch_size=128),
        )
        weights = (places or cifar.root.parent) / "weights" / "resnet20-12fca82f.th"
        if not weights.is_file():
            rank_zero_only(print)(
                f"ResNet-20 is left out: there are no weights in {str(weights)!r}."
            )
            return
        source = f"checkpoint:{weights}"
        resnet = classifier_for(source, cifar, "cifar_resnet20", False).eval()
        yield make_subject(resnet, cifar, part.stored_in, part.judged, "ResNet-20/CIFAR-10"), part


def _lenet(data: MNIST, root: Path, flags: dict[str, Any]) -> Classifier:
    """A LeNet trained for a thousand steps, once; kept with the checkpoints."""
    folder = root / "mlruns" / "checkpoints" / "atlas-lenet"
    if (folder / "model.safetensors").is_file():
        return classifier_for(f"checkpoint:{folder}", data, None, False).eval()
    classifier = classifier_for("lenet", data, None, False).train()
    rank_zero_only(print)("training LeNet on MNIST, 1,000 steps ...")
    quiet = {
        **flags, "max_steps": 1000, "max_epochs": -1, "logger": False, "limit_val_batches": 0,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    made_trainer(quiet, []).fit(FineTuning(classifier, Tuning()), data)
    if not getattr(rank_zero_only, "rank", 0):
        save_classifier(classifier, folder)
    return classifier.eval()
