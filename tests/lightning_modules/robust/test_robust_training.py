"""Robust training: its losses by hand, free steps by hand, and which epoch is kept."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.adversarial import PGD, AdversarialTraining, FreeTraining, Linf, SoftLabelTraining
from callbacks.adversarial.training import StillRight
from datamodules import Batch, UserError
from lightning_modules import Classifier, Tuning
from lightning_modules.robust import RobustFineTuning, RobustRecipe, mart_loss, trades_loss

SGD = Tuning(optimizer="sgd", lr=0.1, weight_decay=0, momentum=0, schedule="constant", warmup=0)
ATTACK = AdversarialTraining(0.1, attack=PGD(steps=2))


def by_hand(loss: str, attacked: np.ndarray, clean: np.ndarray, y: np.ndarray, beta: float) -> Any:
    """As the papers write it, in float64."""
    p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (clean, attacked))
    rows = np.arange(len(y))
    divergence = (p * np.log(p / q)).sum(1)
    if loss == "trades":
        return (-np.log(p[rows, y]) + beta * divergence).mean()
    others = np.where(np.eye(p.shape[1])[y] == 1, 0, q).max(1)
    boosted = -np.log(q[rows, y]) - np.log(1.0001 - others)
    return (boosted + beta * divergence * (1 - p[rows, y])).mean()


@pytest.mark.parametrize("loss", ["trades", "mart"])
def test_losses_are_those_of_the_papers(loss: str) -> None:
    generator = torch.Generator().manual_seed(0)
    attacked, clean = (3 * torch.randn(7, 4, generator=generator).double() for _ in range(2))
    y = torch.arange(7) % 4
    found = {"trades": trades_loss, "mart": mart_loss}[loss](attacked, clean, y, 3.0)
    wanted = by_hand(loss, attacked.numpy(), clean.numpy(), y.numpy(), 3.0)
    assert float(found) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("loss", [trades_loss, mart_loss])
def test_losses_stay_finite_on_certain_answers(loss: Callable[..., Tensor]) -> None:
    certain = torch.tensor([[1e4, 0.0, 0.0]], requires_grad=True)
    for label in (0, 1):
        value = loss(certain, -certain, torch.tensor([label]))
        (gradient,) = torch.autograd.grad(value, certain)
        assert value.isfinite()
        assert gradient.isfinite().all()


def still_right(_: nn.Module, batch: Batch) -> Tensor:
    return torch.ones(len(batch.label), dtype=torch.bool)


def module(classifier: Classifier, perturb: Any = ATTACK, **recipe: Any) -> RobustFineTuning:
    tuning = recipe.pop("tuning", SGD)
    withstands = recipe.pop("withstands", still_right)
    return RobustFineTuning(classifier, tuning, perturb, RobustRecipe(**recipe), withstands)


def plain(classifier: Classifier) -> Classifier:
    """Without dropout and batch norm, which differ between training and test."""
    classifier.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    return classifier


def test_free_steps_by_hand(classifier: Classifier, fit: Callable, digits: Batch) -> None:
    """Weights and disturbance after two epochs of four batches, each replayed three times."""
    classifier = plain(classifier)
    net, offset = copy.deepcopy(classifier.model), torch.zeros(50, 1, 8, 8)
    for start in [*range(0, 200, 50)] * 2:
        image, label = digits.image[start : start + 50], digits.label[start : start + 50]
        for _ in range(3):
            shown = (image + offset).clamp(0, 1).requires_grad_()
            loss = F.cross_entropy(net(shown), label)
            *steps, uphill = torch.autograd.grad(loss, [*net.parameters(), shown])
            with torch.no_grad():
                for parameter, step in zip(net.parameters(), steps, strict=True):
                    parameter -= 0.1 * step
                offset = (offset + 0.05 * uphill.sign()).clamp(-0.05, 0.05)
    free = FreeTraining(0.05, replays=3)
    trainer = fit(module(classifier, free), max_epochs=2)
    assert trainer.global_step == 24
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(classifier.model.get_parameter(name), parameter)
    assert free._offset is not None
    torch.testing.assert_close(free._offset, offset)


@pytest.mark.parametrize("loss", ["trades", "mart"])
def test_a_step_by_hand(loss: str, classifier: Classifier, fit: Callable, digits: Batch) -> None:
    """One batch: the gradient of the paper's loss at images that the attack gives again."""
    classifier = plain(classifier)
    perturb = SoftLabelTraining(0.1, steps=2) if loss == "trades" else ATTACK
    before = copy.deepcopy(classifier)
    image, label = digits.image[:50], digits.label[:50]
    aim = before(image).softmax(1).detach() if loss == "trades" else label
    attacked = copy.deepcopy(perturb)(before, image, aim).detach()
    formula = {"trades": trades_loss, "mart": mart_loss}[loss]
    value = formula(before(attacked), before(image), label, 2.0)
    steps = torch.autograd.grad(value, list(before.model.parameters()))
    fit(module(classifier, copy.deepcopy(perturb), loss=loss, beta=2.0), max_steps=1)
    moved = zip(before.model.parameters(), steps, classifier.model.parameters(), strict=True)
    for parameter, step, after in moved:
        torch.testing.assert_close(after, parameter - 0.1 * step)


def measured(shares: list[float]) -> Callable[[nn.Module, Batch], Tensor]:
    """Pretends these robust accuracies, one a measurement of all images."""
    rest = list(shares)

    def right(_: nn.Module, batch: Batch) -> Tensor:
        share = rest.pop(0)
        return torch.arange(len(batch.label)) < share * len(batch.label)

    return right


@pytest.mark.parametrize(
    ("every", "epochs", "seen"),
    [(1, 4, [0, 1, 2, 3]), (2, 4, [0, 2, 3]), (3, 3, [0, 2]), (0, 2, [])],
)
def test_robust_accuracy_is_measured_every_n_epochs(
    every: int, epochs: int, seen: list[int], classifier: Classifier, fit: Callable
) -> None:
    asked = []

    def right(_: nn.Module, batch: Batch) -> Tensor:
        asked.append(len(batch.label))
        return torch.ones(len(batch.label), dtype=torch.bool)

    one = module(plain(classifier), every=every, images=70, withstands=right)
    trainer = fit(one, max_epochs=epochs, limit_val_batches=4)
    assert asked == [50, 20] * len(seen), "70 images of batches of 50"
    assert ("val/robust_acc" in trainer.callback_metrics) == bool(seen)
    assert one.monitor == ("val/robust_acc" if every else "val/acc")


def test_a_sudden_fall_ends_the_training(classifier: Classifier, fit: Callable) -> None:
    one = module(plain(classifier), images=50, withstands=measured([0.5, 0.8, 0.1, 0.9]))
    trainer = fit(one, max_epochs=4, limit_val_batches=1)
    assert trainer.current_epoch == 3
    assert "fell from 80.0% to 10.0%" in one.overfitted


def test_robust_accuracy_is_that_of_the_attack(classifier: Classifier, digits: Batch) -> None:
    """A linear network of two classes: an image stands iff its margin exceeds eps ||w||_1."""
    linear = nn.Linear(64, 2, bias=False)
    inside = digits._replace(image=0.4 + 0.2 * digits.image)  # so that the box never binds
    classifier.model = nn.Sequential(nn.Flatten(), linear)
    classifier.classes = ("a", "b")
    logits = classifier(inside.image).detach()
    label = logits.argmax(1)
    reach = 0.005 * (linear.weight[0] - linear.weight[1]).abs().sum()
    right = StillRight(Linf(0.005), PGD(steps=20), 0)(classifier, inside._replace(label=label))
    assert torch.equal(right, (logits[:, 0] - logits[:, 1]).abs() > reach)
    assert 0 < int(right.sum()) < 200


MISTAKES: dict[str, tuple[Callable[[Classifier], Any], str]] = {
    "trades with labels": (lambda c: module(c, loss="trades"), "SoftLabelTraining"),
    "mart with probabilities": (
        lambda c: module(c, SoftLabelTraining(0.1), loss="mart"), "AdversarialTraining"
    ),
    "free trades": (lambda c: module(c, FreeTraining(0.1), loss="mart"), "say plain"),
    "mixed": (lambda c: module(c, loss="mart", tuning=Tuning(mixup=0.3)), "`mixup`"),
    "beta of nothing": (lambda _: RobustRecipe(beta=2.0), "belongs to --robust.loss"),
    "negative beta": (lambda _: RobustRecipe("mart", beta=-1.0), "at least 0"),
    "never measured": (lambda _: RobustRecipe(every=0, select="robust_acc"), "never measures"),
    "no images": (lambda _: RobustRecipe(images=0), "`robust.images` of at least 1"),
    "no fall": (lambda _: RobustRecipe(drop=0.0), "`robust.drop`"),
    "no replays": (lambda _: FreeTraining(0.1, replays=0), "`replays` of at least 1"),
    "no ball": (lambda _: FreeTraining(0.0), "`epsilon` to be positive"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_sentences(case: str, classifier: Classifier) -> None:
    make, said = MISTAKES[case]
    with pytest.raises(UserError, match=said):
        make(classifier)


class Recorded:
    """An attack that does nothing but write down its radius."""

    norm = "linf"

    def __init__(self) -> None:
        self.epsilon, self.radii = 0.4, []

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        self.radii.append(self.epsilon)
        return image


def test_the_radius_rises_over_a_share_of_the_training(
    classifier: Classifier, fit: Callable
) -> None:
    """Two epochs of four batches, half of them rising: a quarter more at every step."""
    attack = Recorded()
    fit(module(plain(classifier), attack, ramp=0.5), max_epochs=2)
    assert attack.radii == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])
    assert attack.epsilon == 0.4
