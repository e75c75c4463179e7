"""One class as the target of all: its own images are left alone, and models at random are told."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from callbacks.adversarial import PGD, AdversarialProbe, AutoAttack, Universal, UniversalProbe
from datamodules import Digits
from datamodules.errors import UserError
from datamodules.images import MemoryImages
from lightning_modules import Classifier


def probe(**options: object) -> AdversarialProbe:
    return AdversarialProbe(PGD(steps=5), epsilons=[0.3], chunk=16, **options)  # type: ignore[arg-type]


def test_images_of_the_target_class_are_not_attacked(one_pass: Callable) -> None:
    (rows,) = one_pass(probe(targeted=3)).values()
    own = rows["label"] == 3
    assert own.any()
    assert (rows["target"] == 3).all()
    assert (rows.loc[own, ["success", "forwards", "distance"]] == 0).all(axis=None)
    assert rows.loc[~own, "success"].any()
    assert (probe(targeted=3).reported, probe().reported) == (("success",), ())


class Silent(nn.Module):
    """Answers NaN to every image, the largest of which is said to be at 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1)[:, :10] * torch.nan


@pytest.mark.parametrize("objective", ["verdict", "loss"])
def test_no_answer_reaches_no_target(
    one_pass: Callable, classifier: Classifier, objective: str
) -> None:
    classifier.model = Silent()
    probes = [
        probe(targeted=0, objective=objective),
        probe(objective=objective),
        UniversalProbe(Universal(1), epsilons=[0.3], targeted=0, chunk=16),
    ]
    towards, away, pattern = one_pass(*probes).values()
    assert not towards["success"].any()
    assert not pattern["success"].any()
    assert away["success"].all()
    assert not away["correct"].any()


def test_a_target_that_is_no_other_class_is_refused(classifier: Classifier) -> None:
    with pytest.raises(UserError, match="between 0 and 9, but got 10"):
        probe(targeted=10).prepare(classifier, None)
    with pytest.raises(UserError, match="another class than the label, but all 4 images"):
        probe(targeted=3)._check_target(torch.full((4,), 3))
    with pytest.raises(UserError, match="another class than the label"):
        UniversalProbe(targeted=3).prepare(classifier, Threes(limit=20))


class Threes(Digits):
    """Every image is a three."""

    def load(self, split: str) -> MemoryImages:
        images = super().load(split)
        images.label = torch.full_like(images.label, 3)
        return images


def test_models_that_answer_at_random_get_rand_and_are_told(classifier: Classifier) -> None:
    classifier.facts["deterministic"] = False
    attack = AdversarialProbe(AutoAttack(), epsilons=[0.3])
    for _ in range(2):  # once at the door, once in the pass
        attack.prepare(classifier, None)
        assert attack.attack == AutoAttack("rand")
        assert "AutoAttack rand was run" in attack.note
    plain = probe()
    plain.prepare(classifier, None)
    assert "see autoattack_rand" in plain.note
