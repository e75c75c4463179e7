"""The models and data sets of a matrix, opened, with names that fit metric keys."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature

from datamodules import ImageDataModule, open_data
from datamodules.errors import UserError
from datamodules.fractions import with_images
from datamodules.splits import limited
from lightning_modules import Classifier
from lightning_modules.black_box import require_layers
from pipelines.report.about import model_facts
from pipelines.study import DataLike, ModelLike, Study, unique


@dataclass(frozen=True)
class Task:
    """A data set with a name that is unique among the tasks.

    Args:
        name: of the data, or of its folder.
        data: as it came; a `Pair` holds a model's view of it.
    """

    name: str
    data: ImageDataModule

    def with_test(self, limit: int | None, seed: int) -> "Task":
        """The same with at most so many test images, the same ones for every model."""
        if limit is None:
            return self
        test = self.data.images("test")
        few = test.subset(limited(test.label, limit, seed))
        return replace(self, data=with_images(self.data, test=few))


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


def open_tasks(study: Study, data: Sequence[DataLike], limit: int | None) -> list[Task]:
    """Opens data sets such as `MNIST:FOLDER` or `ImageFolder:photos`.

    Args:
        study: whose results will be about them.
        data: names or data modules.
        limit: test images of each; None takes all.

    Raises:
        UserError: there is no such data set.
    """
    tasks = [task.with_test(limit, study.seed) for task in _named([open_data(one) for one in data])]
    for task in tasks:
        study.tell_data(task.data)
        study.open_data(task.data)
        study.notes += _unused(task)
    return tasks


def _unused(task: Task) -> list[str]:
    """Options of a data set that mean nothing here, where they were set."""
    usual = signature(ImageDataModule.__init__).parameters
    instead = {"batch_size": "see --batch_size", "val_fraction": "20 % of a fraction select"}
    changed = [name for name in instead if getattr(task.data, name) != usual[name].default]
    return [f"`{n}` of {task.name} is not used: {instead[n]}." for n in changed]


def open_models(
    study: Study,
    models: Sequence[ModelLike],
    tasks: Sequence[Task],
    sources: Sequence[str] | None = None,
) -> list[Model]:
    """Loads the models.

    Args:
        study: gives architectures of bare checkpoints: one for all, or one a model.
        models: sources, as everywhere, or networks.
        tasks: the first one's preprocessing is taken where a model says nothing of its own.
        sources: data sets the models were trained on, or `none`: one for all, or one a model.

    Raises:
        UserError: a model cannot be loaded, or numbers of options do not fit.
    """
    archs = _each(study.archs, len(models), "arch")
    names = dict.fromkeys(name for name in sources or () if name != "none")
    known = {name: _named([open_data(name)])[0] for name in names}
    origins = [known.get(name) for name in _each(sources, len(models), "sources")]
    loaded = [
        study.load_model(
            model, (origin or tasks[0]).data, None if arch in ("", "none") else arch,
            origin.data.classes if origin else None,
        ).eval()
        for model, arch, origin in zip(models, archs, origins, strict=True)
    ]  # fmt: skip
    for classifier in loaded:
        require_layers(classifier, "Transfer")
    called = unique([model_facts(classifier)["name"] for classifier in loaded])
    return [Model(*parts) for parts in zip(called, loaded, origins, strict=True)]


def _named(data: Sequence[ImageDataModule]) -> list[Task]:
    """Names data by what follows the kind: `photos` of `ImageFolder:photos`."""
    names = [re.sub(r"[^A-Za-z0-9_.-]", "_", one.title.rpartition(":")[2]) for one in data]
    return [Task(name, one) for name, one in zip(unique(names), data, strict=True)]


def _each(given: Sequence[str] | None, n: int, name: str) -> list[str]:
    """One for each of n models; empty texts where nothing was given."""
    if not given:
        return [""] * n
    if len(given) not in (1, n):
        raise UserError(
            f"Expected `{name}` once for all models or {n} times, one a model, but got "
            f"{len(given)}."
        )
    return [*given] * (n if len(given) == 1 else 1)
