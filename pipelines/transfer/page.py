"""The passport: one self-contained page a model."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from callbacks.transfer import FEATURE_SCORES, PROBABILITY_SCORES
from callbacks.words import ends, number, percent
from pipelines.report.figures import as_svg
from pipelines.transfer.figures import passport_figures
from pipelines.transfer.recipe import MODES
from pipelines.transfer.result import Key, Matrix

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"
_COST = {
    "forgot_old_head": "forgotten, old head",
    "forgot_reprobed": "forgotten, new probe",
    "distance": "distance",
    "cka_last": "CKA, last block",
}
SCORES = (*PROBABILITY_SCORES, *FEATURE_SCORES, "probe")


def write_passport(
    matrix: Matrix,
    model: str,
    file: Path,
    facts: list[str],
    notes: list[str],
    how: dict[str, Any],
    command: str = "",
) -> Path:
    """Writes the page of one model.

    Args:
        matrix: of all models.
        model: name.
        file: to write.
        facts: of the model, for the head of the page.
        notes: what a reader must know.
        how: names and texts, for the end of the page.
        command: as typed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number}
    comparison = matrix.of_model(model, "comparison")
    figures = passport_figures(matrix, model)
    columns = _cost_columns(comparison)
    page = environment.get_template("transfer.html.jinja").render(
        model=model,
        style=_STYLE.read_text(encoding="utf-8"),
        facts=facts,
        notes=notes,
        cards=cards(matrix, model),
        verdict=verdict(matrix, model),
        failed=[one for one in matrix.failed if one.cell.model == model],
        tasks=matrix.tasks,
        heat=heat(matrix, model),
        recommended=matrix.of_model(model, "recommended"),
        figures={name: as_svg(figure, name) for name, figure in figures.items()},
        comparison=comparison,
        columns=columns,
        cost=_costs(comparison, columns),
        predicted=matrix.of_model(model, "predicted"),
        scores=[name for name in SCORES if name in matrix.predicted],
        agreement=_agreement(matrix),
        ranking=_ranking(matrix, model),
        by_class=_by_class(matrix, model),
        ends=ends,
        command=command,
        how=list(how.items()),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, encoding="utf-8")
    return file


def heat(matrix: Matrix, model: str) -> list[dict[str, Any]]:
    """One line a mode and fraction: accuracy on every data set, `failed`, or nothing."""
    planned = dict.fromkeys((one.cell.mode, one.cell.fraction) for one in matrix.outcomes)
    indices = {
        (line["mode"], line["fraction"]): line for line in matrix.of_model(model, "variability")
    }
    failed = {
        (o.cell.data, o.cell.mode, o.cell.fraction) for o in matrix.failed if o.cell.model == model
    }
    table = {
        Key(*(line[f] for f in Key._fields)): line for line in matrix.of_model(model, "comparison")
    }
    lines = []
    for mode, fraction in sorted(planned, key=lambda pair: MODES.index(pair[0])):
        values = [
            table[key]["acc"] if (key := Key(model, task, mode, fraction)) in table
            else "failed" if (task, mode, fraction) in failed else ""
            for task in matrix.tasks
        ]  # fmt: skip
        index = indices.get((mode, fraction), dict.fromkeys(("average", "spread", "worst"), np.nan))
        shown = "" if mode == "untouched" else fraction
        lines.append({"mode": mode, "fraction": shown, "values": values, **_three(index)})
    return lines


def cards(matrix: Matrix, model: str) -> list[dict[str, Any]]:
    """The profile: best mode's mean, worst case and spread, and what was forgotten."""
    lines = [line for line in matrix.of_model(model, "variability") if line["mode"] != "untouched"]
    if not lines:
        return []
    best = max(lines, key=lambda line: line["average"])
    about = f"{best['mode']}, {best['fraction']}, over {best['tasks']} data sets"
    made = [
        _card("Mean accuracy", best["average"], about, (best["average_low"], best["average_high"])),
        _card("Worst data set", best["worst"], f"{best['worst_task']}, {best['mode']}"),
        _card("Spread of data sets", best["spread"], "standard deviation", unit="points"),
    ]
    forgot = [
        line for line in matrix.of_model(model, "comparison")
        if np.isfinite(line.get("forgot_reprobed", np.nan)) and np.isfinite(line["distance"])
    ]  # fmt: skip
    if forgot:
        most = max(forgot, key=lambda line: line["forgot_old_head"])
        about = f"of source accuracy under the old head: {most['mode']} on {most['data']}"
        made.append(_card("Most forgotten", most["forgot_old_head"], about, unit="points"))
    return made


def verdict(matrix: Matrix, model: str) -> list[str]:
    """One or two sentences: what to do with the model, and what that costs."""
    lines = matrix.of_model(model, "recommended")
    if not lines:
        return ["No cell of this model could be measured."]
    last = [line for line in lines if line["fraction"] == matrix.fractions[-1]] or lines
    mean = percent(float(np.mean([line["acc"] for line in last])))
    choice = {
        mode: [line["data"] for line in last if line["mode"] == mode]
        for mode in dict.fromkeys(line["mode"] for line in last)
    }
    named = [
        f"{mode} for {', '.join(tasks) if len(tasks) < 5 else f'{len(tasks)} data sets'}"
        for mode, tasks in choice.items()
    ]
    said = [f"With {_labelled(matrix.fractions[-1])}: {'; '.join(named)}. On average {mean} %."]
    full = [line for line in matrix.of_model(model, "comparison") if line["mode"] == "full"]
    gains = [line["change_acc"] for line in full if np.isfinite(line.get("change_acc", np.nan))]
    if gains:
        said.append(
            f"Full fine-tuning changes accuracy by {100 * min(gains):+.1f} to "
            f"{100 * max(gains):+.1f} points against what is there before it."
        )
    return said


def _labelled(fraction: str) -> str:
    if fraction == "all":
        return "all labelled images"
    each = fraction.removesuffix("/class")
    return f"{each} labelled images" + (" a class" if each != fraction else "")


def _three(index: dict[str, Any]) -> dict[str, Any]:
    return {name: index[name] for name in ("average", "spread", "worst")}


def _card(
    name: str,
    value: float,
    note: str,
    interval: tuple[float, float] | None = None,
    unit: str = "%",
) -> dict[str, Any]:
    shown = f"95 % interval {ends(*interval, 100, 1)}" if interval else ""
    return {"name": name, "value": percent(value), "unit": unit, "range": shown, "note": note}


def _cost_columns(comparison: list[dict[str, Any]]) -> list[tuple[str, str]]:
    names = [name for name in _COST if any(_finite(line.get(name)) for line in comparison)]
    probes = dict.fromkeys(
        name for line in comparison for name in line
        if name.endswith("_acc") and name not in ("change_acc", "val_acc")
        and not name.startswith("forgot") and _finite(line[name])
    )  # fmt: skip
    shown = {name: f"{name.removesuffix('_acc').replace('_', ' ')} accuracy" for name in probes}
    return [(name, _COST[name]) for name in names] + list(shown.items())


def _costs(
    comparison: list[dict[str, Any]], columns: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    lines = [{**dict.fromkeys(name for name, _ in columns), **line} for line in comparison]
    shown = [name for name, _ in columns if not name.startswith("forgot")]
    return [line for line in lines if any(_finite(line[name]) for name in shown)]


def _finite(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isfinite(value))


def _agreement(matrix: Matrix) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in matrix.agreement.to_dict("records") if len(matrix.agreement) else []:
        key = (line["data"], line["mode"])
        one = found.setdefault(key, {**dict(zip(("data", "mode"), key, strict=True)), "taus": {}})
        one["models"] = line["models"]
        one["taus"][line["score"]] = line
    return list(found.values())


def _ranking(matrix: Matrix, model: str) -> list[dict[str, Any]]:
    lines = matrix.of_model(model, "ranking")
    known = {(line["mode"], line["fraction"], line["data"]): line for line in lines}
    return [
        {
            "mode": mode,
            "fraction": "" if mode == "untouched" else fraction,
            "values": [
                known.get((mode, fraction, task))
                for task in matrix.tasks
            ],
        }
        for mode, fraction in dict.fromkeys((line["mode"], line["fraction"]) for line in lines)
    ]  # fmt: skip


def _by_class(matrix: Matrix, model: str) -> list[dict[str, Any]]:
    table, found = matrix.by_class, []
    for line in matrix.of_model(model, "recommended"):
        if line["fraction"] != matrix.fractions[-1]:
            continue
        mode = line["mode"]
        fraction = "all" if mode == "untouched" else line["fraction"]
        key = Key(model, line["data"], mode, fraction)
        start = matrix.before(key)
        lines = _class_lines(table, key)
        if start:
            for one, old in zip(lines, _class_lines(table, start), strict=True):
                one["f1_before"] = old["f1"]
        before = start.mode if start else ""
        found.append({"data": key.data, "mode": mode, "before": before, "lines": lines[:24]})
    return found


def _class_lines(table: Any, key: Key) -> list[dict[str, Any]]:
    mine = np.logical_and.reduce([table[name] == value for name, value in key._asdict().items()])
    return table[mine].to_dict("records")
