"""What a matrix amounts to: the headline numbers, and sentences that need no background."""

import math
from collections.abc import Iterator

import numpy as np

from callbacks.family import Number
from callbacks.statistics import Interval
from callbacks.words import NBSP, percent, with_interval
from pipelines.transfer.grid import Grid, Key, key_of
from pipelines.transfer.lines import Line, interval_of
from pipelines.transfer.recipe import MODES
from pipelines.transfer.sheets import images, images_ends


def headline(grid: Grid) -> dict[str, Number]:
    """Mean, worst case and spread of every mode, and what was forgotten most, model by model."""
    several = len(grid.models) > 1
    numbers: dict[str, Number] = {}
    for model in grid.models:
        lines = [line for line in grid.last("variability") if line["model"] == model]
        moved = [line for line in lines if line["mode"] != "untouched"] or lines
        best = max(moved, key=lambda line: line["average"], default=None)
        of_model = [entry for x in lines for entry in _of_mode(grid, x, x is best)]
        for name, number in [*of_model, *_forgotten(grid, model)]:
            prefix, title = (f"{model}_", f"{model}: ") if several else ("", "")
            numbers[prefix + name] = number._replace(title=title + number.title)
    return numbers


def sentences(grid: Grid) -> list[str]:
    """What to do with the models, what that brings, and what it costs."""
    told = [*(_best_models(grid) if len(grid.models) > 1 else _choice(grid)), *_changes(grid)]
    told += _needed(grid)
    told = told or ["No cell could be measured."]
    if failed := len(grid.failed):
        told.append(f"{failed} of {len(grid.outcomes)} cells failed; the same command tries again.")
    return [sentence.replace(" %", f"{NBSP}%") for sentence in told]


def _of_mode(grid: Grid, line: Line, card: bool) -> Iterator[tuple[str, Number]]:
    """Mean, worst and spread over the data sets, of which one alone has no mean and no spread."""
    mode, fraction = line["mode"], line["fraction"]
    keys = {Key(line["model"], task, mode, fraction) for task in grid.tasks}
    cells = [x for x in grid.lines("comparison") if key_of(x) in keys]
    worst = next(x for x in cells if x["data"] == line["worst_task"])
    how = MODES[mode] if mode == "untouched" else f"{MODES[mode]}, {_labelled(fraction)}"
    asked_of = f"{fraction} {[(x['data'], x['seeds']) for x in cells]} {grid.asked.get(mode)}"
    several = len(cells) > 1

    def number(title: str, value: Interval, note: str, shown: bool) -> Number:
        return Number(f"{title}, {mode}", value, "%", note, asked_of, card and shown)

    least, alone = interval_of(worst, "acc"), len(grid.models) == 1
    if several:
        note = f"over {len(cells)} data sets, and so is the interval: {how}"
        mean, low, high = interval_of(line, "average")
        possible = Interval(mean, *np.clip([low, high], 0, 1).tolist())
        yield f"{mode}_mean_acc", number("Mean accuracy", possible, note, True)
    else:
        yield f"{mode}_mean_acc", number("Accuracy", least, f"on {worst['data']}: {how}", True)
    yield f"{mode}_worst_acc", number("Worst data set", least, worst["data"], several and alone)
    if several:
        note = "standard deviation between the data sets, in points"
        spread = Interval(line["spread"], math.nan, math.nan)
        yield f"{mode}_spread", number("Spread", spread, note, alone)


def _forgotten(grid: Grid, model: str) -> Iterator[tuple[str, Number]]:
    """Of the cells that trained the backbone, the one that lost most of the source data."""
    lines = [x for x in grid.lines("comparison") if x["model"] == model]
    lines = [x for x in lines if math.isfinite(x.get("forgot_old_head_low", math.nan))]
    if lines:
        most = max(lines, key=lambda line: line["forgot_old_head"])
        lost, of_cell = interval_of(most, "forgot_old_head"), f"{most['mode']} on {most['data']}"
        note = f"of the source's test images, net, with the old last layer: {of_cell}"
        card = lost.value > 0 and len(grid.models) == 1
        yield "forgotten", Number("Most forgotten", lost, "%", note, of_cell, card)


def _best_models(grid: Grid) -> Iterator[str]:
    """For every data set the model and mode with the highest accuracy."""
    for task in grid.tasks:
        lines = [line for line in grid.last("comparison") if line["data"] == task]
        if lines:
            best = max(lines, key=lambda line: line["acc"])
            share, how = interval_of(best, "acc"), _described(best["mode"])
            yield (
                f"On {task} {best['model']} gets most right: {percent(share.value)} % by {how}; "
                f"{with_interval(share)}."
            )


def _choice(grid: Grid) -> Iterator[str]:
    """The cheapest mode that no other surely beats, with the last of the fractions."""
    by_mode: dict[str, list[Line]] = {}
    for line in grid.lines("recommended"):
        if line["fraction"] == grid.fractions[-1]:
            by_mode.setdefault(line["mode"], []).append(line)
    for mode, lines in by_mode.items():
        where = ", ".join(x["data"] for x in lines) if len(lines) < 5 else f"{len(lines)} data sets"
        mean = percent(sum(line["acc"] for line in lines) / len(lines))
        yield (
            f"For {where}, with {_labelled(grid.fractions[-1])}, {_described(mode)} is enough: "
            f"{mean} % right{' on average' if len(lines) > 1 else ''}, and nothing that costs more "
            "is surely better."
        )


def _changes(grid: Grid) -> Iterator[str]:
    """What full fine-tuning changes on the data, and on the data that a model came from."""
    lines = [line for line in grid.last("comparison") if line["mode"] == "full"]
    changes = [interval_of(line, "change_acc") for line in lines]
    changes = sorted(100 * change.value for change in changes if math.isfinite(change.value))
    if changes:
        low, high = (f"{end:+.1f}" for end in (changes[0], changes[-1]))
        by = f"{low} points" if len(changes) == 1 else f"{low} to {high} points"
        yield f"Training everything changes accuracy by {by} against what was there before."
    lost = [(n.interval, model) for model in grid.models for _, n in _forgotten(grid, model)]
    if lost:
        worst, model = max(lost)
        change, *ends = (round(-100 * end, 1) + 0.0 for end in worst)  # no -0.0
        yield (
            f"On the data that {model} was trained on before, accuracy changes by {change:+.1f} "
            f"points in the worst case (95 % interval {min(ends):+.1f} to {max(ends):+.1f})."
        )


def _needed(grid: Grid) -> Iterator[str]:
    """Labelled images that the wanted accuracy takes, in the mode that is right most often."""
    moved = [line for line in grid.last("comparison") if line["mode"] != "untouched"]
    best = {(x["model"], x["data"]): x["mode"] for x in sorted(moved, key=lambda x: x["acc"])}
    for line in grid.lines("sufficiency"):
        if best[line["model"], line["data"]] != line["mode"]:
            continue
        needed, wanted = interval_of(line, "needed"), percent(line["wanted"])
        who = f"{line['model']} on {line['data']}" if len(grid.models) > 1 else line["data"]
        about = (
            f"about {images(needed.value)} labelled images (95 % interval {images_ends(needed)}), "
            "if the learning curve goes on as a power law"
        )
        about = f"no number of labels is told, {line['refused']}" if line["refused"] else about
        yield f"For {wanted} % right on {who} by {_described(line['mode'])}: {about}."


def _labelled(fraction: str) -> str:
    """`5/class` in words."""
    if fraction == "all":
        return "all labelled images"
    each = fraction.removesuffix("/class")
    return f"{each} labelled images" + (" a class" if each != fraction else "")


def _described(mode: str) -> str:
    """A mode with what it does: `a new last layer, the rest frozen (probe)`."""
    return f"{MODES[mode]} ({mode})"
