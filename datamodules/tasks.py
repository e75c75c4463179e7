"""Several label sets: what each class of the data is called in each task."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.strict_yaml import read_yaml, yaml_problem

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("joint", "sum", "max", "mean", "worst", "any", "all")
"""Would be taken for what is measured over the tasks."""


@dataclass(frozen=True)
class Task:
    """One label set.

    Args:
        name: `[a-z][a-z0-9_]*`, a part of metric keys.
        classes: of the task, in the order of its head's outputs.
        of: the task's class of each class of the data; a class that is not there has no label.
    """

    name: str
    classes: tuple[str, ...]
    of: Mapping[str, str]

    def labels(self, classes: Sequence[str]) -> Tensor:
        """`(C,)` int64 label in this task of each of the data's classes; -1 where it has none."""
        place = {name: i for i, name in enumerate(self.classes)}
        return torch.tensor([place.get(self.of.get(name, ""), -1) for name in classes])


def label_table(tasks: Sequence[Task], classes: Sequence[str]) -> Tensor:
    """`(C, T)` labels of every class of the data in every task; -1 where there is none.

    Raises:
        UserError: a task has no label for any of these classes.
    """
    table = torch.stack([task.labels(classes) for task in tasks], 1)
    for task, labels in zip(tasks, table.T, strict=True):
        if (labels < 0).all():
            raise UserError(
                f"Expected data with classes of the task {task.name!r} ({_some(task.of)}), but got "
                f"the classes {_some(classes)}: give the data set that the tasks were made for."
            )
    return table


def read_tasks(file: Path, classes: Sequence[str]) -> tuple[Task, ...]:
    """Reads which tasks there are, from YAML or CSV.

    YAML: `parity: {even: [0, 2, 4], odd: [1, 3, 5]}`, a task a key; `digit: same` takes the data's
    own classes. CSV: `class,digit,parity`, then a line for each class of the data; an empty field
    is a class without a label. Classes that a task leaves out have no label in it.

    Args:
        file: ending with `.csv`, or anything else for YAML.
        classes: of the data.

    Raises:
        UserError: the file cannot be read, or says something that cannot be.
    """
    try:
        text = file.read_text()
        read = _of_csv(text) if file.suffix == ".csv" else read_yaml(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"`tasks` {str(file)!r} cannot be read: {yaml_problem(error)}.") from error
    if not isinstance(read, dict) or len(read) < 2:
        raise UserError(
            f"Expected at least two tasks in {str(file)!r}, such as `digit: same` and `parity: "
            f"{{even: [0, 2], odd: [1, 3]}}`, but got {_some(read) if read else 'nothing'}."
        )
    return tuple(_task(str(name), said, classes) for name, said in read.items())


def check_name(name: str) -> None:
    """Refuses what cannot be the name of a task.

    Raises:
        UserError: names it.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UserError(
            f"Expected a task's name of small letters, digits and _, other than "
            f"{', '.join(_RESERVED)}, but got {name!r}."
        )


def with_labels(
    data: ImageDataModule, name: str, classes: Sequence[str], label_of: Tensor
) -> ImageDataModule:
    """A copy whose test images have other labels; those that have none are left out and told.

    Args:
        data: stays as it is.
        name: of the task.
        classes: of the task.
        label_of: `(C,)` new label of each class of the data, -1 for none.
    """
    images = data.images("test")
    new = label_of[images.label]
    part = images.subset((new >= 0).nonzero()[:, 0])
    part.label = new[new >= 0]
    other = data.with_images(test=part)
    other.classes = tuple(classes)
    other._sources["test"] = {"available": len(part), "digest": f"{part.digest()}-{name}"}
    return other


def _of_csv(text: str) -> dict[str, dict[str, list[str]]]:
    """By task and its class the data's classes."""
    lines = [line for line in csv.reader(text.splitlines()) if any(line)]
    if not lines or len(lines[0]) < 2 or lines[0][0] != "class":
        raise UserError("Expected a CSV of tasks to begin with `class,TASK,TASK`.")
    names = [name.strip() for name in lines[0][1:]]
    if len(set(names)) < len(names):
        raise UserError(f"Expected different tasks in the CSV of tasks, but got {_some(names)}.")
    tasks: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for line in lines[1:]:
        if len(line) != len(lines[0]):
            raise UserError(f"Expected {len(lines[0])} fields in the CSV line {','.join(line)!r}.")
        for task, its in zip(tasks.values(), line[1:], strict=True):
            if its.strip():
                task.setdefault(its.strip(), []).append(line[0].strip())
    return tasks


def _task(name: str, said: Any, classes: Sequence[str]) -> Task:
    check_name(name)
    if said == "same":
        return Task(name, tuple(classes), {one: one for one in classes})
    if not isinstance(said, dict) or len(said) < 2:
        raise UserError(
            f"Expected task {name!r} to be `same` or at least two classes, each with a list of the "
            f"data's classes, but got {said!r}."
        )
    words = tuple(map(_word, said))
    if len(set(words)) < len(words):
        raise UserError(
            f"Expected different classes of task {name!r}, but got {_some(words)}: YAML takes yes "
            'and 1 for no words, so that beside "yes" and "1" they are the same names.'
        )
    of: dict[str, str] = {}
    for its, ones in said.items():
        for one in map(str, ones if isinstance(ones, list) else [ones]):
            if one not in classes:
                raise UserError(
                    f"Task {name!r} speaks of class {one!r}, but the data has {_some(classes)}."
                )
            if one in of:
                raise UserError(f"Task {name!r} has class {one!r} twice: keep one of them.")
            of[one] = _word(its)
    return Task(name, words, of)


def _word(name: Any) -> str:
    """What YAML takes for true or false was meant as a word."""
    return {True: "yes", False: "no"}.get(name, str(name)) if isinstance(name, bool) else str(name)


def _some(names: Any) -> str:
    listed = list(map(str, names)) if not isinstance(names, str) else [names]
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
