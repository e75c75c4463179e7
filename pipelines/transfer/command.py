"""`assay transfer`: which model, tuned how, for which data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console

from callbacks import PROBES
from callbacks.shards import fingerprint
from datamodules.errors import UserError, suggestion
from datamodules.fractions import Fraction
from lightning_modules import Tuning
from pipelines.arguments import parse
from pipelines.evaluate.command import opened, pipeline_run
from pipelines.tracking import Tracking, TrackingError, started
from pipelines.transfer.log import log_model_run, metrics_of, save_tables
from pipelines.transfer.plan import cells_of, plan_table
from pipelines.transfer.recipe import Recipe, checked_modes
from pipelines.transfer.result import Matrix
from pipelines.transfer.summary import summary, written
from pipelines.transfer.tasks import made_models, made_tasks
from pipelines.transfer.work import Work, measured_cells

TRAINER: dict[str, Any] = {"max_epochs": 10}
_LISTS = ("--models", "--data", "--modes", "--seeds", "--fractions", "--arch", "--sources")


def main(words: list[str]) -> int:
    """Runs the command line; 1 where no cell succeeded."""
    matrix = transfer(**parse(transfer, listed(words), TRAINER))
    return int(matrix is not None and len(matrix.failed) == len(matrix.outcomes))


def listed(words: Sequence[str]) -> list[str]:
    """Joins the words after a flag that takes several: `--models A B` to `--models=["A", "B"]`."""
    made: list[str] = []
    flag, values = "", []

    def close() -> None:
        if flag:
            numbers = flag == "--seeds" and all(v.isdecimal() for v in values)
            made.append(f"{flag}={json.dumps([int(v) for v in values] if numbers else values)}")

    for word in words:
        if word.startswith("--"):
            close()
            flag, values = (word, []) if word in _LISTS else ("", [])
            made += [] if flag else [word]
        elif flag:
            values.append(word)
        else:
            made.append(word)
    close()
    return made


def transfer(
    models: list[str],
    data: list[str],
    modes: list[str] = ["probe"],  # noqa: B006  (never changed)
    seeds: list[int] = [0],  # noqa: B006
    fractions: list[str] = ["all"],  # noqa: B006
    sources: list[str] | None = None,
    arch: list[str] | None = None,
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    batch_size: int = 64,
    min_steps: int = 200,
    last_k: int = 1,
    alpha: float = 0.1,
    probes: list[Any] | None = None,
    limit: int | None = None,
    plan_only: bool = False,
    fresh: bool = False,
    trust_pickle: bool = False,
    tracking: Tracking = Tracking(),  # noqa: B008  (frozen)
    root: Path = Path(),
    trainer: dict[str, Any] | None = None,
    config: str = "",
) -> Matrix | None:
    """Moves models to data sets in several modes, and measures what is gained, lost and moved.

    Args:
        models: where they come from, e.g. torchvision:resnet18 checkpoint:FILE.
        data: names with an optional folder, e.g. MNIST CIFAR10:FOLDER ImageFolder:FOLDER.
        modes: probe, last_k, staged, l2_sp, full; untouched is always measured.
        seeds: of heads, choices and orders.
        fractions: of the labelled images: 5/class, 1000, all; 20 % of them select.
        sources: data set each model was trained on, or none: for what it forgets.
        arch: architecture of bare checkpoints: one for all, or one a model.
        tuning: the recipe of the modes that train the backbone.
        batch_size: images in a training step.
        min_steps: of a training; a few images are seen in as many epochs more.
        last_k: blocks that last_k trains besides the head.
        alpha: pull of l2_sp to where the weights started.
        probes: names, see `assay list probes`: robustness of every finished model, e.g. fgsm.
        limit: test images of each data set; default: all.
        plan_only: print the plan and stop.
        fresh: measure again what earlier runs of this folder have measured.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the runs.

    Returns:
        All cells and tables; None where only the plan was asked for.

    Raises:
        UserError: something the user can mend.
    """
    L.seed_everything(seeds[0] if seeds else 0, verbose=False)
    flags = {**TRAINER, **(trainer or {})}
    epochs = int(flags.pop("max_epochs") or 10)
    recipe = Recipe(
        tuning, epochs, min_steps, batch_size, last_k, alpha, _probe_names(probes), flags
    )
    chosen, parts = checked_modes(modes), [Fraction(text) for text in fractions]
    if not (models and data and seeds and parts):
        raise UserError("Expected at least one of --models, --data, --seeds and --fractions each.")
    tasks = made_tasks(data)
    loaded = made_models(models, tasks, arch, sources, trust_pickle)
    work = Work(loaded, tasks, parts, seeds, recipe, root.resolve(), limit, fresh)
    console = Console(width=None if Console().is_terminal else 128)
    cells = cells_of([m.name for m in loaded], [t.name for t in tasks], chosen, fractions, seeds)
    plan = work.plan(cells)
    for note in work.notes():
        console.print(note, highlight=False)
    console.print(plan_table(plan))
    if plan_only:
        return None
    key = fingerprint({"cells": [one.key for one in plan]})[:8]
    name = f"{'-'.join(model.name for model in loaded)[:40]}-{key}"
    folder = work.root / "mlruns" / "transfers" / name
    store, problem = opened(tracking, root)
    keep = work.root / "mlruns" / "resume" / "runs" / f"transfer-{name}.json"
    tags = {"question": "variability", "data": " ".join(t.name for t in tasks)}
    with pipeline_run(store, f"transfer-{name}", tags, None, keep, tracking.board(root)) as parent:
        outcomes = measured_cells(work, plan, console)
        matrix = work.matrix(outcomes)
        save_tables(matrix, folder)
        (folder / "config.yaml").write_text(config)
        for model in loaded:
            place = folder / model.name
            page = written(matrix, model, work, place)
            params = {"model.source": model.classifier.source, "data": tags["data"]}
            about = {**tags, "model": model.name}
            with started(store, f"variability-{model.name}", about, parent) as run:
                log_model_run(run, matrix, model.name, place, params, recipe)
            parent.log_batch(
                [
                    (f"summary/{model.name}_{key.removeprefix('summary/')}", value, step)
                    for key, value, step in metrics_of(matrix, model.name)
                    if key.startswith("summary/")
                ]
            )
            console.print(f"passport {page}", highlight=False, soft_wrap=True)
        for task in tasks:
            parent.log_data(task.data.manifest(), task.data.manifest_digest(), "test")
        parent.log_folder(folder / "tables")
    console.print(summary(matrix))
    for one in matrix.failed:
        console.print(f"failed   {one.cell}: {one.error}", highlight=False, style="red")
    if problem:
        raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
    if store:
        print(f"MLflow   {store.link}")
    return matrix


def _probe_names(probes: Sequence[Any] | None) -> tuple[str, ...]:
    for name in probes or ():
        if not isinstance(name, str) or name not in PROBES:
            hint = suggestion(str(name), PROBES)
            raise UserError(f"There is no probe {str(name)!r} to name here.{hint}")
    return tuple(probes or ())


__all__ = ["main", "transfer"]
