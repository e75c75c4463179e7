"""Tables, figures and one self-contained page of a recovery or an atlas."""

import math
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import rich.box
from rich.table import Table

from callbacks.results import records
from callbacks.words import DASH, number, percent
from pipelines.recover.figures import names, recovery_figures
from pipelines.recover.strategies import STRATEGIES
from pipelines.recover.table import CONTROLS, groups, recommendations
from pipelines.report.figures import as_svg, save_png
from pipelines.report.terminal import plain_console
from pipelines.tracking.run import Run

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"


def write_recovery(
    rows: pd.DataFrame, lines: pd.DataFrame, folder: Path, title: str, command: str
) -> Path:
    """Writes `rows.parquet`, `tables/*.json`, figures and `report.html`; returns the folder.

    Args:
        rows: as `repaired` makes them.
        lines: of `summarised`.
        folder: made if need be.
        title: of the page.
        command: as typed.
    """
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / "rows.parquet", index=False)
    best = recommendations(lines)
    for name, table in (("recovery", lines), ("recommendations", best)):
        table.to_json(folder / "tables" / f"{name}.json", orient="split", index=False)
    figures = recovery_figures(rows, lines)
    for name, figure in figures.items():
        save_png(figure, folder / "figures" / f"{name}.png")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "number": number, "amount": amount}
    page = environment.get_template("recover.html.jinja").render(
        title=title,
        command=command,
        style=_STYLE.read_text(encoding="utf-8"),
        figures={name: as_svg(figures[name], name) for name in names(list(figures))},
        groups=_groups(lines),
        controls=records(pd.DataFrame(lines[lines["damage"].isin(CONTROLS)])),
        recommendations=records(best),
        strategies=STRATEGIES,
        noisy=bool(lines["in_noise"].any()),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder


def print_recovery(lines: pd.DataFrame) -> None:
    """Prints one line a damage, severity and strategy, then what to do about each damage."""
    terminal = plain_console()
    for key, part in groups(lines, ["subject"]):
        table = Table(
            title=f"{key['subject']}: {percent(part['acc_original'].iloc[0])} % before any damage",
            caption="in brackets: 95 % interval over damage and training seeds",
            title_justify="left", caption_justify="left",
            box=rich.box.SIMPLE_HEAD if terminal.is_terminal else rich.box.ASCII2,
        )  # fmt: skip
        for heading in (
            "damage",
            "repair",
            "damaged %",
            "repaired %",
            "ratio",
            "to 99 %",
            "labels",
            "seconds",
        ):
            table.add_column(
                heading,
                justify="left" if heading in ("damage", "repair") else "right",
                no_wrap=True,
            )
        for line in records(part):
            table.add_row(*_cells(line))
        terminal.print(table)
    best = recommendations(lines)
    for line in records(best):
        terminal.print(
            f"{line['damage']} {line['severity']:g}: {STRATEGIES[line['strategy']].title.lower()} "
            f"({line['why']}) -> {percent(line['acc'])} %", highlight=False,
        )  # fmt: skip


def log_recovery(run: Run, lines: pd.DataFrame, folder: Path | None, curves: bool = True) -> None:
    """Logs accuracies and ratios over severity, one curve a damage and strategy.

    Args:
        run: to log to.
        lines: of `summarised`.
        folder: uploaded, if given.
        curves: also the numbers, not only the files.
    """
    metrics = []
    for line in records(lines) if curves else ():
        stem = f"recovery/{line['damage']}_{line['strategy']}"
        step = _step(lines, line)
        metrics += [
            (f"{stem}_{name}", float(line[name]), step)
            for name in ("acc", "acc_low", "acc_high", "ratio")
            if math.isfinite(line[name])
        ]
    run.log_batch(metrics)
    if folder is not None:
        run.log_folder(folder)


def amount(value: float) -> str:
    """A large number in short: 12.8k, 1.9G."""
    if not math.isfinite(value):
        return DASH
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}{sign}"
    return f"{value:.0f}"


def _step(lines: pd.DataFrame, line: dict[str, Any]) -> int:
    """Counts as they are, shares in per mille; what is smaller is a position in its grid."""
    grid = sorted(set(lines.loc[lines["damage"] == line["damage"], "severity"]))
    if all(value == int(value) for value in grid):
        return int(line["severity"])
    if all(abs(1000 * value - round(1000 * value)) < 1e-9 for value in grid):
        return round(1000 * line["severity"])
    return 1 + grid.index(line["severity"])


def _groups(lines: pd.DataFrame) -> list[tuple[str, list[dict[str, Any]]]]:
    real = pd.DataFrame(lines[~lines["damage"].isin(CONTROLS)])
    return [
        (f"{key['subject']}: {key['damage']} {key['severity']:g}", records(part))
        for key, part in groups(real, ["subject", "damage", "severity"])
    ]


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    name = f"{line['damage']} {line['severity']:g}" if line["damage"] not in CONTROLS else {
        "none": "undamaged, trained on", "scratch": "from scratch"}[line["damage"]]  # fmt: skip
    if line["status"] != "ok":
        return (
            name,
            STRATEGIES[line["strategy"]].title,
            percent(line["acc_damaged"]),
            line["status"].split(":")[0],
            "",
            "",
            "",
            "",
        )
    ratio = "in the noise" if line["in_noise"] else number(line["ratio"], 2)
    ends = (
        f" [{percent(line['acc_low'])}, {percent(line['acc_high'])}]"
        if math.isfinite(line["acc_low"])
        else ""
    )
    return (
        name, STRATEGIES[line["strategy"]].title, percent(line["acc_damaged"]),
        percent(line["acc"]) + ends, "" if line["damage"] in CONTROLS else ratio,
        f"{line['steps_99']:.0f}" if math.isfinite(line["steps_99"]) and line["steps"] else "",
        amount(line["labels"]), number(line["seconds"], 2),
    )  # fmt: skip
