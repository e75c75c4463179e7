"""Models and data sets by their names on the command line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from datamodules import DATA, ImageDataModule
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier, load_classifier
from lightning_modules.black_box import require_layers

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Task:
    """A data set with a name that is unique among the tasks and fit for metric keys.

    Args:
        name: of the data, or of its folder.
        data: as it came; see `Subject` for a model's view of it.
    """

    name: str
    data: ImageDataModule


@dataclass(frozen=True)
class Model:
    """A pre-trained classifier with a name that is unique among the models.

    Args:
        name: of the architecture.
        classifier: never changed; cells work on copies.
        source: what it was trained on, where that was said.
    """

    name: str
    classifier: Classifier
    source: Task | None = None


def made_tasks(names: Sequence[str]) -> list[Task]:
    """Makes data sets of `NAME` or `NAME:ROOT`, e.g. `MNIST:data` or `ImageFolder:photos`.

    Raises:
        UserError: there is no such data set.
    """
    made = [_data(name) for name in names]
    return [Task(name, data) for name, data in zip(_unique(map(_called, made)), made, strict=True)]


def made_models(
    models: Sequence[str],
    tasks: Sequence[Task],
    arch: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    trust_pickle: bool = False,
) -> list[Model]:
    """Loads the models.

    Args:
        models: sources, as everywhere.
        tasks: the first one's preprocessing is taken where a model says nothing of its own.
        arch: architectures of bare checkpoints: one for all, or one a model.
        sources: data sets the models were trained on, or `none`: one for all, or one a model.
        trust_pickle: load checkpoints that can execute code.

    Raises:
        UserError: a model cannot be loaded, or numbers of options do not fit.
    """
    archs = _each(arch, len(models), "arch")
    known = {name: made_tasks([name])[0] for name in dict.fromkeys(sources or ()) if name != "none"}
    origins = [known.get(name or "") for name in _each(sources, len(models), "sources")]
    loaded = []
    for model, one, origin in zip(models, archs, origins, strict=True):
        data = (origin or tasks[0]).data
        classes = data.classes if origin else None
        loaded.append(
            load_classifier(
                model,
                arch=None if one == "none" else one,
                data_classes=classes,
                preprocessing=data.preprocessing,
                trust_pickle=trust_pickle,
            )
        )
        require_layers(loaded[-1], "Transfer")
    names = _unique(one.architecture.rpartition(":")[2] for one in loaded)
    return [
        Model(*three) for three in zip(names, (one.eval() for one in loaded), origins, strict=True)
    ]


def _data(word: str) -> ImageDataModule:
    name, _, root = word.partition(":")
    if name not in DATA:
        raise UserError(f"There is no data set {name!r}.{suggestion(name, DATA)}")
    return DATA[name](root=Path(root)) if root else DATA[name]()


def _called(data: ImageDataModule) -> str:
    name = data.root.resolve().name if data.name == "ImageFolder" else data.name
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _unique(names: object) -> list[str]:
    """Numbers those that occur again."""
    found = list(names)  # type: ignore[call-overload]
    return [
        f"{name}-{1 + found[:i].count(name)}" if found.count(name) > 1 else name
        for i, name in enumerate(found)
    ]


def _each(given: Sequence[str] | None, n: int, name: str) -> list[str | None]:
    if not given:
        return [None] * n
    if len(given) not in (1, n):
        raise UserError(
            f"Expected `{name}` once for all models or {n} times, one a model, but got "
            f"{len(given)}."
        )
    return [*given] * (n if len(given) == 1 else 1)
