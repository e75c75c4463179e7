"""The parts of a recovery's page and terminal: of rows, their lines and the advice on them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import amount, ends, number, percent
from pipelines.recover.damages import CONTROLS, title_of, unit_of
from pipelines.recover.figures import severity_curves, training_curves
from pipelines.recover.maps import maps
from pipelines.recover.strategies import strategy_named
from pipelines.recover.table import assessed, damages_of, groups, strategy_title
from pipelines.report.sections import Cell, Section, Sheet, change_cell, rate_cell
from pipelines.study import slug

Line = Mapping[str, Any]
Columns = Mapping[str, Callable[[Line], Cell | str]]
"""What a sheet shows of each line, by the heading."""
_SAID = ("reason", "notes")
"""Columns of sentences about a repair."""
_TERMS = {
    "Came back": "Recovery ratio: (repaired - damaged) / (original - damaged) accuracy. 1 is all; "
    "below 0 the repair did harm. In the noise: the damage is smaller than two standard errors, so "
    "there is nothing to divide by.",
    "To 99 %": "Optimizer steps after which the accuracy stays at 99 % of the original's, by the "
    "median draw: one that does not get there takes longer than all that do. A dash where half do "
    "not.",
    "2 of 3": "Draws in which a repair worked. In the others it failed, and the damaged model that "
    "is left counts with its accuracy.",
    "Loss": "Mean cross-entropy in nats; a dash where some answers are no numbers.",
    "Area": "Between the original accuracy and the curve of the training, as a share of what it "
    "would be without recovery: 0 is at once, 1 never.",
    "Negative flips": "Images that were right before the damage and are wrong after the repair "
    "(Yan et al. 2021); positive flips are the other way round. Every answer is in "
    "rows/answers.parquet.",
    "Net": "Points of accuracy above the undamaged model after the same training.",
    "Knows": "What a repair is allowed to know; everything else is refused. Signatures are "
    "checksums, and ranges those of activations, that were stored before the damage; location is "
    "where the damage is; original is a copy of the undamaged weights.",
    "Backdoor %": "Images of other classes that are taken for the backdoor's class when they bear "
    "its trigger.",
    "FLOPs, memory": "Work of the repair, and bytes of tensors that a step of it holds at once.",
    "Stored": "Bits that were put aside before the damage for this repair.",
}


def brief_sheets(lines: pd.DataFrame) -> Iterator[Sheet]:
    """What the terminal prints of each model: one line a damage, severity and repair."""
    caption = (
        "in brackets: 95 % interval over draws of the damage, each with a training of its own; of "
        "one draw, or where all agree, over images"
    )
    for key, part in groups(lines, ["subject"]):
        title = f"{key['subject']}: {percent(part['acc_original'].iloc[0])} % before any damage"
        hidden = part["asr_repaired"].notna().any()  # accuracy does not show a backdoor
        more = _BACKDOOR if hidden else {}
        columns = {**_REPAIR, "damage": _short_damage, **_CAME_BACK, **more, **_SECONDS}
        yield _sheet(columns, records(part), title, caption, on_page=False, in_terminal=True)


def recommended_section(lines: pd.DataFrame, advice: Sequence[Line]) -> Section:
    """The repair to take for each damage, and maps of all."""
    several = lines["subject"].nunique() > 1
    figures = {
        name: figure
        for key, part in groups(lines, ["subject"])
        for name, figure in maps(part, slug(key["subject"]), several).items()
    }
    text = (
        "For each damage the repair that asks for least among those within a point of the best; "
        "restoring everything from a copy is left out. Its points on the next best are paired by "
        "draws of the damage; in colour where that is beyond chance."
    )
    model: Columns = {"model": lambda x: x["subject"]} if several else {}
    sheets = [
        _sheet({**model, **_ADVICE}, advice),
        _sheet({**model, **_SHORT_ADVICE}, advice, on_page=False, in_terminal=True),
    ]
    return Section("What to do", text, figures, sheets=sheets)


def damage_sections(
    rows: pd.DataFrame, lines: pd.DataFrame, advice: Sequence[Line]
) -> Iterator[Section]:
    """Curves of each damage, what came back of it, and what its repairs took."""
    best = {(line["subject"], line["damage"]): line["strategy"] for line in advice}
    for key, part in groups(damages_of(lines), ["subject", "damage"]):
        subject, damage = key["subject"], key["damage"]
        own = assessed(
            pd.DataFrame(rows[(rows["subject"] == subject) & (rows["damage"] == damage)])
        )
        name, classes = f"{slug(subject)}_{damage}", int(own["classes"].iloc[0])
        figures = severity_curves(own, part, best[subject, damage], classes, name)
        why: dict[str, list[str]] = {}
        for line in records(part):
            for text in filter(None, (line[of] for of in _SAID)):
                why.setdefault(text, []).append(strategy_title(line))
        told = {text: ", ".join(dict.fromkeys(names)) for text, names in why.items()}
        hidden = _BACKDOOR if part["asr_repaired"].notna().any() else {}
        reasons = " ".join(f"{names}: {text}" for text, names in told.items())
        sheets = [
            _sheet({**_OUTCOME, **hidden}, records(part), "What came back", reasons),
            _sheet(_COST, records(part), "What it took"),
        ]
        text = (
            f"Severity: {unit_of(damage)}. Lines are means over draws of the damage, bands their "
            "95 % intervals (of one draw: over images), thin lines single draws."
        )
        of = f" ({subject})" if lines["subject"].nunique() > 1 else ""
        figures |= training_curves(own, name)
        yield Section(f"{title_of(damage)}{of}", text, figures, sheets=sheets)


def control_section(lines: pd.DataFrame) -> Section:
    """What the same training does without any damage, and from scratch."""
    text = (
        "Trained exactly as the repairs, without any damage and from scratch. The third control, "
        "to do nothing, stands with every damage."
    )
    controls = records(pd.DataFrame(lines[lines["damage"].isin(CONTROLS)]))
    return Section("Controls", text, sheets=[_sheet(_CONTROL, controls)], terms=_TERMS)


def silent_error_section(table: pd.DataFrame) -> Section:
    """How often one injection silently changes one answer."""
    text = (
        "How often one damage, drawn anew each time, changes the answer to one image without any "
        "sign of it, injected until the interval is narrow enough; a fixed sample would take more "
        "(Leveugle et al. 2009)."
    )
    sheet = _sheet(_SILENT_ERRORS, records(table), in_terminal=True)
    return Section("Silent errors", text, sheets=[sheet])


def comparison_section(differences: pd.DataFrame, notes: Sequence[str]) -> Section:
    """Two models after the same repairs; the notes say what was left out."""
    sheets = [_sheet(_DIFFERENCE, records(differences), in_terminal=True)]
    text = (
        "Accuracy after the same repair of the first and of the second, and the "
        "difference with its interval over draws."
    )
    if differences.empty:
        sheets, text = [], ""
    return Section("Repair by repair", text, sheets=sheets, notes=notes)


def _sheet(
    columns: Columns, lines: Sequence[Line], title: str = "", caption: str = "", **options: Any
) -> Sheet:
    """Lays lines out; of a failed repair only names and what became of it are shown."""
    table = [[show(line) for show in columns.values()] for line in lines]
    for cells, line in zip(table, lines, strict=True):
        if line.get("status", "ok") != "ok":
            cells[2:] = [line["status"].partition(":")[0], *[""] * (len(columns) - 3)]
    marks = {i for i, cells in enumerate(table) if i and cells[0] != table[i - 1][0]}
    marks = marks if len(marks) < len(table) - 1 else set()  # a group a line is none
    return Sheet([*columns], table, title, caption, groups=frozenset(marks), **options)


def _damage(line: Line, title: Callable[[str], str] = title_of) -> str:
    name = {"none": "undamaged", "scratch": "from scratch"}.get(line["damage"])
    return name or f"{title(line['damage'])} {line['severity']:g}"


def _short_damage(line: Line) -> str:
    """By its name on the command line: a terminal is narrow."""
    return _damage(line, title=str)


def _repair(line: Line) -> Cell:
    return Cell(strategy_title(line), _worked(line))


def _worked(line: Line) -> str:
    """`2 of 3` where a repair failed in some draws."""
    draws, failed = line.get("draws", 1), line.get("failed", 0)
    return f"{draws - failed} of {draws}" if 0 < failed < draws else ""


def _accuracy(line: Line) -> Cell:
    return rate_cell(line["acc"], line["acc_low"], line["acc_high"])


def _loss(line: Line) -> Cell:
    return Cell(number(line["loss"], 2), ends(line["loss_low"], line["loss_high"], 1, 2))


def _ratio(line: Line) -> Cell:
    if line["in_noise"] or line["damage"] in CONTROLS:
        return Cell("" if line["damage"] in CONTROLS else "in the noise")
    return Cell(number(line["ratio"], 2), ends(line["ratio_low"], line["ratio_high"], 1, 2))


def _gain(line: Line) -> Cell:
    if not line["rival"]:
        return Cell("")
    return change_cell(Interval(*(line[f"gain{end}"] for end in ("", "_low", "_high"))))


def _gain_on(line: Line) -> Cell:
    """With the rival's name, where no other column says it."""
    points, rival = _gain(line), f"on {line['rival']}" if line["rival"] else ""
    return replace(points, small=", ".join(filter(None, (points.small, rival))))


def _steps(*levels: int) -> Callable[[Line], Cell]:
    """Steps to some shares of the original accuracy; nothing where nothing was trained."""

    def shown(line: Line) -> Cell:
        if not line["steps"]:
            return Cell("")
        text = " / ".join(number(line[f"steps_{q}"], 0) for q in levels)
        reached = [line[f"reached_{q}"] for q in levels]
        some = any(0 < n < line["draws"] for n in reached)
        of = f"{' / '.join(map(str, reached))} of {line['draws']}"
        return Cell(text, of if some else "")

    return shown


def _flips(sign: str) -> Callable[[Line], Cell]:
    name = f"{sign}_flips"
    return lambda x: rate_cell(x[name], x[f"{name}_low"], x[f"{name}_high"])


def _backdoor(line: Line) -> Cell:
    if math.isnan(line["asr_repaired"]):
        return Cell("")
    ends = (line[f"asr_repaired_{end}"] for end in ("low", "high"))
    return rate_cell(line["asr_repaired"], *ends)


def _amount(name: str) -> Callable[[Line], str]:
    return lambda x: amount(x[name])


_REPAIR: Columns = {"damage": _damage, "repair": _repair}
_SEVERITY: Columns = {
    "severity": lambda x: f"{x['severity']:g}",
    "repair": lambda x: Cell(
        strategy_named(x["strategy"]).title, ", ".join(filter(None, (x["optimizer"], _worked(x))))
    ),
}
_CAME_BACK: Columns = {"accuracy %": _accuracy, "came back": _ratio}
_LOSS: Columns = {"loss": _loss}
_SECONDS: Columns = {"seconds": lambda x: number(x["seconds"], 2)}
_BACKDOOR: Columns = {"backdoor %": _backdoor}
_GAIN: Columns = {"points on the next best": _gain}
_SHORT_ADVICE: Columns = {
    "damage": _short_damage, "repair": _repair, "came back": _ratio,
    "points on the next best": _gain_on,
}  # fmt: skip
_ADVICE: Columns = {**_REPAIR, **_CAME_BACK, **_LOSS, **_GAIN, "why": lambda x: x["why"]}
_OUTCOME: Columns = {
    **_SEVERITY, **_CAME_BACK, **_LOSS,
    "steps to 90 / 95 / 99 %": _steps(90, 95, 99),
    "area": lambda x: number(x["area"], 2), "negative flips %": _flips("negative"),
    "positive flips %": _flips("positive"),
    "net": lambda x: number(100 * x["net"], 1),
}  # fmt: skip
_COST: Columns = {
    **_SEVERITY, "knows": lambda x: ", ".join(sorted(strategy_named(x["strategy"]).knows)),
    **_SECONDS, "steps": _amount("steps"), "labels": _amount("labels"),
    "images": _amount("images"), "FLOPs": _amount("flops"), "memory": _amount("memory"),
    "stored": _amount("storage_bits"),
}  # fmt: skip
_CONTROL: Columns = {
    "model": lambda x: x["subject"], "control": _damage, "recipe": lambda x: x["optimizer"],
    "before %": lambda x: percent(x["acc_damaged"]), "after %": _accuracy,
    "loss before": lambda x: number(x["loss_damaged"], 2), "loss after": _LOSS["loss"],
    "steps": _amount("steps"),
}  # fmt: skip
_DIFFERENCE: Columns = {
    **_REPAIR, "first %": lambda x: percent(x["first"]), "second %": lambda x: percent(x["second"]),
    "points": lambda x: change_cell(Interval(x["difference"], x["low"], x["high"])),
}  # fmt: skip
_SILENT_ERRORS: Columns = {
    "damage": _damage,
    "silent errors %": lambda x: rate_cell(x["sdc"], x["sdc_low"], x["sdc_high"]),
    "injections": lambda x: f"{x['injections']:,}", "fixed sample": lambda x: f"{x['needed']:,}",
}  # fmt: skip
