"""The parts of a recovery's page and terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import amount, ends, number, percent
from pipelines.recover.damages import CONTROLS, title_of, unit_of
from pipelines.recover.figures import maps, severity_curves, strategy_title, training_curves
from pipelines.recover.strategies import strategy_named
from pipelines.recover.table import damages_of, groups
from pipelines.report.sections import Cell, Section, Sheet, change_cell, rate_cell
from pipelines.study import slug

_TERMS = {
    "came back": "Recovery ratio: (repaired - damaged) / (original - damaged) accuracy. 1 is all; "
    "below 0 the repair did harm. In the noise: the damage is smaller than two standard errors, so "
    "there is nothing to divide by.",
    "to 99 %": "Optimizer steps after which the accuracy stays at 99 % of the original's; a "
    "dash where it never does.",
    "area": "Between the original accuracy and the curve of the training, as a share of what it "
    "would be without recovery: 0 is at once, 1 never.",
    "negative flips": "Images that were right before the damage and are wrong after the repair.",
    "net": "Points of accuracy above the undamaged model after the same training.",
    "knows": "What a repair is allowed to know; everything else is refused.",
    "FLOPs, memory": "Work of the repair, and bytes of tensors that a step of it holds at once.",
    "stored": "Bits that were put aside before the damage for this repair.",
}
_CONTROLS = {"none": "undamaged", "scratch": "from scratch"}
Line = Mapping[str, Any]


def brief_sheets(lines: pd.DataFrame) -> Iterator[Sheet]:
    """What the terminal prints of each model: one line a damage, severity and repair."""
    columns = ("damage", "repair", "accuracy %", "came back", "to 99 %", "seconds")
    caption = (
        "in brackets: 95 % interval over draws of the damage, each with a training of its own; of "
        "one draw, or where all agree, over images"
    )
    for key, part in groups(lines, ["subject"]):
        title = f"{key['subject']}: {percent(part['acc_original'].iloc[0])} % before any damage"
        table = [[_damage(line), *_brief(line)] for line in records(part)]
        yield Sheet(
            columns, table, title, caption, on_page=False, in_terminal=True, groups=_marks(table)
        )


def recommended_section(lines: pd.DataFrame, advice: Sequence[Line]) -> Section:
    """The repair to take for each damage, and maps of all.

    Args:
        lines: of `summarised`.
        advice: of `recommended`.
    """
    columns = ("model", "damage", "repair", "accuracy %", "came back", "why")
    table = [
        [
            line["subject"],
            _damage(line),
            strategy_title(line),
            _accuracy(line),
            _ratio(line),
            line["why"],
        ]
        for line in advice
    ]
    figures = {
        name: figure
        for key, part in groups(lines, ["subject"])
        for name, figure in maps(part, slug(key["subject"])).items()
    }
    text = (
        "For each damage the repair that asks for least among those within a point of the best; "
        "restoring everything from a copy is left out."
    )
    sheet = Sheet(columns, table, in_terminal=True)
    return Section("What to do", text, figures, sheets=[sheet])


def damage_sections(
    rows: pd.DataFrame, lines: pd.DataFrame, advice: Sequence[Line]
) -> Iterator[Section]:
    """Curves of each damage, what came back of it, and what its repairs took.

    Args:
        rows: as `repaired` makes them.
        lines: of `summarised`.
        advice: of `recommended`.
    """
    best = {(line["subject"], line["damage"]): line["strategy"] for line in advice}
    for key, part in groups(damages_of(lines), ["subject", "damage"]):
        subject, damage = key["subject"], key["damage"]
        own = pd.DataFrame(rows[(rows["subject"] == subject) & (rows["damage"] == damage)])
        name, classes = f"{slug(subject)}_{damage}", int(own["classes"].iloc[0])
        figures = severity_curves(part, best[subject, damage], classes, name)
        outcomes = [[f"{x['severity']:g}", _named(x), *_outcome(x)] for x in records(part)]
        costs = [[f"{x['severity']:g}", _named(x), *_cost(x)] for x in records(part)]
        failed = records(pd.DataFrame(part[part["status"] != "ok"]))
        reasons = " ".join(dict.fromkeys(f"{strategy_title(x)}: {x['status']}" for x in failed))
        came_back = Sheet(
            ("severity", "repair", "accuracy %", "came back", "steps to 90 / 95 / 99 %", "area",
             "negative flips %", "net"),
            outcomes, "What came back", reasons, groups=_marks(outcomes),
        )  # fmt: skip
        took = Sheet(
            ("severity", "repair", "knows", "seconds", "steps", "labels", "images", "FLOPs",
             "memory", "stored"),
            costs, "What it took", groups=_marks(costs),
        )  # fmt: skip
        text = f"Severity: {unit_of(damage)}. The way back is that of the first draw."
        title = f"{title_of(damage)} ({subject})" if lines["subject"].nunique() > 1 else ""
        figures |= training_curves(own, name)
        yield Section(title or title_of(damage), text, figures, sheets=[came_back, took])


def control_section(lines: pd.DataFrame) -> Section:
    """What the same training does without any damage, and from scratch."""
    columns = ("model", "control", "recipe", "before %", "after %", "steps")
    table = [
        [x["subject"], _damage(x), x["optimizer"], percent(x["acc_damaged"]), _accuracy(x),
         number(x["steps"], 0)]
        for x in records(pd.DataFrame(lines[lines["damage"].isin(CONTROLS)]))
    ]  # fmt: skip
    text = (
        "Trained exactly as the repairs, without any damage and from scratch. The third control, "
        "to do nothing, stands with every damage."
    )
    return Section("Controls", text, sheets=[Sheet(columns, table)], terms=_TERMS)


def silent_error_section(table: pd.DataFrame) -> Section:
    """How often one injection silently changes one answer."""
    lines = [
        [_damage(x), rate_cell(x["sdc"], x["sdc_low"], x["sdc_high"]), f"{x['injections']:,}",
         f"{x['needed']:,}"]
        for x in records(table)
    ]  # fmt: skip
    sheet = Sheet(
        ("damage", "silent errors %", "injections", "fixed sample"), lines, in_terminal=True
    )
    text = (
        "How often one damage, drawn anew each time, changes the answer to one image without any "
        "sign of it, injected until the interval is narrow enough; a fixed sample would take more "
        "(Leveugle et al. 2009)."
    )
    return Section("Silent errors", text, sheets=[sheet])


def comparison_section(
    one: str, other: str, differences: pd.DataFrame, notes: Sequence[str]
) -> Section:
    """Two models after the same repairs.

    Args:
        one: title of the first.
        other: title of the second.
        differences: see there.
        notes: what was left out.
    """
    columns = ("damage", "repair", f"{one} %", f"{other} %", "points")
    table = [
        [_damage(x), strategy_title(x), percent(x["one"]), percent(x["other"]),
         change_cell(Interval(x["difference"], x["low"], x["high"]))]
        for x in records(differences)
    ]  # fmt: skip
    sheets = [Sheet(columns, table, in_terminal=True)] if table else []
    text = "Accuracy after the same repair, and the difference with its interval over draws."
    return Section(f"{other} against {one}", text, sheets=sheets, notes=notes)


def _brief(line: Line) -> list[Cell | str]:
    if line["status"] != "ok":
        return [strategy_title(line), line["status"].partition(":")[0], "", "", ""]
    ratio = "" if line["damage"] in CONTROLS else _ratio(line).text
    steps = number(line["steps_99"], 0) if line["steps"] else ""
    return [strategy_title(line), _accuracy(line), ratio, steps, number(line["seconds"], 2)]


def _outcome(line: Line) -> list[Cell | str]:
    if line["status"] != "ok":
        return [line["status"].partition(":")[0], "", "", "", "", ""]
    steps = " / ".join(number(line[f"steps_{level}"], 0) for level in (90, 95, 99))
    success = line["asr_repaired"]
    backdoor = f"backdoor {percent(success)} %" if success == success else ""
    return [
        _accuracy(line), _ratio(line), steps if line["steps"] else "", number(line["area"], 2),
        Cell(percent(line["negative_flips"]), backdoor), number(100 * line["net"], 1),
    ]  # fmt: skip


def _cost(line: Line) -> list[Cell | str]:
    knows = ", ".join(sorted(strategy_named(line["strategy"]).knows))
    counts = ("steps", "labels", "images", "flops", "memory", "storage_bits")
    return [knows, number(line["seconds"], 2), *(amount(line[count]) for count in counts)]


def _damage(line: Line) -> str:
    return _CONTROLS.get(line["damage"]) or f"{line['damage']} {line['severity']:g}"


def _named(line: Line) -> Cell:
    return Cell(strategy_named(line["strategy"]).title, line["optimizer"])


def _accuracy(line: Line) -> Cell:
    return rate_cell(line["acc"], line["acc_low"], line["acc_high"])


def _ratio(line: Line) -> Cell:
    if line["in_noise"]:
        return Cell("in the noise")
    return Cell(number(line["ratio"], 2), ends(line["ratio_low"], line["ratio_high"], 1, 2))


def _marks(table: Sequence[Sequence[Cell | str]]) -> frozenset[int]:
    """Where another damage or severity begins."""
    return frozenset(i for i, line in enumerate(table) if i and line[0] != table[i - 1][0])
