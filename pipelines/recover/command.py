"""`assay recover`: evaluate, damage, evaluate, repair, evaluate; what came back, at what cost."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only

from callbacks.damage import Damage
from callbacks.shards import fingerprint
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.black_box import require_layers
from pipelines.arguments import parse, typed_command
from pipelines.evaluate.command import classifier_for, evaluate, opened, pipeline_run
from pipelines.recover.atlas import ATLASES, draw_atlas
from pipelines.recover.cell import control, repaired
from pipelines.recover.injecting import silent_error_rate
from pipelines.recover.page import log_recovery, print_recovery, write_recovery
from pipelines.recover.patient import Effort
from pipelines.recover.strategies import STRATEGIES, checked_strategies
from pipelines.recover.subject import (
    Subject,
    TrainingData,
    damaged_by,
    make_damage,
    make_subject,
)
from pipelines.recover.table import summarised
from pipelines.tracking import Tracking, TrackingError
from pipelines.tracking.run import Run
from pipelines.trainer import device_flags

TRAINER: dict[str, Any] = {"enable_model_summary": False}


def main(words: list[str]) -> int:
    """Runs the command line."""
    recover(**parse(recover, words, TRAINER))
    return 0


def recover(
    model: str | Classifier | None = None,
    data: ImageDataModule | None = None,
    damage: str = "zero",
    severities: list[float] | None = None,
    strategies: list[str] | None = None,
    draws: int = 3,
    effort: Effort = Effort(),  # noqa: B008  (frozen)
    stored_in: Literal["float32", "float16", "bfloat16", "int8", "int4"] = "float32",
    layers: list[str] | None = None,
    recipes: list[str] | None = None,
    trainings: int = 1,
    inject_until: float | None = None,
    judged: int = 2000,
    atlas: Literal["none", "quick", "small"] = "none",
    atlas_root: Path | None = None,
    probes: list[Any] | None = None,
    arch: str | None = None,
    seed: int = 0,
    chunk: int = 128,
    trust_pickle: bool = False,
    tracking: Tracking = Tracking(),  # noqa: B008  (frozen)
    root: Path = Path(),
    trainer: dict[str, Any] | None = None,
    config: str = "",
) -> pd.DataFrame:
    """Damages a model, repairs it in several ways, and measures what came back at what cost.

    Args:
        model: where it comes from; see `assay list models`. The atlas has models of its own.
        data: what it is repaired with and tested on; see `assay list data`.
        damage: see `assay list damages`.
        severities: in the unit of the damage; default: its usual ones.
        strategies: see `assay list strategies`; default: all that apply to the damage.
        draws: random variants of each damage, each with a training seed of its own.
        effort: steps, images and recipe that a repair may spend.
        stored_in: number format of the weights; the model is rounded to it first.
        layers: damage only these modules.
        recipes: optimizers with learning rates, e.g. [adamw:0.003, sgd:0.03]; default: effort's.
        trainings: training seeds of every draw.
        inject_until: also tell the rate of silent errors, to this half-width, e.g. 0.05.
        judged: test images that judge the table of repairs; the runs use all of them.
        atlas: instead: many damages, repairs and severities on MNIST's LeNet and CIFAR's ResNet-20.
        atlas_root: folder with MNIST, cifar10 and weights/resnet20-12fca82f.th; default: the cache.
        probes: of the evaluations before and after; default: clean images.
        arch: architecture of a bare checkpoint.
        seed: of everything random.
        chunk: images in every model call.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.

    Returns:
        One row for every draw, severity and strategy, controls included.
    """
    flags = device_flags(trainer or {})
    if atlas != "none":
        return draw_atlas(
            ATLASES[atlas], model, data, arch, atlas_root, root, tracking, flags, seed, config
        )
    if model is None or data is None:
        raise UserError("Expected --model and --data (or --atlas quick): what is to be damaged?")
    chosen = checked_strategies(strategies)
    efforts = [effort.by(recipe) for recipe in recipes] if recipes else [effort]
    hurting = make_damage(damage, stored_in, tuple(layers or ()))
    L.seed_everything(seed, verbose=False)
    classifier = classifier_for(model, data, arch, trust_pickle).eval()
    require_layers(classifier, "Recovery")
    classifier.chunk = chunk
    label = f"{classifier.architecture.rpartition(':')[2]}/{data.name}"
    subject = make_subject(classifier, data, stored_in, judged, label)
    store, problem = opened(tracking, root)
    name = f"{classifier.architecture.rpartition(':')[2]}-{data.name}-{damage}-s{seed}"
    tags = {"model": classifier.source, "data": data.name, "question": "recoverability"}
    same: dict[str, Any] = {
        "data": data, "probes": probes or ["clean"], "seed": seed, "chunk": chunk,
        "tracking": tracking, "root": root, "trainer": flags, "config": config,
    }  # fmt: skip
    key = fingerprint({"run": f"recover-{name}", "command": config})
    keep, board = root / "mlruns" / "resume" / "runs" / f"{key}.json", tracking.board(root)
    with pipeline_run(store, f"recover-{name}", tags, None, keep, board) as above:
        evaluate(subject.stored.original, parent=above, stage="original", **same)
        severities = severities or list(hurting.severities)
        if inject_until is not None:
            _tell_silent_errors(subject, hurting, severities, inject_until, seed, above)
        rows = [
            *(
                control(subject, kind, effort, seed + draw, flags)
                for draw in range(draws)
                for kind in ("none", "scratch")
            ),
            *_repaired(
                subject, hurting, severities, chosen, draws, efforts, trainings, above, same, seed
            ),
        ]
        table = pd.DataFrame(rows)
        if not getattr(rank_zero_only, "rank", 0):
            folder = root / "mlruns" / "recoveries" / name
            lines = summarised(table)
            write_recovery(
                table, lines, folder, title=f"{damage} on {name}", command=typed_command()
            )
            print_recovery(lines)
            log_recovery(above, lines, folder)
            print(f"\nreport   {folder / 'report.html'}")
            if problem:
                raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
            if store:
                print(f"MLflow   {store.link}")
    return table


def _repaired(
    subject: Subject,
    damage: Damage | TrainingData,
    severities: Sequence[float],
    strategies: Sequence[str],
    draws: int,
    efforts: Sequence[Effort],
    trainings: int,
    above: Run,
    same: dict[str, Any],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Yields the rows; the first draw of every severity is evaluated in runs of its own."""
    for severity in severities:
        for draw in range(draws):
            hurt = damaged_by(subject, damage, severity, seed + draw, same["trainer"])
            at = f"{damage.name} {severity:g}"
            if draw == 0:
                evaluate(hurt.classifier, parent=above, stage=f"damaged {at}", **same)
            for name, effort, training in _ways(strategies, efforts, trainings):
                again = seed + draw + 1000 * training
                classifier, row = repaired(subject, hurt, name, effort, again, same["trainer"])
                first = draw == training == 0 and effort is efforts[0] and name != "nothing"
                if first and row["status"] == "ok":
                    stage = f"repaired {at} {name}"
                    evaluate(classifier, parent=above, stage=stage, **same)
                    _log_curve(above.children[stage], row)
                rank_zero_only(print)(_line(row), flush=True)
                yield row


def _ways(
    strategies: Sequence[str], efforts: Sequence[Effort], trainings: int
) -> Iterator[tuple[str, Effort, int]]:
    """Every strategy; those that train under every recipe and training seed."""
    for name in strategies:
        trains = STRATEGIES[name].trains
        for effort in efforts if trains else efforts[:1]:
            for training in range(trainings if trains else 1):
                yield name, effort, training


def _tell_silent_errors(
    subject: Subject,
    damage: Damage | TrainingData,
    severities: Sequence[float],
    error: float,
    seed: int,
    run: Run,
) -> None:
    """Prints and logs how often one injection silently changes one answer."""
    metrics = []
    for i, severity in enumerate(severities):
        found = silent_error_rate(subject, damage, severity, error, seed)
        rank_zero_only(print)(
            f"{damage.name} {severity:g}: {100 * found['sdc']:.1f} % silent errors "
            f"[{100 * found['sdc_low']:.1f}, {100 * found['sdc_high']:.1f}] after "
            f"{found['injections']} injections (a fixed sample would take {found['needed']:,})"
        )
        names = ("sdc", "sdc_low", "sdc_high", "injections")
        metrics += [(f"recovery/{damage.name}_{name}", float(found[name]), i + 1) for name in names]
    run.log_batch(metrics)


def _line(row: dict[str, Any]) -> str:
    hurt, back = 100 * row["acc_damaged"], 100 * row["acc_repaired"]
    if row["status"] != "ok":
        return f"{row['damage']} {row['severity']:g}  {row['strategy']}: {row['status']}"
    return f"{row['damage']} {row['severity']:g}  {row['strategy']}: {hurt:.1f} -> {back:.1f} %"


def _log_curve(run: Run, row: dict[str, Any]) -> None:
    """The accuracy on the way back, over optimizer steps."""
    points = [("recovery/acc", one["acc"], int(one["step"])) for one in json.loads(row["curve"])]
    run.log_batch(points)
