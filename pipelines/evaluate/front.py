"""What two families of disturbances leave, against each other: natural against adversarial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from callbacks.family import Number, Summary
from pipelines.report.curves import add_legend
from pipelines.report.figures import COLOURS, LOOK, SOFT, drawn
from pipelines.report.sections import Cell, Section, Sheet, rate_cell

_MARKS = "osD^vPX"


@dataclass(frozen=True)
class FrontPoint:
    """One model under one condition of either family.

    Args:
        label: of the model; empty where there is one.
        across: what is left under the one family.
        up: what is left under the other.
    """

    label: str
    across: Number
    up: Number

    @property
    def condition(self) -> tuple[str, str]:
        """What was asked; only points of one condition are better or worse than each other."""
        return f"{self.up.title} {self.up.conditions}", f"{self.across.conditions}"

    def below(self, other: "FrontPoint") -> bool:
        """Whether another of the same condition is as good in both, and better in one."""
        mine = (self.across.interval.value, self.up.interval.value)
        its = (other.across.interval.value, other.up.interval.value)
        as_good = all(b >= a for a, b in zip(mine, its, strict=True))
        return other.condition == self.condition and as_good and its != mine


def front_points(summaries: Mapping[str, Summary], label: str = "") -> list[FrontPoint]:
    """Pairs the numbers that families name for it: the earlier family's up, the later's across.

    Args:
        summaries: by family, in the order of the page.
        label: of the model.
    """
    named = [[one.numbers[name] for name in one.front] for one in summaries.values() if one.front]
    return [
        FrontPoint(label, across, up)
        for place, numbers in enumerate(named)
        for up in numbers
        for later in named[place + 1 :]
        for across in later
    ]


def front_sections(points: Sequence[FrontPoint]) -> list[Section]:
    """A figure with intervals both ways, and its numbers; none without points."""
    if not points:
        return []
    several = len({point.label for point in points}) > 1
    text = (
        "What is left on average when images are corrupted, against what is left image by image "
        "under the worst of the attacks; up and to the right is better. Bars are 95 % intervals."
    )
    if several:
        text += " On the front is who is not beaten in both, by the values alone."
    figures = {"front": front_figure(points)}
    return [Section("Natural against adversarial", text, figures, sheets=[_sheet(points)])]


@mpl.rc_context(LOOK)
def front_figure(points: Sequence[FrontPoint]) -> Figure:
    """Every point with its intervals; those of one condition that are not beaten are joined."""
    figure, axes = drawn(height=4.48)
    labels = list(dict.fromkeys(point.label for point in points))
    conditions = list(dict.fromkeys(point.condition for point in points))
    for point in points:
        across, up = point.across.interval, point.up.interval
        axes.errorbar(
            [100 * across.value], [100 * up.value], _arms(point.up), _arms(point.across),
            color=COLOURS[labels.index(point.label) % len(COLOURS)], capsize=2,
            marker=_MARKS[conditions.index(point.condition) % len(_MARKS)], linestyle="none",
            label=f"{point.label}: {point.up.title}".removeprefix(": "),
        )  # fmt: skip
    for condition in conditions if len(labels) > 1 else ():
        front = [p for p in on_front(points) if p.condition == condition]
        ends = sorted((100 * p.across.interval.value, 100 * p.up.interval.value) for p in front)
        axes.plot(*zip(*ends, strict=True), color=SOFT, linewidth=0.8, linestyle="--", zorder=0)
    axes.set(
        xlabel=f"{points[0].across.title} (%)", ylabel="Robust accuracy (%)",
        xlim=(-2, 102), ylim=(-2, 102),
    )  # fmt: skip
    add_legend(figure, axes, len(points))
    return figure


def on_front(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """Those that no other of the same condition beats in both."""
    return [point for point in points if not any(point.below(other) for other in points)]


def _arms(number: Number) -> list[list[float]]:
    """Lengths of the two arms in per cent; none where there is no interval."""
    value, low, high = number.interval
    return [[100 * max(0.0, end) if end == end else 0.0] for end in (value - low, high - value)]


def _sheet(points: Sequence[FrontPoint]) -> Sheet:
    several, front = len({point.label for point in points}) > 1, on_front(points)
    columns = ["attacked", "robust accuracy %", points[0].across.title.lower() + " %"]
    lines: list[list[Cell | str]] = []
    for point in points:
        cells = [rate_cell(*number.interval) for number in (point.up, point.across)]
        first = [point.label] if several else []
        last = ["yes" if point in front else "no"] if several else []
        lines.append([*first, point.up.title, *cells, *last])
    columns = ["model", *columns, "on the front"] if several else columns
    notes = dict.fromkeys(f"{n.title}: {n.note}" for p in points for n in (p.up, p.across))
    return Sheet(columns, lines, caption=". ".join(notes) if not several else "")
