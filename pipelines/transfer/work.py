"""Everything that the cells of one command share, and how they are measured one by one."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from callbacks.transfer import predicted_transfer
from datamodules.errors import UserError
from datamodules.fractions import Fraction, held_out
from datamodules.splits import limited
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.trainer import made_trainer
from pipelines.transfer.cell import Cell, Outcome, cell_key, measured
from pipelines.transfer.plan import Planned, duration, planned
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.result import Matrix
from pipelines.transfer.source import Source
from pipelines.transfer.subject import Subject, subject
from pipelines.transfer.tasks import Model, Task
from pipelines.transfer.training import seconds_an_image

_SCORED = 5000
"""Samples that scores are computed on, at most: neighbours cost the square."""
_SOURCE = (2000, 1000)
"""Images of the source data that forgetting is measured with: labelled and test."""


class Work:
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

    def plan(self, cells: Sequence[Cell]) -> list[Planned]:
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


def measured_cells(work: Work, plan: Sequence[Planned], console: Console) -> list[Outcome]:
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
