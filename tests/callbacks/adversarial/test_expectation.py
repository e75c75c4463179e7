"""Averaging over a model's randomness, against the model without it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from callbacks.adversarial import (
    APGD,
    FAB,
    FGSM,
    PGD,
    AdversarialProbe,
    AutoAttack,
    Linf,
    MinimumNormProbe,
    Square,
)
from callbacks.adversarial.expectation import Averaged
from callbacks.adversarial.losses import margin
from callbacks.adversarial.minimum_norm import DeepFool
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError
from lightning_modules import Classifier

WEIGHT = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(3, 16, generator=torch.Generator().manual_seed(1)) * 5


class Wavering:
    """A linear model whose noise is gone from the mean of any two answers, one after another."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, image: Tensor) -> Tensor:
        self.asked += 1
        return image.flatten(1) @ (WEIGHT + NOISE * (-1) ** self.asked).T


def still(image: Tensor) -> Tensor:
    return image.flatten(1) @ WEIGHT.T


def samples(n: int = 20) -> tuple[Tensor, Tensor, Draw]:
    image = 0.4 + 0.2 * torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return image, still(image).argmax(1), Draw(0, torch.arange(n))


def test_the_mean_of_answers_and_gradients_is_that_of_the_model_without_noise() -> None:
    """Exactly so where the loss is linear: of the margin, where one class is second everywhere."""
    image, label, _ = samples()
    model = Queries(Wavering(), 64)
    torch.testing.assert_close(Averaged(model, 2)(image), still(image))
    found = Averaged(model, 2).gradient(image, lambda z, y: z[:, 0], label)
    expected = Queries(still, 64).gradient(image, lambda z, y: z[:, 0], label)
    torch.testing.assert_close(found, expected)  # float32 sums
    assert (model.forwards, model.backwards) == (4 * len(image), 2 * len(image))

    def others(logits: Tensor, label: Tensor) -> Tensor:
        return logits - logits.gather(1, label[:, None])

    def rank(value: Tensor, gradient: Tensor) -> Tensor:
        return value.abs()

    nearest = Averaged(model, 2).least_gradient(image, others, rank, label)
    expected = Queries(still, 64).least_gradient(image, others, rank, label)
    torch.testing.assert_close(nearest, expected)
    assert (model.forwards, model.backwards) == (6 * len(image), 8 * len(image))


@pytest.mark.parametrize(
    "attack", [FGSM("margin"), PGD(10, loss="margin"), APGD(10, loss="margin"), FAB(5)]
)
def test_averaged_attacks_find_what_they_find_without_noise(attack: PGD) -> None:
    """Two classes, so that the margin is linear; without averaging the noise decides."""
    image, _, draw = samples()
    label = still(image)[:, :2].argmax(1)

    def two(model: Callable) -> Queries:
        return Queries(lambda x: model(x)[:, :2], 64)

    threat = Linf(0.1)
    expected = attack(two(still), image, label, threat, draw).image
    found = attack(Averaged(two(Wavering()), 2), image, label, threat, draw).image
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # rounding of sums of two
    alone = attack(two(Wavering()), image, label, threat, draw).image
    assert (margin(two(still)(alone), label) < margin(two(still)(expected), label) - 1e-3).any()


def test_the_option_of_apgd_is_the_same() -> None:
    image, label, draw = samples()
    own = APGD(10, eot=4)(Queries(Wavering(), 64), image, label, Linf(0.1), draw)
    ours = APGD(10)(Averaged(Queries(Wavering(), 64), 4), image, label, Linf(0.1), draw)
    assert torch.equal(own.image, ours.image)
    assert torch.equal(own.steps, 4 * ours.steps)


def test_rows_count_every_draw(one_pass: Callable) -> None:
    (plain,) = one_pass(AdversarialProbe(PGD(4), epsilons=[0.3], chunk=16)).values()
    probe = AdversarialProbe(PGD(4), epsilons=[0.3], chunk=16, eot=3)
    (rows,) = one_pass(probe).values()
    # The same answers three times: their mean may differ in the last bit, verdicts do not.
    assert (rows["correct"] == plain["correct"]).all()
    assert (rows["backwards"] == 3 * plain["backwards"]).all()
    assert (rows["forwards"] - 1 == 3 * (plain["forwards"] - 1))[plain["forwards"] > 0].all()
    assert probe.name == "pgd_linf_eot"
    nearest = MinimumNormProbe(DeepFool(), epsilons=[1.0], chunk=16)
    averaged = MinimumNormProbe(DeepFool(), epsilons=[1.0], chunk=16, eot=2)
    one, other = one_pass(nearest, averaged).values()
    assert (other["backwards"] == 2 * one["backwards"]).all()
    torch.testing.assert_close(
        *(torch.tensor(t["minimum_distance"].to_numpy()) for t in (one, other)), rtol=1e-4, atol=0
    )


def test_what_is_said(classifier: Classifier) -> None:
    for make in (
        lambda eot: AdversarialProbe(PGD(5), epsilons=[0.3], eot=eot),
        lambda eot: MinimumNormProbe(epsilons=[0.3], eot=eot),
    ):
        for deterministic, eot, told in (
            (True, 1, None),
            (True, 5, "5 draws are as good as one"),
            (False, 1, "see autoattack_rand, or average by `--eot 20`"),
            (False, 5, "every gradient is the mean of 5 draws"),
        ):
            classifier.facts["deterministic"] = deterministic
            probe = make(eot)
            probe.prepare(classifier, None)
            assert (told in probe.note) if told else not probe.note


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: AdversarialProbe(PGD(5), eot=0), "`eot` of at least 1"),
        (lambda: AdversarialProbe(Square(), eot=2), "Square follows no gradient"),
        (lambda: AdversarialProbe(AutoAttack(), eot=2), "take autoattack_rand"),
    ],
)
def test_bad_arguments(made: Callable, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made()
