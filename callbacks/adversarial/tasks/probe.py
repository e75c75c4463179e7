"""One perturbation against one or all heads of a model, and what it does to each of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import lightning as L
import torch
from torch import Tensor

from callbacks.adversarial.probe import SIGNS, admissible
from callbacks.adversarial.threat_models import THREAT_MODELS, ThreatModel, radius
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.tasks import Task, label_table
from lightning_modules.black_box import require_gradients
from lightning_modules.classifier import Classifier
from lightning_modules.tasks import split_logits, task_losses

JOINT = ("joint_sum", "joint_max")
"""Attacks on all tasks at once: the sum of their losses, and the largest of them."""


def attack_loss(attacked: str, tasks: Sequence[Task]) -> Callable[[Tensor, Tensor], Tensor]:
    """What an attack on a task, or on all, maximises.

    Args:
        attacked: a task's name, or one of `JOINT`.
        tasks: the heads.

    Returns:
        From logits `(N, K1 + K2 + ...)` and labels `(N, T)`, -1 for none, to losses `(N,)`; a task
        that an image has no label in adds nothing.
    """
    names = [task.name for task in tasks]

    def loss(logits: Tensor, label: Tensor) -> Tensor:
        losses = task_losses(logits, label, tasks)
        if attacked == "joint_sum":
            return losses.sum(1)
        return losses.amax(1) if attacked == "joint_max" else losses[:, names.index(attacked)]

    return loss


def broken_tasks(logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> Tensor:
    """`(N, T)` bool: the task's answer is wrong or none (NaN); what has no label is not broken."""
    heads = zip(split_logits(logits, tasks), label.T, strict=True)
    wrong = [(z.argmax(1) != y) | z.isnan().any(1) for z, y in heads]
    return torch.stack(wrong, 1) & (label >= 0)


class TaskAttack(Probe):
    """PGD (Madry et al. 2018, 1706.06083) on one task or on all at once, judged on every task.

    Of all iterates the one counts that breaks most of the tasks under attack, and among these the
    one of highest loss. The joint attacks climb the sum or the largest of the tasks' losses
    (multi-task attacks as in Mao et al. 2020, 2007.07236).

    Args:
        tasks: heads of the model.
        classes: of the data, in the order of its labels.
        norm: of the ball.
        epsilons: radii; None takes the data set's usual one.
        steps: of each restart, each of 2.5 · epsilon / steps.
        restarts: from other random points.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "adversarial"
    title: ClassVar[str] = "Attacks on tasks"
    extras: ClassVar[tuple[str, ...]] = ("labelled", "clean_correct", "distance")

    def __init__(
        self,
        tasks: Sequence[Task],
        classes: Sequence[str],
        norm: str = "linf",
        epsilons: Sequence[float | str] | None = None,
        steps: int = 20,
        restarts: int = 1,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        if norm not in ("linf", "l2"):
            raise UserError(f"Expected `norm` linf or l2 for attacks on tasks, but got {norm!r}.")
        if steps < 1 or restarts < 1:
            raise UserError(f"Expected `steps`, `restarts` of at least 1, got {steps}, {restarts}.")
        self.tasks, self.table = tuple(tasks), label_table(tasks, classes)
        self.norm, self.steps, self.restarts = norm, steps, restarts
        self.epsilons = None if epsilons is None else [radius(e, norm, "epsilon") for e in epsilons]
        names = [task.name for task in tasks]
        self.pairs = {f"{a}_at_{b}": (a, b) for a in (*names, *JOINT) for b in names}
        """What is attacked and what is judged, by the setting's name."""

    @property
    def name(self) -> str:
        """`tasks_pgd_linf`."""
        return f"tasks_pgd_{self.norm}"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The radius, in pixel units."""
        return f"epsilon ({SIGNS[self.norm]})"

    @property
    def algorithm(self) -> str:
        """The attack, its budget, and the tasks' labels."""
        tasks = [(task.name, task.classes) for task in self.tasks]
        return (
            f"PGD steps={self.steps} restarts={self.restarts} norm={self.norm} tasks={tasks} "
            f"labels={self.table.tolist()}"
        )

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Takes the data set's usual radius where none was given."""
        require_gradients(classifier, "The attack on tasks")
        if self.epsilons is None:
            usual = data.epsilon if isinstance(data, ImageDataModule) else {}
            found = usual.get(THREAT_MODELS[self.norm].__name__)
            if found is None:
                raise UserError("Expected `epsilon`, because the data has no usual radius.")
            self.epsilons = [found]

    def settings(self) -> tuple[Setting, ...]:
        """One for each radius, attack and task that is judged."""
        radii = self.epsilons or ()
        return tuple(Setting(name, round(1000 * e), e) for e in radii for name in self.pairs)

    def cost(self, setting: Setting) -> float:
        """Of an attack that is judged on every task, the share of one."""
        return (self.restarts * (3 * self.steps + 1) + 1) / len(self.tasks)

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Attacks once for each radius and attack, and judges the image on every task."""
        label = self.table.to(samples.label.device)[samples.label]
        clean = broken_tasks(samples.logits, label, self.tasks)
        names, found = [task.name for task in self.tasks], {}
        for setting in settings:
            attacked, judged = self.pairs[setting.name]
            if (attacked, setting.value) not in found:
                threat = THREAT_MODELS[self.norm](setting.value)
                image = admissible(
                    threat, self.search(model, samples, label, threat, attacked), samples.image
                )
                distance = threat.measure(image, samples.image).float()
                found[attacked, setting.value] = model(image), distance
            logits, distance = found[attacked, setting.value]
            place = names.index(judged)
            own = label[:, place]
            extras = {
                "labelled": own >= 0,
                "clean_correct": ~clean[:, place],
                "distance": distance,
            }
            head = split_logits(logits, self.tasks)[place]
            yield Measurement(setting, head, extras, own.clamp(min=0))

    def search(
        self, model: Queries, samples: Samples, label: Tensor, threat: ThreatModel, attacked: str
    ) -> Tensor:
        """`(N, C, H, W)` the worst point found in the ball for what is attacked."""
        loss = attack_loss(attacked, self.tasks)
        names = [task.name for task in self.tasks]
        under = slice(None) if attacked in JOINT else [names.index(attacked)]
        best, most = samples.image, torch.full_like(samples.logits[:, 0], -torch.inf)
        worst = most.clone()
        for restart in range(self.restarts):
            point = threat.sample(samples.image, samples.draw, restart)
            for step in range(self.steps + 1):
                logits, value, gradient = model.gradient(point, loss, label)
                broken = broken_tasks(logits, label, self.tasks)[:, under].sum(1).to(most)
                better = (broken > most) | ((broken == most) & (value > worst))
                best = torch.where(better[:, None, None, None], point, best)
                most, worst = most.where(~better, broken), worst.where(~better, value)
                if step < self.steps:
                    moved = point + threat.ascent(gradient) * 2.5 * threat.epsilon / self.steps
                    point = threat.project(moved, samples.image)
        return best
