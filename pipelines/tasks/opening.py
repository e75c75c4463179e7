"""Makes a model with several heads of any network and a file of tasks."""

from pathlib import Path

import lightning as L

from datamodules import ImageDataModule, Joined
from datamodules.tasks import label_table, read_tasks
from lightning_modules import Classifier, Perturb, Tuning
from lightning_modules.tasks import TaskFineTuning, head_names
from pipelines.study import ModelLike, Study


def open_with_heads(
    study: Study, model: ModelLike, data: ImageDataModule, file: Path | None
) -> Classifier:
    """Opens a model as it is with its own heads, or with new ones for tasks.

    Args:
        study: gets the model.
        model: where it starts.
        data: whose classes the tasks are made of.
        file: of the tasks; None takes one for each of several data sets.
    """
    tasks = data.tasks if isinstance(data, Joined) and file is None else None
    tasks = tasks or read_tasks(file, data.classes)  # pyright: ignore[reportArgumentType]
    study.tell_data(data)
    names = head_names(tasks)
    classifier = study.load_model(model, data, study.arch, names, new_head=True)
    classifier.classes, classifier.tasks = names, tasks
    data.adopt(classifier.preprocessing)
    study.say(f"input    {classifier.input_line}")
    images = data.images("train")
    images.check()
    label = label_table(tasks, data.classes)[images.label]
    for task, own in zip(tasks, label.T, strict=True):
        missing = int((own < 0).sum())
        without = (
            f", {missing:,} of {len(own):,} training images without a label" if missing else ""
        )
        study.say(f"task     {task.name}: {len(task.classes)} classes{without}")
        if missing:
            study.notes.append(
                f"Task {task.name}: {missing:,} of {len(own):,} training images have no label and "
                "take no part in its loss."
            )
    return classifier


def task_module(
    classifier: Classifier,
    data: ImageDataModule,
    tuning: Tuning,
    perturb: Perturb | None,
    seed: int,
) -> TaskFineTuning:
    """What trains all heads at once."""
    L.seed_everything(seed, verbose=False)
    return TaskFineTuning(classifier, label_table(classifier.tasks, data.classes), tuning, perturb)
