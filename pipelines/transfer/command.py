"""`assay transfer`: which model, tuned how, for which data."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning as L
import rich.box
import torch
from rich.console import Console
from rich.table import Table

from callbacks import PROBES
from callbacks.shards import fingerprint
from callbacks.statistics import Interval
from callbacks.transfer import predicted_transfer
from datamodules.errors import UserError, suggestion
from datamodules.fractions import Fraction, held_out
from datamodules.splits import limited
from lightning_modules import Tuning
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.arguments import parse, typed_command
from pipelines.evaluate import opened, pipeline_run
from pipelines.report.words import rate_with_ends
from pipelines.tracking import Tracking, TrackingError, started
from pipelines.trainer import made_trainer
from pipelines.transfer.cell import Cell, Outcome, cell_key, measured
from pipelines.transfer.log import log_model_run, metrics_of, save_figures, save_tables
from pipelines.transfer.matrix import Matrix
from pipelines.transfer.passport import write_passport
from pipelines.transfer.plan import cells_of, duration, plan_table, planned
from pipelines.transfer.recipe import Recipe, checked_modes
from pipelines.transfer.source import Source
from pipelines.transfer.subject import Subject, subject
from pipelines.transfer.tasks import Model, Task, made_models, made_tasks
from pipelines.transfer.training import seconds_an_image

TRAINER: dict[str, Any] = {"max_epochs": 10}
_LISTS = ("--models", "--data", "--modes", "--seeds", "--fractions", "--arch", "--sources")
_SCORED = 5000
"""Samples that scores are computed on, at most: neighbours cost the square."""
_SOURCE = (2000, 1000)
"""Images of the source data that forgetting is measured with: labelled and test."""


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
    work = _Work(loaded, tasks, parts, seeds, recipe, root.resolve(), limit, fresh)
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
    with pipeline_run(store, f"transfer-{name}", tags, None, keep) as parent, ExitStack() as stack:
        outcomes = _measured(work, plan, console)
        matrix = work.matrix(outcomes)
        save_tables(matrix, folder)
        (folder / "config.yaml").write_text(config)
        for model in loaded:
            place = folder / model.name
            page = _written(matrix, model, work, place)
            run = stack.enter_context(
                started(store, f"variability-{model.name}", {**tags, "model": model.name}, parent)
            )
            params = {"model.source": model.classifier.source, "data": tags["data"]}
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
    console.print(_summary(matrix))
    for one in matrix.failed:
        console.print(f"failed   {one.cell}: {one.error}", highlight=False, style="red")
    if problem:
        raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
    if store:
        print(f"MLflow   {store.link}")
    return matrix


class _Work:
    """Everything that the cells of one command share.

    Args:
        models: loaded.
        tasks: data sets.
        fractions: of labelled images.
        seeds: of everything random.
        recipe: of all cells.
        root: folder that holds `mlruns/`.
        limit: test images.
        fresh: measure known cells again.
    """

    def __init__(
        self,
        models: Sequence[Model],
        tasks: Sequence[Task],
        fractions: Sequence[Fraction],
        seeds: Sequence[int],
        recipe: Recipe,
        root: Path,
        limit: int | None,
        fresh: bool,
    ) -> None:
        self.models, self.tasks, self.recipe, self.root = models, tasks, recipe, root
        self.fresh = fresh
        quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        made = made_trainer({**recipe.flags, **quiet, "enable_progress_bar": False}, [])
        if made.world_size > 1:
            raise UserError(
                "Expected `trainer.devices` 1: cells are small. Start one command a device, each "
                "with its own --models; what one has measured the others know."
            )
        folder = root / "mlruns" / "features"
        device = made.strategy.root_device
        self.subjects: dict[tuple[str, str], Subject] = {
            (m.name, t.name): subject(
                m, t, fractions, seeds, device, folder, limit, recipe.batch_size
            )
            for m in models
            for t in tasks
        }
        self.sources = {m.name: _source(m, device, folder) for m in models}

    def key(self, cell: Cell) -> str:
        """Of a cell's results."""
        pair = (cell.model, cell.data)
        return cell_key(cell, self.subjects[pair], self.sources[cell.model], self.recipe)

    def file(self, key: str) -> Path:
        """Where a cell's results are."""
        return self.root / "mlruns" / "transfer" / key

    def samples(self, cell: Cell) -> int:
        """Labelled images that a cell learns from."""
        found = self.subjects[cell.model, cell.data]
        return len(found.rows_of(Fraction(cell.fraction), cell.seed))

    def plan(self, cells: Sequence[Cell]) -> list[Any]:
        """Predicts the cells."""
        forward = {pair: seconds_an_image(one) for pair, one in self.subjects.items()}
        return planned(
            cells, self.subjects, self.sources, self.recipe, forward, self.key,
            lambda key: not self.fresh and (self.file(key) / "cell.json").is_file(), self.samples,
        )  # fmt: skip

    def outcome(self, cell: Cell, key: str, known: bool) -> Outcome:
        """Reads or measures a cell; failed ones are not kept, so that they are tried again."""
        if known and (kept := Outcome.load(self.file(key), cell)) is not None:
            return kept
        pair = (cell.model, cell.data)
        made = measured(cell, self.subjects[pair], self.sources[cell.model], self.recipe)
        if made.status == "ok":
            made.save(self.file(key))
        return made

    def matrix(self, outcomes: list[Outcome]) -> Matrix:
        """All tables."""
        return Matrix(
            outcomes,
            {task.name: task.data.classes for task in self.tasks},
            {pair: one.own_head for pair, one in self.subjects.items()},
            {pair: found for pair, one in self.subjects.items() if (found := _scores(one))},
        )

    def notes(self) -> list[str]:
        """What was adapted, pair by pair."""
        return [
            f"note     {model} on {task}: {text}"
            for (model, task), one in self.subjects.items()
            for text in one.notes()
        ]


def _measured(work: _Work, plan: Sequence[Any], console: Console) -> list[Outcome]:
    """Measures cell by cell, each told in one line."""
    outcomes = []
    for i, one in enumerate(plan, 1):
        made = work.outcome(one.cell, one.key, one.known)
        outcomes.append(made)
        if not one.known:
            ok = made.status == "ok"
            said = f"{100 * made.rows['correct'].mean():.1f} %" if ok else f"FAILED {made.error}"
            left = duration(sum(p.seconds for p in plan[i:] if not p.known))
            console.print(
                f"{i:>4}/{len(plan)} {one.cell}: {said}, {made.seconds:.1f} s; {left} left",
                highlight=False,
            )
    return outcomes


def _written(matrix: Matrix, model: Model, work: _Work, folder: Path) -> Path:
    """Writes tables, figures and passport of one model."""
    save_tables(matrix, folder, model.name)
    save_figures(matrix, model.name, folder)
    classifier = model.classifier
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    facts = [
        classifier.source or classifier.architecture,
        f"{parameters:,} parameters",
        f"trained on {model.source.name}" if model.source else "source data not given",
        f"{datetime.now():%Y-%m-%d}",
    ]
    notes = [
        f"{task}: {'; '.join(text.rstrip('.') for text in (*one.notes(), *one.data.notes))}."
        for (name, task), one in work.subjects.items()
        if name == model.name and (one.notes() or one.data.notes)
    ]
    mine = [one for one in matrix.outcomes if one.cell.model == model.name]
    notes += [f"{one.cell}: {text}" for one in mine for text in one.notes if one.status == "ok"]
    recipe = work.recipe
    how = {
        "modes that train": f"{recipe.epochs} epochs, at least {recipe.min_steps} steps, of "
        f"{recipe.batch_size} images, {recipe.tuning.optimizer}, {recipe.tuning.schedule} "
        "schedule; the best epoch is kept",
        "selection": "20 % of the labelled images, at most 2,000; none with one image a class",
        "all together": f"{sum(one.seconds for one in mine):,.0f} s for {len(mine)} cells",
        "environment": f"torch {torch.__version__} on {next(iter(work.subjects.values())).device}",
        "weights": next(s.model_digest for (n, _), s in work.subjects.items() if n == model.name)[
            :16
        ],
    }
    return write_passport(
        matrix, model.name, folder / "passport.html", facts, notes, how, typed_command()
    )


def _scores(one: Subject) -> dict[str, float]:
    """Predicted transfer on labelled images only, and the held-out accuracy of a probe."""
    try:
        rows = limited(one.features.label, _SCORED, 0)
        known = one.features.at(one.features.index[rows])
        found = predicted_transfer(known.feature, known.logits.softmax(1), known.label)
        learn, select = held_out(known.label, 0)
        chosen = (known.feature[select], known.label[select])
        probe = fit_linear_probe(known.feature[learn], known.label[learn], len(one.classes), chosen)
    except Exception:  # as its cells did, which say why
        return {}
    return found | {"probe": probe.accuracy}


def _source(model: Model, device: torch.device, folder: Path) -> Source | None:
    """The model on a part of its source data, where that is known."""
    if model.source is None:
        return None
    few = Fraction(str(max(_SOURCE[0], model.source.data.num_classes)))
    made = subject(model, model.source, [few], [0], device, folder, _SOURCE[1])
    return Source(made)


def _probe_names(probes: Sequence[Any] | None) -> tuple[str, ...]:
    for name in probes or ():
        if not isinstance(name, str) or name not in PROBES:
            hint = suggestion(str(name), PROBES)
            raise UserError(f"There is no probe {str(name)!r} to name here.{hint}")
    return tuple(probes or ())


def _summary(matrix: Matrix) -> Table:
    """Before and after in the terminal."""
    table = Table(
        title="Accuracy % with 95 % interval, and its paired change",
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
    )
    for name in ("model", "data", "mode", "labelled", "accuracy", "change", "against", "macro F1"):
        side = "left" if name in ("model", "data", "mode") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    last = None
    for line in matrix.comparison.to_dict("records"):
        pair = (line["model"], line["data"])
        if last not in (None, pair):
            table.add_section()
        accuracy = Interval(line["acc"], line["acc_low"], line["acc_high"])
        change, against = "", line.get("before")
        if isinstance(against, str):
            low, high = line["change_acc_low"], line["change_acc_high"]
            change = f"{100 * line['change_acc']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        table.add_row(
            *(pair if pair != last else ("", "")),
            line["mode"],
            f"{line['samples']:,}" if line["samples"] else "",
            rate_with_ends(accuracy),
            change,
            against if isinstance(against, str) else "",
            f"{100 * line['f1']:.1f}",
        )
        last = pair
    return table


__all__ = ["main", "transfer"]
