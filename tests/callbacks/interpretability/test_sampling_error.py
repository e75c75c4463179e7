"""Sampling errors of maps: the spread over repeated draws, and refits by scikit-learn."""

from typing import Any

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import EXPLAINERS, KernelShap, Lime, PermutationImportance, Rise
from callbacks.interpretability.regions.segments import grid_segments, spread
from callbacks.interpretability.sampling_error import Estimated, estimated, relative_error, rivals
from callbacks.interpretability.surrogates.least_squares import ridge_errors

SEEDS = 20
DONORS = torch.rand(50, 1, 28, 28, generator=torch.Generator().manual_seed(7))
DRAWN = {
    "rise": Rise(100),
    "kernel_shap": KernelShap(128, 4),
    "lime": Lime(150, 1, 4),
    "permutation": PermutationImportance(8, 4, DONORS),
}


@pytest.mark.parametrize("name", DRAWN)
def test_standard_errors_are_the_spread_over_repeated_seeds(name: str, network: nn.Module) -> None:
    image = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model, target = Queries(network, 256), torch.tensor([0, 1, 2])
    runs = [
        estimated(DRAWN[name], model, image, target, Draw(seed, torch.arange(3)))
        for seed in range(SEEDS)
    ]
    told = torch.stack([run.standard_error for run in runs]).square().mean(0)  # type: ignore[arg-type]
    seen = torch.stack([run.map for run in runs]).var(0)
    ratio = (told.sum((1, 2, 3)) / seen.sum((1, 2, 3))).sqrt()
    # 20 seeds tell a spread to 16 %, less over patches that err together; the jackknife is on the
    # safe side by 10 to 15 %, the more the fewer rows there are for a patch.
    assert float(ratio.min()) > 0.8
    assert float(ratio.max()) < 1.35


def test_errors_of_a_ridge_are_those_of_leaving_rows_out() -> None:
    """Each row left out and all others fitted again, by scikit-learn."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*shape, generator=generator).double() for shape in ((2, 30, 4), (2, 30)))
    weight = torch.rand(2, 30, generator=generator).double()
    found = ridge_errors(x, y, weight, 0.7)
    for n in range(2):
        left = []
        for row in range(30):
            rest = [i for i in range(30) if i != row]
            fit = Ridge(alpha=0.7).fit(x[n, rest], y[n, rest], weight[n, rest])
            left.append(torch.as_tensor(fit.coef_))
        whole = torch.as_tensor(Ridge(alpha=0.7).fit(x[n], y[n], weight[n]).coef_)
        wanted = (29 / 30 * (torch.stack(left) - whole).square().sum(0)).sqrt()
        torch.testing.assert_close(found[n], wanted, rtol=1e-8, atol=1e-10)


EXACT = [KernelShap(14, 2), EXPLAINERS["occlusion"](2)]


@pytest.mark.parametrize("explainer", EXACT, ids=["all coalitions", "nothing drawn"])
def test_what_draws_nothing_has_no_error(explainer: Any, network: nn.Module) -> None:
    image, draw = torch.rand(2, 1, 28, 28), Draw(0, torch.arange(2))
    found = estimated(explainer, Queries(network, 16), image, torch.tensor([0, 1]), draw)
    assert found.standard_error is None or not found.standard_error.any()
    assert torch.equal(
        found.map, explainer(Queries(network, 16), image, torch.tensor([0, 1]), draw)
    )


def patches(value: list[float], error: list[float]) -> Estimated:
    segment = grid_segments(torch.zeros(4, 4), 2)
    return Estimated(*(spread(torch.tensor([one]), segment) for one in (value, error)))


def test_rivals_are_those_within_the_error_of_the_difference() -> None:
    """3 and 2 differ by 1, with errors .3 and .4 by 2 standard errors, with .3 and .5 by less."""
    assert rivals(patches([3.0, 2.0, 0.0, -3.0], [0.3, 0.4, 0.3, 0.0]), 2).tolist() == [0]
    assert rivals(patches([3.0, 2.0, 0.0, -3.0], [0.3, 0.5, 0.3, 0.0]), 2).tolist() == [1]
    assert rivals(patches([1.0, 1.0, 1.0, 1.0], [0.1] * 4), 2).tolist() == [3]


def test_a_level_that_is_drawn_too_tells_no_patches_apart() -> None:
    """Each patch has variance .25, of which all have .24 in common: differences have .02."""
    map_, error = patches([1.0, 0.5, 0.9, 0.0], [0.5] * 4)[:2]
    assert rivals(Estimated(map_, error), 2).tolist() == [3]  # 1.96 · sqrt(.5) = 1.39 > 1
    shared = torch.tensor([0.24 / 16])  # of pixels, four of which are a patch
    assert rivals(Estimated(map_, error, shared), 2).tolist() == [1]  # 1.96 · sqrt(.02) = .28


def test_the_error_of_a_map_is_a_share_of_its_largest_value() -> None:
    assert float(relative_error(patches([3.0, -4.0, 0.0, 0.0], [0.4, 0.4, 0.4, 0.4]))) == (
        pytest.approx(0.1)
    )
    assert relative_error(Estimated(torch.ones(2, 1, 3, 3))).isnan().all()


def test_maps_are_what_they_were_without_an_error(network: nn.Module) -> None:
    image, target, draw = torch.rand(2, 1, 28, 28), torch.tensor([0, 1]), Draw(0, torch.arange(2))
    for explainer in DRAWN.values():
        model = Queries(network, 64)
        found: Tensor = explainer(model, image, target, draw)
        assert torch.equal(found, explainer.estimated(model, image, target, draw).map)
        assert model.forwards == 2 * 2 * explainer.forwards
