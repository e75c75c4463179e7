"""The summary in the terminal."""

import sys

from rich.console import Console
from rich.table import Table

from pipelines.evaluation import Evaluation


def print_summary(evaluation: Evaluation) -> None:
    """Prints one line a probe and setting, with intervals and what it cost."""
    # Wide enough for the table where there is no terminal to ask.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100)
    model, data = evaluation.model, evaluation.data
    table = Table(
        title=f"{model['name']} on {data['name']}, {data['splits']['test']['samples']:,} test images",
        caption="in brackets: 95 % interval over images",
        title_justify="left",
        caption_justify="left",
    )
    for heading in (
        "probe",
        "severity",
        "images",
        "accuracy %",
        "worst loss",
        "ECE",
        "forwards/image",
    ):
        table.add_column(heading, justify="left" if heading == "probe" else "right")
    for result in evaluation.results:
        for line in result.table.to_dict("records"):
            rows = result.rows[result.rows["value"] == line["value"]]
            table.add_row(
                result.title,
                f"{line['value']:.4g}" if line["value"] else "",
                f"{line['n']:,}",
                f"{100 * line['acc']:.1f} [{100 * line['acc_low']:.1f}, {100 * line['acc_high']:.1f}]",
                "" if line["worst_loss"] != line["worst_loss"] else f"{line['worst_loss']:.3f}",
                f"{line['ece']:.3f}",
                f"{rows['forwards'].mean():.1f}",
            )
        table.add_section()
    console.print(table)
    for note in evaluation.notes:
        console.print(f"  {note}", highlight=False)
