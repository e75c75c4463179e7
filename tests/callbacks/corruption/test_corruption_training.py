"""Corruption as augmentation: which images, by what, and from YAML."""

import pytest
import torch
from torch import nn

from callbacks.corruption import CORRUPTIONS, CorruptionTraining
from callbacks.randomness import Draw
from datamodules.errors import UserError

NAMES = ("gaussian_noise", "fog", "contrast")


def images(n: int = 400) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_share_is_corrupted_by_one_of_the_names() -> None:
    image = images()
    perturb = CorruptionTraining(NAMES, (2, 4), share=0.25)
    found = perturb(nn.Identity(), image, torch.zeros(400, dtype=torch.long))
    hit = (found != image).flatten(1).any(1)
    assert hit.float().mean() == pytest.approx(0.25, abs=0.07)  # three standard errors
    assert found.min() >= 0
    assert found.max() <= 1
    rows = torch.arange(400)
    which = (Draw(0, rows).uniform("corruption", 0, ()) * 3).long()
    for place, name in enumerate(NAMES):
        chosen = (hit & (which == place)).nonzero().squeeze(1)
        assert len(chosen) > 10
        draw = Draw(0, rows).select(chosen)
        severity = 2 + 2 * float(draw.uniform("severity", 0, ())[0])
        assert torch.equal(found[chosen], CORRUPTIONS[name]()(image[chosen], severity, draw))
    again = perturb(nn.Identity(), image, rows)
    assert not torch.equal(found, again), "another draw for every batch"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"corruptions": ["fogg"]}, "Did you mean 'fog'"),
        ({"corruptions": []}, "at least one of `corruptions`"),
        ({"severities": (3, 9)}, "between 1 and 5"),
        ({"severities": (4, 2)}, "between 1 and 5"),
        ({"share": 0}, "`share` in"),
    ],
)
def test_mistakes(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        CorruptionTraining(**options)
