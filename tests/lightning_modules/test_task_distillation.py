import math

import pytest
import torch
from scipy.special import log_softmax

from callbacks import AdversarialTraining
from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from datamodules.tasks import Task, label_table
from lightning_modules import Classifier, Tuning, build
from lightning_modules.distillation import Answers, DistillationRecipe
from lightning_modules.distillation.objectives import LossInputs
from lightning_modules.task_distillation import TaskDistillation, teacher_of
from lightning_modules.tasks import head_names

CLASSES = ("0", "1", "2")
TASKS = (
    Task("digit", CLASSES, {c: c for c in CLASSES}),
    Task("parity", ("even", "odd"), {"0": "even", "1": "odd"}),  # 2 has no label
)


def two_heads(seed: int) -> Classifier:
    torch.manual_seed(seed)
    shown = Preprocessing(channels=1, mean=(0.3,), std=(0.5,))
    made = Classifier(
        build("lenet", 5, 1), classes=head_names(TASKS), preprocessing=shown,
        architecture="builtin:lenet",
    )  # fmt: skip
    made.tasks = TASKS
    return made


def module(**recipe: object) -> TaskDistillation:
    table, asked = label_table(TASKS, CLASSES), DistillationRecipe(**recipe)  # type: ignore[arg-type]
    return TaskDistillation(two_heads(0), two_heads(1), table, asked, Tuning())


def test_loss_is_the_mean_of_the_heads_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0, -1.0, 0.5, -0.5], [0.2, 0.4, 0.6, 2.0, 1.0]])
    teacher = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.0], [0.0, 3.0, 1.0, 0.3, 0.1]])
    inputs = LossInputs(Answers(student), Answers(student), Answers(teacher), torch.tensor([1, 2]))
    heat, parts = 3.0, []
    for head, label in ((slice(0, 3), [1, 2]), (slice(3, 5), [1, None])):
        own, its = (log_softmax(z[:, head].numpy() / heat, 1) for z in (student, teacher))
        soft = heat**2 * (math.e**its * (its - own)).sum(1).mean()
        logs = log_softmax(student[:, head].numpy(), 1)
        known = [(i, y) for i, y in enumerate(label) if y is not None]  # 2 is neither even nor odd
        parts.append(0.3 * -sum(logs[i, y] for i, y in known) / len(known) + 0.7 * soft)
    loss = module(temperature=heat, hard_weight=0.3, soft_weight=0.7).loss_of(inputs)
    assert loss.item() == pytest.approx(sum(parts) / 2, rel=1e-5)  # float32


def test_head_that_says_what_the_teachers_says_has_no_loss_whatever_the_other_says() -> None:
    teacher = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    student = torch.cat([teacher[:, :3] + 7, -teacher[:, 3:]], 1)  # a shift changes no softmax
    student.requires_grad_()
    inputs = LossInputs(
        Answers(student), Answers(student), Answers(teacher), torch.tensor([0, 1, 2, 0])
    )
    (gradient,) = torch.autograd.grad(module(hard_weight=0.0).loss_of(inputs), student)
    assert gradient[:, :3].abs().max() < 1e-6
    assert gradient[:, 3:].abs().min() > 1e-3


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"loss": "rkd"}, "kd or dkd for a teacher with several"),
        ({"labels": "teacher"}, "no `distillation.labels`"),
        ({"init_from": ("fc1",)}, "no `distillation.init_from`"),
        ({"select": "robust_acc"}, "no `distillation.select`"),
    ],
)
def test_what_would_make_no_sense_is_refused(recipe: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        module(**recipe)


def test_attack_on_one_label_is_refused() -> None:
    table = label_table(TASKS, CLASSES)
    with pytest.raises(UserError, match="to be noise with `tasks`"):
        TaskDistillation(two_heads(0), two_heads(1), table, perturb=AdversarialTraining(0.1))


def test_teacher_of_one_task_answers_as_its_head() -> None:
    teacher = two_heads(0).eval()
    image = torch.rand(3, 1, 28, 28)
    view = teacher_of(teacher, TASKS[1])
    assert view.classes == ("parity/even", "parity/odd")
    assert torch.equal(view(image), teacher(image)[:, 3:])
