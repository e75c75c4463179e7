"""Which output of a model is which class of the data: by name, never by a mere equal number.

Names are compared as they are, then without case, spaces, `_`, `-` and a leading article. Bare
numbers (`7`, `07`, `class_7`, `LABEL_7`) are no names: they say in which order the classes stand,
and nothing of what they are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.errors import UserError

_NUMBER = re.compile(r"(?:(?:class|label|cls|output|category)[ _-]?)?(\d+)", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:a|an|the)[ _-]+", re.IGNORECASE)


@dataclass(frozen=True)
class ClassMatch:
    """How the outputs of a model become the classes of the data.

    Args:
        order: the model's output of each class of the data; None: it needs a new head.
        names: of the classes from now on.
        note: what was done, for a reader of the numbers; empty where nothing was.
    """

    order: tuple[int, ...] | None
    names: tuple[str, ...]
    note: str = ""


def are_names(classes: Sequence[str]) -> bool:
    """Whether classes have names, and not only numbers."""
    return not all(_NUMBER.fullmatch(name.strip()) for name in classes)


def same_task(
    one: Sequence[str], other: Sequence[str], task: str = "", other_task: str = ""
) -> bool:
    """Whether two models or data sets mean the same classes in the same order.

    Args:
        one: names of the classes.
        other: the same.
        task: what the classes of `one` are of, for instance "MNIST", where that is known.
        other_task: of `other`.

    Returns:
        True for equal names; equal numbers are the same only of one known task.
    """
    if tuple(one) != tuple(other):
        return False
    return are_names(one) or (task != "" and task == other_task)


def match(own: Sequence[str], data: Sequence[str], source: str, new_head: bool) -> ClassMatch:
    """Compares the classes of a model with those of the data.

    Args:
        own: of the model, by output.
        data: in the order of the labels.
        source: where the model comes from, for the message.
        new_head: whether a fresh last layer is wanted where the classes are others.

    Raises:
        UserError: the classes are others, and no new head is wanted; with both lists.
    """
    own, data = tuple(own), tuple(data)
    matches = _by_number(own, data) if _numbered(own, data) else _by_name(own, data)
    if isinstance(matches, ClassMatch):
        return matches
    if new_head:
        note = "" if not are_names(own) else f"New head: the model's classes were {_few(own)}."
        return ClassMatch(None, data, note)
    raise UserError(
        f"Expected a model of the data's {len(data)} classes ({_few(data)}), but {source!r} has "
        f"{len(own)} ({_few(own)}): {matches}. Say what its outputs are with `--classes`, rename "
        "folders, or give it a head for these classes with `assay fine-tune`."
    )


def _numbered(own: tuple[str, ...], data: tuple[str, ...]) -> bool:
    return not (are_names(own) and are_names(data))


def _by_number(own: tuple[str, ...], data: tuple[str, ...]) -> ClassMatch | str:
    """One side has no names: equal numbers stand for each other, else the order does."""
    if len(own) != len(data):
        return f"{len(own)} outputs are not {len(data)} classes"
    mine, theirs = _numbers(own), _numbers(data)
    if mine is not None and theirs is not None:
        note = ""
        if set(mine) != set(theirs):
            mine, theirs = _ranks(mine), _ranks(theirs)
            note = f"The model numbers its classes {_few(own)}: they are taken in that order. "
        order = tuple(mine.index(number) for number in theirs)
        return ClassMatch(order, data, (note + _moved(order, own, "number")).strip())
    if theirs is not None:
        order = _ranks(theirs)
        note = f"The data only number their classes: {_few(own)} of the model are taken in order."
        return ClassMatch(order, tuple(own[i] for i in order), note)
    order = tuple(range(len(own))) if mine is None else tuple(map(mine.index, sorted(mine)))
    note = f"The model only numbers its classes: {_few(data)} of the data are taken in order."
    return ClassMatch(order, data, note)


def _by_name(own: tuple[str, ...], data: tuple[str, ...]) -> ClassMatch | str:
    """Both sides have names: the place of each of the data's names among the model's."""
    for simplify, how in ((str, "name"), (_simple, "name, case and spelling aside")):
        mine, theirs = ([simplify(name) for name in names] for names in (own, data))
        if own == data or _match_each_other(mine, theirs):
            order = tuple(range(len(own))) if own == data else tuple(map(mine.index, theirs))
            return ClassMatch(order, data, _said(order, own, data, how))
    known = [name for name in data if name in own]
    return f"only {_few(known)} in common" if known else "no name in common"


def _match_each_other(mine: list[str], theirs: list[str]) -> bool:
    """Whether every name of the data is exactly one of the model's."""
    return len(set(theirs)) == len(theirs) and all(mine.count(name) == 1 for name in theirs)


def _said(order: tuple[int, ...], own: tuple[str, ...], data: tuple[str, ...], how: str) -> str:
    if len(order) < len(own):
        return (
            f"The data have {len(data)} of the model's {len(own)} classes: only these compete "
            f"({_few(data)}), matched by {how}."
        )
    if how == "name":
        return _moved(order, own, how)
    spelt = [f"{own[i]} = {name}" for i, name in zip(order, data, strict=True) if own[i] != name]
    return f"Classes matched by {how}: {_few(spelt)}."


def _moved(order: tuple[int, ...], own: tuple[str, ...], how: str) -> str:
    """Says that the outputs were put into another order; nothing where they were not."""
    if order == tuple(range(len(order))):
        return ""
    return f"Outputs put into the data's order by {how}: the model's was {_few(own)}."


def _numbers(classes: tuple[str, ...]) -> tuple[int, ...] | None:
    """The numbers that classes are, all different; None where they have names."""
    matches = [_NUMBER.fullmatch(name.strip()) for name in classes]
    numbers = tuple(int(one[1]) for one in matches if one)
    return numbers if len(set(numbers)) == len(classes) else None


def _ranks(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(numbers).index(number) for number in numbers)


def _simple(name: str) -> str:
    return re.sub(r"[\s_-]+", "", _ARTICLE.sub("", name.strip())).casefold()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f", ... {len(names) - 12} more" if len(names) > 12 else "")
