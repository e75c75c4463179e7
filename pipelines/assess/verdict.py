"""What an assessment amounts to: numbers and sentences of the five, and no single score."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.words import NBSP, ends, number, percent
from pipelines.assess.part import AssessedPart
from pipelines.assess.questions import QUESTIONS
from pipelines.report.figures import COLOURS, drawn
from pipelines.report.result import Result
from pipelines.report.sections import Cell, Sheet

Answers = Mapping[str, Result]
_FIRST = {
    "robustness": ("adversarial_acc",),
    "recoverability": ("repaired_acc",),
    "distillation": ("student_kept", "student_acc"),
    "monitorability": ("monitorability",),
}
"""The number of each question that its sentence tells, where it has it; else its first card."""


def headline(answers: Answers) -> dict[str, Number]:
    """The numbers of all questions; those of one name get their question's before them.

    Only one of each is a card: the others stand in the profile.
    """
    numbers: dict[str, Number] = {}
    for question, answer in answers.items():
        own = answer.headline()
        first = first_of(question, own)
        for name, one in own.items():
            if numbers.get(name) == one._replace(card=False):
                continue  # an explanation repeats those of its pass
            key = f"{question}_{name}" if name in numbers else name
            title = f"{QUESTIONS[question].title}: {one.title}" if name == first else one.title
            numbers[key] = one._replace(title=title, card=name == first)
    return numbers


def first_of(question: str, numbers: Mapping[str, Number]) -> str:
    """The name of the number that stands for a question; empty where it has none."""
    wanted = [name for name in _FIRST.get(question, ()) if name in numbers]
    cards = [name for name, one in numbers.items() if one.card]
    return next(iter([*wanted, *cards, *numbers]), "")


def sentences(answers: Answers, parts: Sequence[AssessedPart]) -> Iterator[str]:
    """One for each question: its number with interval and budget, or why there is none."""
    for part in parts:
        title = QUESTIONS[part.question].title
        answer = answers.get(part.question)
        if answer is None:
            yield f"{title}: {part.told}"
            continue
        numbers = answer.headline()
        if name := first_of(part.question, numbers):
            yield f"{title}: {_said(numbers[name])}.{_asked(part)}"
        else:
            yield f"{title}: nothing could be measured."


def profile_sheet(answers: Answers) -> Sheet:
    """The numbers that each question shows first, with interval and what they are of."""
    lines: list[list[Cell | str]] = []
    groups = []
    for question, answer in answers.items():
        groups.append(len(lines))
        shown = [one for one in answer.headline().values() if one.card]
        lines += [
            [QUESTIONS[question].title if i == 0 else "", one.title, _cell(one), one.note]
            for i, one in enumerate(shown)
        ]
    columns = ("Ability", "Number", "Value", "Of")
    return Sheet(columns, lines, "Profile", in_terminal=True, groups=frozenset(groups))


def profile_table(answers: Answers) -> pd.DataFrame:
    """All numbers of all questions, with their ends and conditions."""
    lines = [
        {
            "number": f"{question}: {one.title}", "name": name, **one.interval._asdict(),
            "unit": one.unit, "of": one.note, "conditions": one.conditions,
        }
        for question, answer in answers.items()
        for name, one in answer.headline().items()
    ]  # fmt: skip
    return pd.DataFrame(lines)


def profile_figure(answers: Answers) -> Figure | None:
    """Every share that a question shows first, with its interval, on one line from 0 to 100 %."""
    shares = [
        (position, one)
        for position, answer in enumerate(answers.values())
        for one in answer.headline().values()
        if one.card and one.unit == "%" and 0 <= one.interval.value <= 1
    ]
    if not shares:
        return None
    figure, axes = drawn(8.0, 0.8 + 0.27 * len(shares))
    for line, (position, one) in enumerate(shares):
        value, low, high = (100 * end for end in one.interval)
        colour = COLOURS[position % len(COLOURS)]
        if low == low:
            axes.plot([low, high], [line, line], color=colour, linewidth=3, alpha=0.5)
        axes.plot([value], [line], "o", color=colour)
    titles = [*answers]
    labels = [f"{QUESTIONS[titles[at]].title}: {one.title}" for at, one in shares]
    axes.set_yticks(range(len(shares)), labels)
    axes.set_xlim(-1, 101)
    axes.invert_yaxis()
    axes.set_xlabel("per cent, with 95 % interval")
    return figure


def _cell(one: Number) -> Cell:
    value, low, high = one.interval
    if one.unit == "%":
        return Cell(f"{percent(value)} %", ends(low, high, 100, 1))
    return Cell(f"{number(value)} {one.unit}".strip(), ends(low, high))


def _asked(part: AssessedPart) -> str:
    """` Asked: preset quick.`; empty where nothing can be asked for."""
    return f" Asked: {part.settings}." if part.settings else ""


def _said(one: Number) -> str:
    """`accuracy after repair 93.2 % (95 % interval 91–95), by distillation`."""
    cell = _cell(one)
    between = f"95{NBSP}% interval {cell.small}" if cell.small else "no interval"
    title = one.title[:1].lower() + one.title[1:] if one.title[1:2].islower() else one.title
    return f"{title} {cell.text} ({between}), {one.note}".replace(" %", f"{NBSP}%")
