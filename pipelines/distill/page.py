"""The audit in the terminal, as one self-contained page, and in MLflow."""

from pathlib import Path
from typing import Any

import jinja2
import rich.box
from rich.table import Table

from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import DASH, ends, number, percent, radius, rate_with_ends
from pipelines.distill.figures import audit_figures
from pipelines.distill.result import Audit
from pipelines.distill.verdict import verdict
from pipelines.report.figures import as_svg, save_png
from pipelines.report.terminal import plain_console
from pipelines.tracking.run import Run

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"
_HEADINGS = (
    "model", "MB", "MACs", "accuracy %", "kept %", "robust %", "agree %", "KL", "flips %",
)  # fmt: skip


def write_audit(audit: Audit, folder: Path) -> Path:
    """Writes rows, tables, figures and `report.html` and returns the folder."""
    audit.save(folder)
    figures = audit_figures(audit)
    for name, figure in figures.items():
        save_png(figure, folder / "figures" / f"{name}.png")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "number": number, "amount": amount}
    page = environment.get_template("distill.html.jinja").render(
        audit=audit,
        verdict=verdict(audit),
        style=_STYLE.read_text(encoding="utf-8"),
        figures={name: as_svg(figure, name) for name, figure in figures.items()},
        lines=records(audit.table),
        paired=records(audit.paired),
        ends=ends,
        radius=radius,
        batch=audit.teacher.footprint.batch,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder


def print_audit(audit: Audit) -> None:
    """Prints one line a model, then the verdict."""
    terminal = plain_console()
    table = Table(
        title=f"{audit.recipe} on {audit.data['name']}, "
        f"{audit.data['splits']['test']['samples']:,} test images",
        caption="in brackets: 95 % interval over images, and over seeds where there are several"
        + (f"; robust at {audit.ball}" if audit.ball else ""),
        title_justify="left", caption_justify="left",
        box=rich.box.SIMPLE_HEAD if terminal.is_terminal else rich.box.ASCII2,
    )  # fmt: skip
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for line in records(audit.table):
        table.add_row(*_cells(line))
    terminal.print(table)
    for sentence in verdict(audit):
        terminal.print(sentence, highlight=False)
    for note in audit.notes:
        terminal.print(f"Note: {note}", highlight=False)


def log_audit(run: Run, audit: Audit, folder: Path) -> None:
    """Logs the numbers, the verdict as the run's description, and the files."""
    tags = {"mlflow.note.content": "\n\n".join(verdict(audit))}
    run.log_batch(audit.metrics(), {"distillation": audit.recipe}, tags)
    run.log_folder(folder)


def amount(value: float) -> str:
    """A large number in short: 12.8k, 1.9G."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.0f}"


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    def found(column: str) -> Interval:
        return Interval(*(line[column + end] for end in ("", "_low", "_high")))

    teacher = line["kind"] == "teacher"
    return (
        line["model"],
        f"{line['bytes'] / 1e6:.3g}",
        amount(line["macs"]),
        rate_with_ends(found("acc")),
        DASH if teacher else percent(line["kept"]),
        rate_with_ends(found("robust")),
        DASH if teacher else percent(line["agreement"]),
        DASH if teacher else number(line["kl"]),
        DASH if teacher else percent(line["flips"], 2),
    )
