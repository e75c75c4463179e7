"""Images dealt out among clients: each to one, in the shares that were asked for."""

import numpy as np
import pytest
import torch

from datamodules import UserError
from datamodules.partition import partition

LABEL = torch.arange(1000) % 10


@pytest.mark.parametrize("split", ["even", "halves", "dirichlet"])
def test_every_image_goes_to_one_client(split: str) -> None:
    parts = partition(LABEL, 4, split, seed=3)  # type: ignore[arg-type]
    assert torch.cat(parts).sort().values.tolist() == list(range(1000))
    again = partition(LABEL, 4, split, seed=3)  # type: ignore[arg-type]
    assert all(torch.equal(one, other) for one, other in zip(parts, again, strict=True))


def test_even_and_halves_have_their_classes() -> None:
    even = [LABEL[rows].bincount(minlength=10) for rows in partition(LABEL, 4, "even")]
    assert all((counts == 25).all() for counts in even)
    halves = [LABEL[rows].bincount(minlength=10).tolist() for rows in partition(LABEL, 4, "halves")]
    assert halves == [[50] * 5 + [0] * 5, [0] * 5 + [50] * 5] * 2


def test_dirichlet_shares_have_their_moments() -> None:
    """Mean 1/m and variance (1/m)(1 - 1/m) / (m alpha + 1) of a symmetric Dirichlet law."""
    shares = np.concatenate([
        np.stack([LABEL[rows].bincount(minlength=10) for rows in partition(
            LABEL, 4, "dirichlet", alpha=0.5, seed=seed)]) / 100
        for seed in range(40)
        if _deals(seed)
    ])  # fmt: skip
    assert shares.mean() == pytest.approx(0.25)
    # 40 draws of 10 classes: the deviation of the variance's estimate is about 4 % of it.
    assert shares.var() == pytest.approx(0.25 * 0.75 / 3, rel=0.12)


def _deals(seed: int) -> bool:
    try:
        partition(LABEL, 4, "dirichlet", 0.5, seed)
    except UserError:
        return False
    return True


def test_mistakes() -> None:
    with pytest.raises(UserError, match="at least two `clients`, but got 1"):
        partition(LABEL, 1, "even")
    with pytest.raises(UserError, match=r"`federated\.alpha` above 0, but got 0"):
        partition(LABEL, 2, "dirichlet", alpha=0)
    with pytest.raises(UserError, match="No image is left for client"):
        partition(LABEL[:10], 8, "halves")
