"""Losses against scipy, reckoning by hand, and what they promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from callbacks.adversarial.losses import LOSSES, TARGETED_LOSSES, chosen_loss
from datamodules.errors import UserError

LOGITS = torch.tensor([[4.0, 1.0, 3.0, 0.0], [1.0, 2.0, 0.5, -1.0]])
LABEL = torch.tensor([0, 0])
TARGET = torch.tensor([2, 3])
BY_HAND = {
    "margin": [3 - 4, 2 - 1],
    "dlr": [(3 - 4) / (4 - 1), (2 - 1) / (2 - 0.5)],
}
TARGETED_BY_HAND = {
    "margin": [3 - 4, -1 - 2],
    "dlr": [(3 - 4) / (4 - (1 + 0) / 2), (-1 - 1) / (2 - (0.5 - 1) / 2)],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    torch.testing.assert_close(LOSSES[name](LOGITS, LABEL), torch.tensor(BY_HAND[name]).float())
    targeted = TARGETED_LOSSES[name](LOGITS, LABEL, TARGET)
    torch.testing.assert_close(targeted, torch.tensor(TARGETED_BY_HAND[name]).float())


def test_cross_entropy_is_scipys() -> None:
    log_p = log_softmax(LOGITS.double().numpy(), axis=1)
    rows = np.arange(2)
    np.testing.assert_allclose(LOSSES["ce"](LOGITS, LABEL), -log_p[rows, LABEL], rtol=1e-5)
    targeted = TARGETED_LOSSES["ce"](LOGITS, LABEL, TARGET)
    np.testing.assert_allclose(targeted, log_p[rows, TARGET], rtol=1e-5)


def random_logits(classes: int, n: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    logits = 5 * torch.randn(n, classes, generator=torch.Generator().manual_seed(classes))
    label = torch.arange(n) % classes
    return logits, label, (label + 1) % classes


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_dlr_ignores_scale_and_offset_and_knows_the_verdict(classes: int) -> None:
    logits, label, target = random_logits(classes)
    loss = LOSSES["dlr"](logits, label)
    torch.testing.assert_close(LOSSES["dlr"](logits * 7 + 3, label), loss, rtol=1e-4, atol=1e-5)
    wrong = logits.argmax(1) != label
    assert torch.equal(loss > 0, wrong)
    assert ((loss >= -1 - 1e-6) & (loss <= 0))[~wrong].all()
    margin = TARGETED_LOSSES["margin"](logits, label, target)
    assert torch.equal(margin > 0, logits.argmax(1) == target)


@pytest.mark.parametrize(("name", "classes"), [("dlr", 2), ("margin", 2), ("dlr", 3)])
def test_few_classes_fall_back_on_the_difference_of_logits(name: str, classes: int) -> None:
    logits, label, target = random_logits(classes)
    row = torch.arange(len(label))
    difference = logits[row, target] - logits[row, label]
    if classes == 2:
        torch.testing.assert_close(LOSSES[name](logits, label), difference)
    expected = difference if name == "dlr" or classes == 2 else None
    torch.testing.assert_close(TARGETED_LOSSES[name](logits, label, target), expected)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_are_finite_where_logits_tie(loss: Callable[..., Tensor]) -> None:
    logits = torch.zeros(3, 5, requires_grad=True)
    value = loss(logits, torch.tensor([0, 1, 4])).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    assert gradient.isfinite().all()
    assert math.isfinite(float(value.detach()))


def test_unknown_name() -> None:
    message = "Expected `loss` to be one of ce, margin, dlr, but got 'cw'."
    with pytest.raises(UserError, match=message):
        chosen_loss("cw", None)  # type: ignore[arg-type]
