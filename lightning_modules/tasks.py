"""One backbone with several heads: its losses, its training, and each task as a classifier."""

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.tasks import Task
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.losses import LOSSES
from lightning_modules.perturb import Perturb
from lightning_modules.regularisers import Step
from lightning_modules.tuning import Tuning

_MOST_CLASSES = 4096
"""Of the joint classifier, whose classes are all combinations."""


def head_names(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Names of all outputs, head by head: `digit/0 ... parity/odd`."""
    return tuple(f"{task.name}/{one}" for task in tasks for one in task.classes)


def split_logits(logits: Tensor, tasks: Sequence[Task]) -> tuple[Tensor, ...]:
    """`(N, K1 + K2 + ...)` logits of all heads as one `(N, Kt)` for each task."""
    return logits.split([len(task.classes) for task in tasks], 1)


def task_losses(logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> Tensor:
    """Cross-entropy of every task in nats; 0 where an image has no label.

    Args:
        logits: `(N, K1 + K2 + ...)`.
        label: `(N, T)`, -1 for none.
        tasks: T of them.

    Returns:
        `(N, T)`.
    """
    heads = zip(split_logits(logits, tasks), label.T, strict=True)
    losses = [F.cross_entropy(z, y, reduction="none", ignore_index=-1) for z, y in heads]
    return torch.stack(losses, 1)


class OneTask(nn.Module):
    """The head of one task, behind the whole network."""

    def __init__(self, classifier: Classifier, task: Task) -> None:
        super().__init__()
        self.classifier, self.place = classifier, classifier.tasks.index(task)

    def forward(self, shown: Tensor) -> Tensor:
        """From images as the network takes them to the task's logits."""
        return split_logits(self.classifier.answered(shown), self.classifier.tasks)[self.place]


class AllTasks(nn.Module):
    """All tasks as one: a class is a combination of classes, its logit the sum of log-softmaxes.

    As the tasks' probabilities multiply to ones that sum to 1, the cross-entropy of a combination
    is exactly the sum of the tasks' cross-entropies, and an answer is right where all are.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, shown: Tensor) -> Tensor:
        """From images as the network takes them to logits `(N, K1 · K2 · ...)`."""
        first, *others = split_logits(self.classifier.answered(shown), self.classifier.tasks)
        joint = first.log_softmax(1)
        for logits in others:
            joint = (joint[:, :, None] + logits.log_softmax(1)[:, None]).flatten(1)
        return joint


def one_task(classifier: Classifier, task: Task) -> Classifier:
    """A task as a classifier of its own, on the same weights."""
    return _view(classifier, OneTask(classifier, task), task.classes, task.name)


def all_tasks(classifier: Classifier) -> Classifier:
    """All tasks as one classifier; see `AllTasks`.

    Raises:
        UserError: there are too many combinations.
    """
    tasks = classifier.tasks
    count = math.prod(len(task.classes) for task in tasks)
    if count > _MOST_CLASSES:
        raise UserError(
            f"The tasks have {count:,} combinations of classes, more than {_MOST_CLASSES:,}: train "
            "tasks of fewer classes together."
        )
    names = [" & ".join(one) for one in product(*(task.classes for task in tasks))]
    return _view(classifier, AllTasks(classifier), names, "joint")


def joint_label(label: Tensor, tasks: Sequence[Task]) -> Tensor:
    """`(N,)` the combination of labels `(N, T)`; -1 where one of them is missing."""
    joint = torch.zeros_like(label[:, 0])
    for task, own in zip(tasks, label.T, strict=True):
        joint = joint * len(task.classes) + own
    return joint.masked_fill((label < 0).any(1), -1)


def _view(
    classifier: Classifier, model: nn.Module, classes: Sequence[str], name: str
) -> Classifier:
    view = Classifier(
        model, classes=classes, preprocessing=classifier.preprocessing,
        architecture=f"{classifier.architecture}#{name}", source=classifier.source,
        chunk=classifier.chunk, reasons=classifier.reasons,
    )  # fmt: skip
    view.facts = {k: v for k, v in classifier.facts.items() if k != "outputs"}
    return view.train(classifier.training)


def check_noise(perturb: Perturb | None) -> None:
    """Refuses a perturbation that attacks one label.

    Raises:
        UserError: it does.
    """
    if hasattr(perturb, "epsilon") or getattr(perturb, "consistency", 0):
        raise UserError(
            f"Expected `perturb` to be noise with `tasks`, but got {type(perturb).__name__}, "
            "which trains with one label an image."
        )


def log_accuracies(module: FineTuning, accuracies: nn.ModuleDict) -> None:
    """Logs `val/acc_TASK` and their mean `val/acc`, and begins them anew."""
    metrics = accuracies.values()
    found = torch.stack([metric.compute() for metric in metrics])  # type: ignore[operator]
    for task, accuracy, metric in zip(module.classifier.tasks, found, metrics, strict=True):
        module.log(f"val/acc_{task.name}", accuracy)
        metric.reset()  # type: ignore[operator]
    module.log("val/acc", found.nanmean(), prog_bar=True)


class TaskFineTuning(FineTuning):
    """Fits all heads at once: the loss is the mean over the tasks of each one's mean loss.

    An image without a label in a task takes no part in that task's mean. Logs `val/acc`, the mean
    over the tasks, by which the best epoch is chosen, and `val/acc_TASK`.

    Args:
        classifier: with its `tasks`; trained in place.
        table: `(C, T)` labels in the tasks of every class of the data.
        tuning: the recipe; images are not mixed.
        perturb: replaces training images, without looking at labels.

    Raises:
        UserError: the recipe mixes images, or the perturbation attacks one label.
    """

    table: Tensor

    def __init__(
        self,
        classifier: Classifier,
        table: Tensor,
        tuning: Tuning | None = None,
        perturb: Perturb | None = None,
    ) -> None:
        super().__init__(classifier, tuning, perturb)
        if self.tuning.mixup or self.tuning.cutmix:
            raise UserError("Expected no --tuning.mixup and --tuning.cutmix with `tasks`.")
        check_noise(perturb)
        self.register_buffer("table", table, persistent=False)
        self.accuracies = nn.ModuleDict({f"of_{t.name}": MeanMetric() for t in classifier.tasks})

    def fitted(self, step: Step) -> Tensor:
        """Mean over the tasks of each one's loss of the disturbed images."""
        logits, label = step.logits(step.disturbed), self.table[step.label]
        return self._mean_loss(logits, label, self.tuning.label_smoothing)

    def _mean_loss(self, logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
        """Mean over the tasks that the batch has labels of; `(N, T)` labels."""
        heads = zip(split_logits(logits, self.classifier.tasks), label.T, strict=True)
        loss = LOSSES[self.tuning.loss]
        parts = [loss(z[y >= 0], y[y >= 0], smoothing) for z, y in heads if (y >= 0).any()]
        return torch.stack(parts).mean() if parts else 0 * logits.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures loss and accuracy of every task on the images as they are."""
        logits, label = self(batch.image).float(), self.table[batch.label]
        self.val_loss(self._mean_loss(logits, label, 0.0), len(label))
        self.log("val/loss", self.val_loss, on_epoch=True)
        heads = split_logits(logits, self.classifier.tasks)
        for metric, z, y in zip(self.accuracies.values(), heads, label.T, strict=True):
            metric.update((z.argmax(1) == y)[y >= 0].float())  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        """Logs the accuracies, of every task and their mean."""
        log_accuracies(self, self.accuracies)
