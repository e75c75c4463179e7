"""Regularisers: each by hand in float64, and in a training step of each kind."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.adversarial import PGD, AdversarialTraining, FreeTraining, SoftLabelTraining
from datamodules import Batch, UserError
from lightning_modules import Classifier, DivergedError, FineTuning, GaussianNoise, Tuning
from lightning_modules.distillation import Distillation
from lightning_modules.regularisers import (
    REGULARISERS,
    AdversarialWeights,
    Regularisation,
    Step,
    clean_logit_pairing,
    input_gradient_penalty,
    logit_pairing,
    noise_consistency,
    worst_offsets,
)
from lightning_modules.robust import RobustFineTuning, RobustRecipe

SGD = Tuning(optimizer="sgd", lr=0.1, weight_decay=0, momentum=0, schedule="constant", warmup=0)
ATTACK = AdversarialTraining(0.1, attack=PGD(steps=2))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


# -- the functions -------------------------------------------------------------------------------


def test_logit_pairing_by_hand() -> None:
    one, other = torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([[0.0, 2.0], [2.0, 1.0]])
    assert float(logit_pairing(one, other)) == (1 + 0 + 4 + 9) / 4
    # (1, 2) with (2, 1); the odd fifth row has no partner.
    rows = torch.tensor([[1.0, 2.0], [0.0, 0.0], [2.0, 1.0], [3.0, 4.0], [9.0, 9.0]])
    assert float(clean_logit_pairing(rows)) == (1 + 1 + 9 + 16) / 4
    assert float(clean_logit_pairing(rows[:1])) == 0


def test_noise_consistency_by_hand() -> None:
    noisy, clean = drawn(6, 4), drawn(6, 4, seed=1)
    p, q = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (clean.numpy(), noisy.numpy()))
    assert float(noise_consistency(noisy, clean)) == pytest.approx(
        (p * np.log(p / q)).sum(1).mean(), rel=1e-12
    )
    assert float(noise_consistency(clean, clean)) == 0


def test_the_input_gradient_penalty_of_a_linear_model() -> None:
    """Value and gradient in closed form: d loss / d x = W'(p - y), so R = mean |W'(p - y)|^2."""
    weight, image = drawn(3, 8).requires_grad_(), drawn(5, 2, 2, 2, seed=1)
    label = torch.tensor([0, 1, 2, -1, 1])

    def ask(shown: Tensor) -> Tensor:  # the penalty asks for float32 answers
        return _Double(shown.flatten(1) @ weight.T)

    found = input_gradient_penalty(ask, image, label)  # type: ignore[arg-type]
    p = (image.flatten(1) @ weight.T).softmax(1)
    error = torch.where(label[:, None] >= 0, p - F.one_hot(label.clamp_min(0), 3), 0.0)
    wanted = (error @ weight).square().sum(1).mean()
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(v, weight)[0] for v in (found, wanted)))


def _Double(logits: Tensor) -> Any:  # noqa: N802
    """Stays float64 where float32 is asked for, so that the closed form holds to 1e-12."""
    logits.float = lambda: logits  # type: ignore[method-assign]
    return logits


def test_attention_has_a_second_derivative() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def ask(image: Tensor) -> Tensor:
        rows = image.flatten(2)
        return attention(rows, rows, rows, need_weights=False)[0].mean(1)

    found = input_gradient_penalty(ask, torch.rand(3, 4, 2, 4), torch.tensor([0, 1, 2]))
    found.backward()
    assert attention.in_proj_weight.grad is not None


def test_the_step_of_the_weights_by_hand() -> None:
    weights, gradients = [drawn(2, 3), drawn(4)], [drawn(2, 3, seed=1), torch.zeros(4).double()]
    first, second = worst_offsets(weights, gradients, 0.01)
    w, g = weights[0].numpy(), gradients[0].numpy()
    wanted = 0.01 * np.sqrt((w**2).sum()) * g / np.sqrt((g**2).sum())
    np.testing.assert_allclose(first.numpy(), wanted, rtol=1e-12)
    assert float(first.norm() / weights[0].norm()) == pytest.approx(0.01)
    assert not second.any(), "no gradient, no step"


def test_worse_weights_are_worse_and_go_back_to_the_bit(
    classifier: Classifier, digits: Batch
) -> None:
    net: Any = classifier.model.train()
    net[3].p = 0.0  # dropout would draw another mask
    before = copy.deepcopy(net.state_dict())

    def loss() -> Tensor:
        return F.cross_entropy(net(digits.image), digits.label)

    climber, start = AdversarialWeights(0.05), float(loss().detach())
    net.load_state_dict(before)
    climber.climb(net, loss)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"0.weight", "5.weight"}, "no bias, no norm, and no statistics"
    for name in moved:
        way = net.state_dict()[name] - before[name]
        assert float(way.norm() / before[name].norm()) == pytest.approx(0.05, rel=1e-4)  # float32
    assert float(loss().detach()) > start
    climber.restore()
    climber.restore()
    kept = {k: v for k, v in net.state_dict().items() if "running" not in k and "num" not in k}
    assert all(torch.equal(v, before[k]) for k, v in kept.items())


def test_an_image_is_asked_about_once() -> None:
    calls: list[int] = []

    def ask(image: Tensor) -> Tensor:
        calls.append(1)
        return image.flatten(1).half()

    image = torch.rand(2, 1, 2, 2)
    step = Step(ask, image, image + 0, torch.zeros(2))
    assert step.logits(step.image) is step.logits(step.image)
    assert step.logits(step.disturbed).dtype == torch.float32
    assert len(calls) == 2


# -- in a training -------------------------------------------------------------------------------


def linear(classifier: Classifier) -> Classifier:
    """Without dropout and batch norm, which differ between training and test."""
    torch.manual_seed(1)
    classifier.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    return classifier


TERMS: dict[str, Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]] = {
    "logit_pairing": lambda f, x, d, y: F.mse_loss(f(d), f(x)),
    "clean_logit_pairing": lambda f, x, d, y: F.mse_loss(f(d)[:25], f(d)[25:]),
    "input_gradient": lambda f, x, d, y: (
        ((f(x).softmax(1) - F.one_hot(y, 10)) @ f[1].weight).square().sum(1).mean()  # type: ignore[index]
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_training_by_hand(
    name: str, classifier: Classifier, fit: Callable, digits: Batch
) -> None:
    """Four steps of SGD on loss + lambda R(f), the images disturbed by a fixed rule."""
    classifier = linear(classifier)
    net = copy.deepcopy(classifier.model)

    def darker(classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        return 0.8 * image

    module = FineTuning(classifier, SGD, darker, Regularisation(**{name: 0.3}))  # type: ignore[arg-type]
    trainer = fit(module, max_epochs=1)
    told = []
    for start in range(0, 200, 50):
        image, label = digits.image[start : start + 50], digits.label[start : start + 50]
        term = TERMS[name](net, image, 0.8 * image, label)
        told.append(float(term.detach()))
        loss = F.cross_entropy(net(0.8 * image), label) + 0.3 * term
        for w, g in zip(
            net.parameters(), torch.autograd.grad(loss, [*net.parameters()]), strict=True
        ):
            w.data -= 0.1 * g
    for found, wanted in zip(classifier.model.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert float(trainer.callback_metrics[f"train/{name}"]) == pytest.approx(
        np.mean(told), rel=1e-5
    )


def test_a_training_at_worse_weights_by_hand(
    classifier: Classifier, fit: Callable, digits: Batch
) -> None:
    """The gradient at w + v moves w; the first epoch has none of it."""
    classifier = linear(classifier)
    net: Any = copy.deepcopy(classifier.model)
    fit(FineTuning(classifier, SGD, None, Regularisation(awp=0.1, awp_from=1)), max_epochs=2)

    def slope(start: int) -> list[Tensor]:
        part = slice(start, start + 50)
        loss = F.cross_entropy(net(digits.image[part]), digits.label[part])
        return [*torch.autograd.grad(loss, [*net.parameters()])]

    for epoch in (0, 1):
        for start in range(0, 200, 50):
            kept, (uphill, _) = [w.detach().clone() for w in net.parameters()], slope(start)
            if epoch:
                net[1].weight.data += 0.1 * kept[0].norm() * uphill / uphill.norm()
            for w, before, g in zip(net.parameters(), kept, slope(start), strict=True):
                w.data = before - 0.1 * g
    for found, wanted in zip(classifier.model.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


EVERY = Regularisation(
    logit_pairing=0.1, clean_logit_pairing=0.1, input_gradient=0.1, noise_consistency=0.1, awp=0.01
)


def robust(classifier: Classifier, loss: Any, perturb: Any) -> RobustFineTuning:
    def right(_: nn.Module, batch: Batch) -> Tensor:
        return torch.ones(len(batch.label), dtype=torch.bool)

    return RobustFineTuning(classifier, SGD, perturb, RobustRecipe(loss), right, EVERY)


MODULES: dict[str, Callable[[Classifier], FineTuning]] = {
    "noise": lambda c: FineTuning(c, SGD, GaussianNoise(), EVERY),
    "mixed": lambda c: FineTuning(c, Tuning(mixup=0.2), GaussianNoise(), EVERY),
    "linear probe": lambda c: FineTuning(c, Tuning(mode="linear_probe"), GaussianNoise(), EVERY),
    "pgd": lambda c: robust(c, "plain", ATTACK),
    "mart": lambda c: robust(c, "mart", ATTACK),
    "trades": lambda c: robust(c, "trades", SoftLabelTraining(0.1, steps=2)),
    "distillation": lambda c: Distillation(
        copy.deepcopy(c), c, None, SGD, ATTACK, None, torch.arange(100), EVERY
    ),
}


@pytest.mark.parametrize("case", MODULES)
def test_every_training_takes_every_regulariser(
    case: str, classifier: Classifier, fit: Callable
) -> None:
    trainer = fit(MODULES[case](classifier), max_epochs=1)
    for name in REGULARISERS:
        assert torch.isfinite(trainer.callback_metrics[f"train/{name}"]), name


def test_weights_come_back_before_a_training_ends(classifier: Classifier, fit: Callable) -> None:
    classifier = linear(classifier)
    before = copy.deepcopy(classifier.model.state_dict())

    def nothing(classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        return image * torch.inf

    with pytest.raises(DivergedError):
        fit(FineTuning(classifier, SGD, nothing, Regularisation(awp=0.1)))
    assert all(torch.equal(v, before[k]) for k, v in classifier.model.state_dict().items())


MISTAKES: dict[str, tuple[Callable[[Classifier], Any], str]] = {
    "negative": (lambda _: Regularisation(input_gradient=-1), "input_gradient.*at least 0.*-1"),
    "not a number": (lambda _: Regularisation(awp=float("nan")), "regulariser.awp"),
    "noise of nothing": (lambda _: Regularisation(noise=0.1), "noise_consistency"),
    "no noise": (lambda _: Regularisation(noise=0.0, noise_consistency=1), "both are above 0"),
    "awp_from alone": (lambda _: Regularisation(awp_from=3), "awp_from"),
    "pairing without attack": (
        lambda c: FineTuning(c, SGD, None, Regularisation(logit_pairing=1)),
        "without `perturb`",
    ),
    "free training": (
        lambda c: robust(c, "plain", FreeTraining(0.1)),
        "regulariser.*free training",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, classifier: Classifier) -> None:
    make, said = MISTAKES[case]
    with pytest.raises(UserError, match=said):
        make(classifier)
