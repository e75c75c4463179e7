"""What is told of a transfer: the table in the terminal, and each model's files."""

from datetime import datetime
from pathlib import Path

import rich.box
import torch
from rich.table import Table

from callbacks.statistics import Interval
from callbacks.words import rate_with_ends
from pipelines.arguments import typed_command
from pipelines.transfer.log import save_figures, save_tables
from pipelines.transfer.page import write_passport
from pipelines.transfer.result import Matrix
from pipelines.transfer.tasks import Model
from pipelines.transfer.work import Work


def written(matrix: Matrix, model: Model, work: Work, folder: Path) -> Path:
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


def summary(matrix: Matrix) -> Table:
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
