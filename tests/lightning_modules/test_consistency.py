"""Answers that must agree: the divergence by hand, and the loss of a batch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from torch import Tensor, nn

from datamodules import Preprocessing
from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules import Classifier, Tuning
from lightning_modules.consistency import ConsistentFineTuning, jensen_shannon


def logits(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(7, 5, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_divergence_is_the_definition(count: int) -> None:
    answers = logits(count)
    p = np.stack([one.double().softmax(1).numpy() for one in answers])
    # H(mean) - mean H, the other form of it, by scipy.
    expected = (entropy(p.mean(0), axis=1) - entropy(p, axis=2).mean(0)).mean()
    assert float(jensen_shannon(*answers)) == pytest.approx(expected, rel=1e-5)
    if count == 2:
        squares = jensenshannon(p[0], p[1], axis=1) ** 2
        assert float(jensen_shannon(*answers)) == pytest.approx(squares.mean(), rel=1e-5)


def test_its_ends_and_its_gradient_are_finite() -> None:
    sure = [torch.eye(3)[[i]] * 2000 for i in range(3)]
    for one in sure:
        one.requires_grad_()
    found = jensen_shannon(*sure)
    assert found.item() == pytest.approx(math.log(3), rel=1e-6)
    found.backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in sure)
    with_infinity = torch.tensor([[0.0, -torch.inf]])
    assert float(jensen_shannon(with_infinity, with_infinity)) == 0


class Shift:
    """Another copy at every call."""

    consistency = 5.0

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        self.calls += 1
        return image + 0.1 * self.calls


def classifier() -> Classifier:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    seen = Preprocessing(channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Classifier(model, classes=4, preprocessing=seen, architecture="test")


def test_the_loss_of_a_batch() -> None:
    module = ConsistentFineTuning(classifier(), Tuning(label_smoothing=0.1), Shift())
    batch = Batch(torch.rand(6, 3, 2, 2), torch.arange(6) % 4, torch.arange(6))
    found = module.batch_loss(batch)
    answers = [module(batch.image + by) for by in (0, 0.1, 0.2)]
    expected = F.cross_entropy(answers[0], batch.label, label_smoothing=0.1)
    assert float(found) == pytest.approx(float(expected + 5 * jensen_shannon(*answers)), rel=1e-6)


def test_mixed_images_have_no_copies() -> None:
    with pytest.raises(UserError, match=r"set `perturb.init_args.consistency` to 0"):
        ConsistentFineTuning(classifier(), Tuning(mixup=0.2), Shift())
