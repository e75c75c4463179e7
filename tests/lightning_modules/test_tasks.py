from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from callbacks.adversarial.tasks import attack_loss, broken_tasks
from datamodules import Joined
from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing
from datamodules.tasks import Task, label_table
from lightning_modules import Classifier, Tuning, build, load_saved, save_classifier
from lightning_modules.class_matching import match_classes
from lightning_modules.tasks import (
    TaskFineTuning,
    all_tasks,
    head_names,
    joint_label,
    one_task,
    split_logits,
)

CLASSES = ("0", "1", "2")
TASKS = (
    Task("digit", CLASSES, {c: c for c in CLASSES}),
    Task("parity", ("even", "odd"), {"0": "even", "1": "odd"}),  # 2 has no label
)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    shown = Preprocessing(channels=1, mean=(0.3,), std=(0.5,))
    made = Classifier(
        build("lenet", 5, 1), classes=head_names(TASKS), preprocessing=shown,
        architecture="builtin:lenet",
    ).eval()  # fmt: skip
    made.tasks = TASKS
    return made


def test_gradient_of_the_joint_attack_is_the_sum_of_the_tasks(classifier: Classifier) -> None:
    image = torch.rand(4, 1, 28, 28)
    label = torch.tensor([[0, 0], [1, 1], [2, -1], [2, 1]])

    def by_hand(task: int) -> torch.Tensor:
        """The softmax minus one-hot rule, through the network by its Jacobian."""
        leaf = image.clone().requires_grad_()
        logits = classifier(leaf)[:, (slice(0, 3), slice(3, 5))[task]]
        known = label[:, task] >= 0
        error = logits.softmax(1) - F.one_hot(label[:, task].clamp(0), logits.shape[1])
        return torch.autograd.grad(logits, leaf, error.detach() * known[:, None])[0]

    leaf = image.clone().requires_grad_()
    loss = attack_loss("joint_sum", TASKS)(classifier(leaf), label)
    (own,) = torch.autograd.grad(loss.sum(), leaf)
    # Float32 through one network twice: relative 1e-5 of gradients of about 0.1.
    torch.testing.assert_close(own, by_hand(0) + by_hand(1), rtol=1e-5, atol=1e-7)


def test_all_tasks_as_one_is_the_sum_of_their_losses(classifier: Classifier) -> None:
    image, label = torch.rand(4, 1, 28, 28), torch.tensor([[0, 0], [1, 1], [2, 0], [0, 1]])
    joint = all_tasks(classifier)
    its = joint_label(label, TASKS)
    assert joint.classes[its[1]] == "1 & odd"
    found = F.cross_entropy(joint(image), its, reduction="none")
    wanted = attack_loss("joint_sum", TASKS)(classifier(image), label)
    torch.testing.assert_close(found, wanted)
    right = joint(image).argmax(1) == its
    assert right.equal(~broken_tasks(classifier(image), label, TASKS).any(1))
    assert joint_label(torch.tensor([[2, -1]]), TASKS).tolist() == [-1]


def test_largest_loss_and_missing_labels(classifier: Classifier) -> None:
    logits, label = torch.randn(3, 5), torch.tensor([[0, 1], [1, 0], [2, -1]])
    digit, parity, most = (
        attack_loss(n, TASKS)(logits, label) for n in ("digit", "parity", "joint_max")
    )
    assert parity[2] == 0
    assert most.equal(torch.maximum(digit, parity))
    assert not broken_tasks(logits, label, TASKS)[2, 1]
    assert broken_tasks(torch.full_like(logits, torch.nan), label, TASKS).equal(label >= 0)


def test_a_task_is_a_classifier_of_its_own(classifier: Classifier) -> None:
    image = torch.rand(2, 1, 28, 28)
    parts = [one_task(classifier, task)(image) for task in TASKS]
    torch.testing.assert_close(torch.cat(parts, 1), classifier(image))


def test_tasks_are_saved_and_know_the_data_by_name(classifier: Classifier, tmp_path: Path) -> None:
    loaded = load_saved(save_classifier(classifier, tmp_path)).eval()
    assert loaded.tasks == TASKS
    image = torch.rand(2, 1, 28, 28)
    assert loaded(image).equal(classifier(image))
    match_classes(loaded, ("2", "1", "0"))  # in any order: labels are looked up by name
    assert loaded.classes == head_names(TASKS)
    with pytest.raises(UserError, match="classes of the task"):
        match_classes(loaded, ("cat", "dog"))


def test_training_loss_is_the_mean_over_labelled_tasks(classifier: Classifier) -> None:
    module = TaskFineTuning(classifier, label_table(TASKS, CLASSES), Tuning(label_smoothing=0.0))
    module.eval()
    image, label = torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 2])
    digit, parity = split_logits(classifier(image), TASKS)
    wanted = (F.cross_entropy(digit, label) + F.cross_entropy(parity[:2], label[:2])) / 2
    torch.testing.assert_close(module.batch_loss(Batch(image, label, label)), wanted)
    alone = F.cross_entropy(digit[2:], label[2:])
    torch.testing.assert_close(module.batch_loss(Batch(image[2:], label[2:], label[2:])), alone)


def test_gradient_of_a_mixed_batch_is_half_the_sum_of_two_networks_of_one_head() -> None:
    """Foreign: two plain LeNets that share every layer but the last, each on its own images."""
    data = Joined(Path("digit=Digits,turned=RotatedDigits"), limit=24)
    torch.manual_seed(0)
    both = Classifier(
        build("lenet", 20, 1), classes=head_names(data.tasks), preprocessing=data.native,
        architecture="builtin:lenet",
    )  # fmt: skip
    both.tasks = data.tasks
    batch = data.images("train").__getitems__([*range(5), *range(30, 41)])  # 5 and 11 of each
    module = TaskFineTuning(
        both, label_table(data.tasks, data.classes), Tuning(label_smoothing=0.0)
    )
    module.batch_loss(batch).backward()
    state, own = both.model.state_dict(), {}
    for p in range(2):
        alone, mine = build("lenet", 10, 1), batch.index % 2 == p
        head = {f"fc3.{n}": state[f"fc3.{n}"][10 * p : 10 * p + 10] for n in ("weight", "bias")}
        alone.load_state_dict({**state, **head})
        F.cross_entropy(alone(batch.image[mine]), batch.label[mine] - 10 * p).backward()
        own[p] = {name: tensor.grad for name, tensor in alone.named_parameters()}
    for name, tensor in both.model.named_parameters():
        shared = not name.startswith("fc3")
        wanted = own[0][name] + own[1][name] if shared else torch.cat([own[0][name], own[1][name]])
        # Float32 sums over other batches: relative 1e-4 of gradients of about 0.01.
        torch.testing.assert_close(tensor.grad, wanted / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recipe", [Tuning(mixup=0.2), Tuning(cutmix=1.0)])
def test_mixing_is_refused(classifier: Classifier, recipe: Tuning) -> None:
    with pytest.raises(UserError, match="mixup"):
        TaskFineTuning(classifier, label_table(TASKS, CLASSES), recipe)


def test_too_many_combinations_are_refused(classifier: Classifier) -> None:
    many = tuple(map(str, range(100)))
    classifier.tasks = tuple(Task(n, many, {m: m for m in many}) for n in ("a", "b"))
    with pytest.raises(UserError, match="10,000 combinations"):
        all_tasks(classifier)
