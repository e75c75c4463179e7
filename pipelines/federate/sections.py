"""The page of a federation: what the clients gain, round by round, and who has which images."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import DASH, percent, with_interval
from pipelines.federate.numbers import Numbers
from pipelines.federate.rounds import ARMS, Arm
from pipelines.report.figures import COLOURS, LOOK, drawn
from pipelines.report.sections import Cell, Section, Sheet, change_cell, rate_cell

_STYLES: dict[Arm, Any] = {"federated": "-", "alone": "--", "pooled": "-."}
_TERMS = {
    "Federated": f"Learnt {ARMS['federated']}.",
    "Alone": f"The same network and start, learnt {ARMS['alone']}.",
    "All in one place": f"The same network and start, learnt {ARMS['pooled']}.",
    "Gain": "Federated minus alone, points of accuracy on the same test images.",
    "Unseen": "Test images of classes of which the client has no image itself.",
}


def sections_of(numbers: Numbers, classes: list[str], title: str) -> list[Section]:
    """Figures and tables.

    Args:
        numbers: of all clients.
        classes: names.
        title: of the terminal's table.
    """
    return [
        Section("", sheets=[_sheet(numbers, title=title, on_page=False, in_terminal=True)]),
        Section(
            "What the clients gain",
            "Accuracy on the same test images after every round, mean of the clients with its 95 % "
            "interval over images; thin lines are single clients.",
            {"federation_rounds": _rounds(numbers), "federation_clients": _clients(numbers)},
        ),
        Section(
            "Client by client",
            "After the last round. Small figures are 95 % intervals, of differences paired.",
            sheets=[_sheet(numbers)],
            terms=_TERMS,
        ),
        Section("Who has what", "Private training images.", sheets=[_shares(numbers, classes)]),
    ]


def sentences_of(numbers: Numbers) -> Iterator[str]:
    """The verdict: what is gained over each alone, and what is short of all data in one place."""
    found = {arm: numbers.together(arm) for arm in ARMS}
    yield (
        f"The {len(numbers.names)} clients get {percent(found['federated'].value)} % of the test "
        f"images right on average ({with_interval(found['federated'])}); each alone "
        f"{percent(found['alone'].value)} %, with all data in one place "
        f"{percent(found['pooled'].value)} %."
    )
    gain, short = numbers.gain("alone", "federated"), numbers.gain("federated", "pooled")
    yield (
        f"Learning from each other brings {_points(gain)} over each alone, {_sure(gain)}, and "
        f"leaves {_points(short)} to all data in one place, {_sure(short)}."
    )
    better = sum(numbers.gain("alone", "federated", i).low > 0 for i, _ in enumerate(numbers.names))
    worse = sum(numbers.gain("alone", "federated", i).high < 0 for i, _ in enumerate(numbers.names))
    yield f"Beyond chance {better} of {len(numbers.names)} clients gain by it, and {worse} lose."


def _points(change: Interval) -> str:
    ends = f"{100 * change.low:+.2f} to {100 * change.high:+.2f}"
    return f"{100 * change.value:+.2f} points (95 % interval {ends})"


def _sure(change: Interval) -> str:
    beyond = change.low > 0 or change.high < 0
    return "which is beyond chance" if beyond else "which is inside the noise"


def _sheet(numbers: Numbers, **options: Any) -> Sheet:
    lines = records(numbers.table)
    columns = ("client", "federated %", "alone %", "in one place %", "gain", "unseen %, alone")
    cells = [
        [
            str(line["client"]),
            *(rate_cell(*(line[f"{arm}{end}"] for end in ("", "_low", "_high"))) for arm in ARMS),
            change_cell(Interval(*(line[f"gain{end}"] for end in ("", "_low", "_high")))),
            Cell(_unseen(line)),
        ]
        for line in lines
    ]
    return Sheet(columns, cells, **options)


def _unseen(line: Any) -> str:
    own, alone = (line.get(f"{arm}_other", float("nan")) for arm in ("federated", "alone"))
    return f"{percent(own)}, {percent(alone)}" if own == own else DASH


def _shares(numbers: Numbers, classes: list[str]) -> Sheet:
    lines = [
        [name, f"{sum(counts):,}", *(f"{count:,}" for count in counts)]
        for name, counts in zip(numbers.names, numbers.counts, strict=True)
    ]
    return Sheet(("client", "images", *classes), lines)


def _rounds(numbers: Numbers) -> Figure:
    figure, axes = drawn()
    with mpl.rc_context(LOOK):
        for i, (arm, style) in enumerate(_STYLES.items()):
            found = [numbers.together(arm, turn) for turn in numbers.turns]
            middle, low, high = (
                [100 * end for end in column] for column in zip(*found, strict=True)
            )
            look: Any = {"color": COLOURS[i], "linestyle": style}
            axes.plot(numbers.turns, middle, marker="o", label=arm, markersize=3.5, **look)
            axes.fill_between(numbers.turns, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
            for client, _ in enumerate(numbers.names):
                single = [100 * numbers.correct(arm, turn)[client].mean() for turn in numbers.turns]
                axes.plot(numbers.turns, single, linewidth=0.7, alpha=0.45, **look)
        axes.set(title="Accuracy by round", xlabel="round", ylabel="correct (%)")
        axes.set_xticks(numbers.turns)
        axes.legend(fontsize=9)
    return figure


def _clients(numbers: Numbers) -> Figure:
    """A row a client; the three ways stand under each other, so that none hides another."""
    figure, axes = drawn(height=1.4 + 0.45 * len(numbers.names))
    with mpl.rc_context(LOOK):
        for i, arm in enumerate(ARMS):
            found = [numbers.accuracy(arm, client) for client, _ in enumerate(numbers.names)]
            value = [100 * one.value for one in found]
            ends = [
                [100 * (one.value - one.low) for one in found],
                [100 * (one.high - one.value) for one in found],
            ]
            place = [client + 0.22 * (i - 1) for client, _ in enumerate(numbers.names)]
            axes.errorbar(
                value, place, xerr=ends, fmt="o", color=COLOURS[i], label=arm, markersize=4,
                capsize=2,
            )  # fmt: skip
        axes.set_yticks(range(len(numbers.names)), numbers.names)
        axes.invert_yaxis()
        axes.set(title="After the last round", xlabel="correct (%)")
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure
