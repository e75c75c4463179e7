"""Two distillations side by side: the paired differences of the models that both have."""

from collections.abc import Sequence

from callbacks.statistics import Interval
from pipelines.distill.comparison import ModelComparison, difference
from pipelines.distill.model import MeasuredModel
from pipelines.report.sections import Cell, Section, Sheet, change_cell


def in_both(
    models: Sequence[MeasuredModel], others: Sequence[MeasuredModel]
) -> tuple[list[MeasuredModel], list[MeasuredModel], list[str]]:
    """Restricts two distillations to names and seeds that both have, and says what is left out."""
    own, its = ({model.title: model for model in side} for side in (models, others))
    shared = [title for title in own if title in its]
    notes = [
        f"{title} is left out: only one of the two has it."
        for title in [*own, *its]
        if title not in shared
    ]
    return [own[title] for title in shared], [its[title] for title in shared], notes


def compared(title: str, one: ModelComparison, two: ModelComparison, notes: list[str]) -> Section:
    """What the second has more or less than the first, model by model, image by image.

    Args:
        title: names both.
        one: of models that both have.
        two: of the same names and seeds.
        notes: what was left out.
    """
    lines = [
        (name, len(two.named(name)), *found)
        for name in one.names
        if (found := difference(one.named(name), two.named(name)))
    ]
    widest = max([abs(end) for line in lines for end in line[2]] or [0]) or 1.0
    text = "Points of accuracy that the second has more (or fewer), on the same images."
    columns = ("model", "seeds", "points", "worse · better", "p")
    sheet = Sheet(columns, [_line(*line, widest) for line in lines])
    return Section(title, text, sheets=[sheet], notes=notes)


def _line(name: str, seeds: int, points: Interval, p: float, widest: float) -> list[Cell | str]:
    drawn = Cell("", shift=points, widest=widest)
    return [name, str(seeds), change_cell(points), drawn, f"{p:.2g}" if p == p else ""]
