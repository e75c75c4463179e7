"""Closed forms: what every explainer and metric must say where the truth can be written down."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import (
    Completeness,
    Deletion,
    FaithfulnessCorrelation,
    GradCAM,
    Gradient,
    GradientShap,
    Infidelity,
    InputXGradient,
    Insertion,
    IntegratedGradients,
    KernelShap,
    Lime,
    LocalLinearity,
    MaxSensitivity,
    Occlusion,
    ParameterRandomisation,
    PermutationImportance,
    Rise,
    SingleDeletion,
    SmoothGrad,
    SymmetricRelevanceGain,
)
from callbacks.interpretability.methods.controls import sobel
from callbacks.interpretability.methods.grad_cam import grad_cam
from callbacks.interpretability.methods.integrated_gradients import gauss_legendre
from callbacks.interpretability.methods.kernel_shap import (
    all_coalitions,
    drawn_coalitions,
    shapley_regression,
)
from callbacks.interpretability.methods.lime import lime_kernel
from callbacks.interpretability.methods.permutation_importance import patch_importance
from callbacks.interpretability.methods.rise import enlarging
from callbacks.interpretability.metrics.complexity import entropy
from callbacks.interpretability.metrics.infidelity import infidelity
from callbacks.interpretability.metrics.parameter_randomisation import randomised
from callbacks.interpretability.metrics.rank_correlation import agreement, pearson, ranks, spearman
from callbacks.interpretability.metrics.ranking_stability import (
    gains_over_settings,
    ranking_stability,
)
from callbacks.interpretability.metrics.removal import area, ranked
from callbacks.interpretability.metrics.sparseness import gini
from callbacks.interpretability.regions.segments import grid_segments, spread, sum_by_segment
from callbacks.interpretability.surrogates.least_squares import r2, weighted_ridge

EXACT = 1e-6  # gradients are float64 here
SINGLE = 1e-4  # queries answer float32 logits; differences of about ten of them are summed


def target(image: Tensor) -> Tensor:
    return torch.zeros(len(image), dtype=torch.int64)


def draw(image: Tensor) -> Draw:
    return Draw(0, torch.arange(len(image)))


def explained(explainer: Callable, model: nn.Module, image: Tensor) -> Tensor:
    return explainer(Queries(model, chunk=16), image, target(image), draw(image))


def measured(metric: Callable, model: nn.Module, image: Tensor, saliency: Tensor) -> Tensor:
    return metric(Queries(model, chunk=16), image, target(image), saliency, draw(image))


def close(one: Tensor, other: Tensor | float, within: float) -> None:
    other = torch.as_tensor(other, dtype=torch.float64).expand_as(one)
    torch.testing.assert_close(one.double(), other, rtol=within, atol=within)


# -- a linear model: w·x + b -----------------------------------------------------------------------

DONOR = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def black(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def own_mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True).expand_as(x)


PIXELS = [
    (Gradient("signed"), lambda w, x: w.expand_as(x).sum(1, keepdim=True)),
    (Gradient("max"), lambda w, x: w.expand_as(x).abs().amax(1, keepdim=True)),
    (Gradient("sum"), lambda w, x: w.expand_as(x).abs().sum(1, keepdim=True)),
    (SmoothGrad(4), lambda w, x: w.expand_as(x).abs().amax(1, keepdim=True)),
    (InputXGradient(), lambda w, x: (w * x).sum(1, keepdim=True)),
    (IntegratedGradients(3), lambda w, x: (w * x).sum(1, keepdim=True)),
    (IntegratedGradients(1, "mean"), lambda w, x: (w * (x - own_mean(x))).sum(1, keepdim=True)),
    (GradientShap(3, 0.0), lambda w, x: (w * x).sum(1, keepdim=True)),
    (GradientShap(3, 0.0, DONOR), lambda w, x: (w * (x - DONOR)).sum(1, keepdim=True)),
]


def named(one: object) -> str:
    """A short name without an address in memory, on which parallel workers agree."""
    return getattr(one, "__name__", repr(one)[:40]).strip("<>")


@pytest.mark.parametrize(("explainer", "truth"), PIXELS, ids=named)
def test_pixels_of_a_linear_model(
    explainer: Callable, truth: Callable, linear: nn.Module, image: Tensor
) -> None:
    close(explained(explainer, linear, image), truth(linear.weight, image), EXACT)


PATCHES = [
    (Occlusion(4, "black"), 4, black),
    (Occlusion(3, "mean"), 3, own_mean),  # patches of unequal size
    (PermutationImportance(2, 4, DONOR), 4, lambda x: DONOR.expand_as(x)),
    (KernelShap(64, 2, "mean"), 2, own_mean),  # all 14 coalitions
    (KernelShap(64, 4, "black"), 4, black),  # drawn
    (Lime(200, 20, 4, "mean", penalty=0), 4, own_mean),
]


@pytest.mark.parametrize(("explainer", "grid", "away"), PATCHES, ids=named)
def test_patches_of_a_linear_model(
    explainer: Callable, grid: int, away: Callable, linear: nn.Module, image: Tensor
) -> None:
    difference = (linear.weight * (image - away(image))).sum(1, keepdim=True)
    segment = grid_segments(image, grid)
    truth = spread(sum_by_segment(difference, segment), segment)
    found = explained(explainer, linear, image)
    close(found, truth, SINGLE)
    close(sum_by_segment(found, segment), sum_by_segment(difference, segment), SINGLE)


PERFECT = [
    (Infidelity(20, 4, fill="black"), 0.0),
    (Infidelity(20, 4, fill="black", scaled=False, relative=False), 0.0),
    (FaithfulnessCorrelation(30, 4, fill="black"), 1.0),
    (FaithfulnessCorrelation(30, 4, fill="black", kind="spearman"), 1.0),
    (SingleDeletion(4), 1.0),
    (Completeness(), 0.0),
    (LocalLinearity(0.1), 1.0),
    (LocalLinearity(3.0), 1.0),
]


@pytest.mark.parametrize(("metric", "value"), PERFECT, ids=named)
def test_the_complete_map_of_a_linear_model_is_perfect(
    metric: Callable, value: float, linear: nn.Module, image: Tensor
) -> None:
    saliency = explained(InputXGradient(), linear, image)
    close(measured(metric, linear, image, saliency), value, SINGLE)


def test_the_gradient_of_a_linear_model_is_stable(linear: nn.Module, image: Tensor) -> None:
    saliency = explained(Gradient(), linear, image)
    close(measured(MaxSensitivity(Gradient(), 0.2), linear, image, saliency), 0.0, EXACT)


def test_permutation_importance_is_twice_the_weighted_variance(function: type) -> None:
    weight = torch.tensor([1.0, -2.0, 0.5, 0.0])
    image = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    model = Queries(function(lambda flat: flat @ weight), chunk=16)
    answer = model(image)[:, 0]
    found = patch_importance(
        model, image, answer, lambda logits, y: (logits[:, 0] - y).square(), 2, repeats=39
    )
    # all 39 rotations: every pair of different images once, hence the unbiased variance
    close(found.mean, 2 * weight.square() * image.flatten(1).var(0), SINGLE)
    assert (found.standard_error[:3] > 0).all()


def test_the_standard_error_of_repeats_covers_the_truth(linear: nn.Module, image: Tensor) -> None:
    donors = torch.rand(200, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    explainer = PermutationImportance(30, 4, donors)
    found = explainer.measured(Queries(linear, 64), image, target(image), draw(image))
    segment = grid_segments(image, 4)
    truth = sum_by_segment((linear.weight * (image - donors.mean(0))).sum(1, keepdim=True), segment)
    z = (found.mean - truth) / found.standard_error
    assert z.abs().mean() < 1.1  # of Student's t with 29 degrees it is 0.81
    assert z.abs().max() < 5


# -- bent models -----------------------------------------------------------------------------------


def test_integrated_gradients_of_the_papers_example(function: type) -> None:
    bent = function(lambda x: (x[:, 0].relu() - 1 - x[:, 1].relu()).relu())
    point = torch.tensor([[3.0, 1.0]], dtype=torch.float64)[:, None, :]
    found = explained(IntegratedGradients(32), bent, point[:, :, None].reshape(1, 1, 1, 2))
    close(found.flatten(), torch.tensor([1.5, -0.5]), EXACT)


@pytest.mark.parametrize("power", [1, 2, 5, 9])
def test_five_points_integrate_polynomials_up_to_degree_nine(
    power: int, function: type, image: Tensor
) -> None:
    model = function(lambda flat: flat.pow(power + 1).sum(1))
    found = explained(IntegratedGradients(5), model, image)
    close(found, image.pow(power + 1).sum(1, keepdim=True), EXACT)
    position, weight = gauss_legendre(5, image)
    close((weight * position**power).sum(), 1 / (power + 1), EXACT)


@pytest.mark.parametrize("radius", [0.01, 0.1])
def test_max_sensitivity_of_half_the_square(radius: float, function: type) -> None:
    image = torch.rand(4, 1, 8, 8, dtype=torch.float64) * 0.5 + 0.25
    model = function(lambda flat: flat.square().sum(1) / 2)
    metric = MaxSensitivity(Gradient("signed"), radius, draws=1, steps=0)
    found = measured(metric, model, image, explained(Gradient("signed"), model, image))
    close(found, radius * math.sqrt(64) / image.flatten(1).norm(dim=1), EXACT)


@pytest.mark.parametrize("seed", range(4))
def test_max_sensitivity_finds_the_largest_corner(seed: int, function: type) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(9, 9, generator=generator, dtype=torch.float64)
    a = a + a.T
    model = function(lambda flat: ((flat @ a) * flat).sum(1) / 2)
    image = torch.full((8, 1, 3, 3), 0.5, dtype=torch.float64)
    corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9)), dtype=torch.float64)
    truth = 0.1 * (corners @ a).norm(dim=1).max() / (a @ image[0].flatten()).norm()
    saliency = explained(Gradient("signed"), model, image)

    def best(draws: int, steps: int) -> Tensor:
        metric = MaxSensitivity(Gradient("signed"), 0.1, draws, steps)
        return measured(metric, model, image, saliency)

    assert (best(4, 3) <= truth + EXACT).all()
    # a local search: 8 beginnings of 4 corners and 3 steps, the best of them nearly the best of 512
    assert best(4, 3).max() > 0.95 * truth
    # power steps of the same price beat further draws
    assert best(2, 3).mean() > best(8, 0).mean()


@pytest.mark.parametrize(("x", "sigma", "truth"), [(1, 0.5, 0.889), (1, 1.0, 0.667), (0, 1.0, 0)])
def test_local_linearity_of_a_parabola(
    x: float, sigma: float, truth: float, function: type
) -> None:
    model = function(lambda flat: flat[:, 0].square())
    image = torch.full((30, 1, 1, 1), float(x))
    metric = LocalLinearity(sigma, grid=1, draws=400, held_out=200)
    fit = metric.fitted(Queries(model, 64), image, target(image), draw(image))
    # 30 images; 400 fitted rows of a heavy-tailed square cost about 0.03 where nothing is linear
    assert abs(float(fit.r2.mean()) - truth) < 0.06
    assert abs(float(fit.weight.mean()) - 2 * x) < 0.05
    if x:  # the gradient misses the curvature's mean, sigma²: variance 2·sigma⁴ becomes 3·sigma⁴
        first = 1 - 3 * sigma**4 / (4 * x**2 * sigma**2 + 2 * sigma**4)
        assert abs(float(fit.first_order.mean()) - first) < 0.05


def test_infidelity_of_leaving_everything_is_the_squared_completeness_error(
    function: type, image: Tensor
) -> None:
    model = function(lambda flat: flat.pow(3).sum(1) / 10)
    saliency = explained(IntegratedGradients(1), model, image)
    whole = Infidelity(3, 1, share=1.0, fill="black", scaled=False, relative=False)
    gap = measured(Completeness(), model, image, saliency)
    assert (gap > 0.01).all()
    close(measured(whole, model, image, saliency), gap.square(), SINGLE)


# -- pure functions --------------------------------------------------------------------------------

SPARSE = [
    (torch.ones(1, 784), 0.0, math.log(784)),
    (torch.ones(1, 50176), 0.0, 10.823),
    (torch.eye(1, 100), 0.99, 0.0),
    (torch.tensor([[0.0, -1.0, 0.0, 1.0]]), 0.5, math.log(2)),
]


@pytest.mark.parametrize(("value", "sparse", "complex_"), SPARSE)
def test_sparseness_and_complexity(value: Tensor, sparse: float, complex_: float) -> None:
    close(gini(value)[0], sparse, EXACT)
    close(entropy(value)[0], complex_, SINGLE)


def test_entropy_is_that_of_scipy_and_zero_maps_are_undefined() -> None:
    value = torch.randn(6, 50)
    close(entropy(value), torch.tensor(stats.entropy(value.abs().numpy(), axis=1)), SINGLE)
    assert gini(torch.zeros(1, 9)).isnan().all()
    assert entropy(torch.zeros(1, 9)).isnan().all()


@pytest.mark.parametrize("values", [3, 1000])
def test_rank_correlation_is_that_of_scipy(values: int) -> None:
    generator = np.random.default_rng(0)
    one, other = generator.integers(0, values, (2, 7, 40)).astype(float)
    found = spearman(torch.tensor(one), torch.tensor(other))
    truth = [stats.spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, truth, atol=1e-12)
    found = pearson(torch.tensor(one), torch.tensor(other))
    truth = [stats.pearsonr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, truth, atol=1e-12)
    np.testing.assert_allclose(ranks(torch.tensor(one)), stats.rankdata(one, axis=1))


def test_a_constant_map_agrees_with_nothing() -> None:
    constant, other = torch.full((1, 16), 0.1), torch.rand(1, 16)
    assert spearman(constant, other).isnan().all()
    assert pearson(other, constant).isnan().all()


def test_agreement_of_methods() -> None:
    maps = [torch.rand(3, 1, 8, 8) for _ in range(3)]
    found = agreement([*maps, maps[0].exp()])
    assert found.shape == (4, 4, 3)
    close(found.diagonal(), 1.0, EXACT)
    close(found[0, 3], 1.0, EXACT)
    truth = stats.spearmanr(maps[0][1].flatten(), maps[2][1].flatten()).statistic
    close(found[0, 2, 1], truth, EXACT)


@pytest.mark.parametrize("scaled", [True, False])
def test_infidelity_and_its_standard_error(scaled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    mass = torch.randn(2000, 100, generator=generator)
    drop = 3 * mass + torch.randn(2000, 100, generator=generator)
    found = infidelity(mass, drop, scaled)
    truth = 1 - 1 / 100 if scaled else 1 + 4  # one factor fitted; else (3 - 1)² remains
    assert abs(float(found.mean.mean()) - truth) < 0.02
    if not scaled:  # sqrt(2/n) of the mean for normal residuals
        assert abs(float(found.standard_error.mean()) / (5 * math.sqrt(2 / 100)) - 1) < 0.03
    assert abs(float(found.mean.std() / found.standard_error.mean()) - 1) < 0.08


def test_ridge_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*s, generator=generator).double() for s in ((4, 30, 5), (4, 30)))
    weight = torch.rand(4, 30, generator=generator).double()
    for penalty in (0.5, 3.0):
        coefficient, intercept = weighted_ridge(x, y, weight, penalty)
        for i in range(4):
            truth = Ridge(alpha=penalty).fit(x[i], y[i], sample_weight=weight[i])
            np.testing.assert_allclose(coefficient[i], truth.coef_, atol=1e-9)
            np.testing.assert_allclose(intercept[i], truth.intercept_, atol=1e-9)


def test_r2_of_mean_truth_and_constants() -> None:
    y = torch.randn(2, 50)
    close(r2(y, y), 1.0, EXACT)
    close(r2(y, y.mean(1, keepdim=True).expand_as(y)), 0.0, EXACT)
    assert r2(torch.ones(1, 5), torch.ones(1, 5)).isnan().all()


KERNEL = [(1, 1.0), (0.9, 0.979), (0.75, 0.866), (0.5, 0.503), (0.25, 0.135), (0.1, 0.024)]


@pytest.mark.parametrize(("share", "weight"), KERNEL)
def test_limes_kernel(share: float, weight: float) -> None:
    on = torch.zeros(1, 100)
    on[:, : round(100 * share)] = 1
    assert abs(float(lime_kernel(on, 0.25)) - weight) < 5e-4  # published to three digits


def test_shapley_values_of_a_random_game() -> None:
    game = torch.randn(16, dtype=torch.float64)
    coalition, weight = all_coalitions(4, game)
    number = (coalition * 2 ** torch.arange(4)).sum(1)
    found = shapley_regression(
        coalition[None], game[number][None], weight[None], game[:1], game[-1:]
    )
    truth = torch.zeros(4, dtype=torch.float64)
    for order in itertools.permutations(range(4)):  # the definition
        there = 0
        for player in order:
            truth[player] += (game[there | 1 << player] - game[there]) / 24
            there |= 1 << player
    close(found[0], truth, EXACT)


@pytest.mark.parametrize(("players", "share"), [(4, 0.364), (8, 0.220), (50, 0.114), (196, 0.086)])
def test_share_of_coalitions_of_one(players: int, share: float) -> None:
    sizes = drawn_coalitions(Draw(0, torch.arange(20)), 200, players).sum(2)
    # of 8,000 coalitions in 4,000 independent pairs: a standard error below 0.008
    assert abs(float((sizes == 1).float().mean()) - share) < 0.02
    assert (sizes[:, ::2] + sizes[:, 1::2] == players).all()


def test_grad_cam_by_hand(function: type) -> None:
    activation = torch.tensor([[[[1.0, 2.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    gradient = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[-2.0, -2.0], [-2.0, -2.0]]]])
    assert grad_cam(activation, gradient).tolist() == [[[[0.0, 0.0], [0.0, 2.0]]]]
    model = nn.Sequential(nn.AvgPool2d(2), function(lambda flat: flat @ torch.arange(4.0)))
    image = torch.rand(3, 1, 4, 4)
    found = explained(GradCAM(), model, image)
    enlarged = nn.functional.interpolate(model[0](image) * 1.5, (4, 4), mode="bilinear")
    close(found, enlarged, SINGLE)


def test_edges_are_those_of_scipy() -> None:
    image = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    grey = image.mean(1).numpy()
    truth = [np.hypot(*(ndimage.sobel(one, a, mode="nearest") for a in (0, 1))) for one in grey]
    np.testing.assert_allclose(sobel(image)[:, 0], truth, atol=1e-12)


def test_masks_of_rise_are_enlarged_as_torch_enlarges_and_cropped() -> None:
    cells, side, shift = 7, 30, torch.tensor([0.0, 0.5, 0.99])
    small = torch.rand(3, cells, cells)
    large = nn.functional.interpolate(small[:, None], (40, 40), mode="bilinear")[:, 0]
    weight = enlarging(cells, side, shift)
    found = weight @ small @ weight.mT
    for one, whole, start in zip(found, large, (0, 2, 4), strict=True):  # cells of 5 pixels
        close(one, whole[start : start + side, start : start + side], EXACT)


def test_rise_of_a_constant_answer_is_constant(function: type) -> None:
    image = torch.rand(20, 1, 14, 14)
    found = explained(Rise(200), function(lambda flat: 0 * flat[:, 0]), image)
    assert abs(float(found.mean()) - 0.5) < 0.01  # softmax of equal logits


# -- curves ----------------------------------------------------------------------------------------


def test_area_and_order() -> None:
    close(area(torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])), torch.tensor([0.5, 1.0]), EXACT)
    order = ranked(torch.tensor([[[[0.2, 0.9], [0.9, 0.1]]]]))
    assert order.tolist() == [[[0.625, 0.125], [0.375, 0.875]]]  # the middle of each quarter
    patches = ranked(torch.arange(16.0).reshape(1, 1, 4, 4), grid=2)
    assert patches[0, ::2, ::2].tolist() == [[0.875, 0.625], [0.375, 0.125]]


def test_removing_the_best_first_is_a_square_and_the_worst_first_a_straight_line(
    function: type,
) -> None:
    # logit = sum of pixels 4, 3, 2, 1: what is left after k removals is a sum of a sequence
    model = function(lambda flat: flat.sum(1))
    image = torch.tensor([[[[4.0, 3.0], [2.0, 1.0]]]])
    gain = SymmetricRelevanceGain(4, "black", score="logit")
    most, least = gain.curves(Queries(model), image, target(image), image, draw(image))
    close(most[0], torch.tensor([10.0, 6, 3, 1, 0]), EXACT)
    close(least[0], torch.tensor([10.0, 9, 7, 4, 0]), EXACT)
    close(measured(gain, model, image, image), (25.0 - 15.0) / 4, EXACT)
    close(measured(gain, model, image, -image), (15.0 - 25.0) / 4, EXACT)
    close(measured(gain, model, image, 0 * image), 0.0, EXACT)  # says nothing


def test_deletion_and_insertion_of_a_constant_answer(function: type, image: Tensor) -> None:
    model = function(lambda flat: 0 * flat[:, 0] + math.log(3))
    for metric in (Deletion(4), Insertion(4), Deletion(5, "noise", grid=3)):
        close(measured(metric, model, image, image[:, :1]), 0.75, EXACT)


def test_random_maps_gain_nothing(linear: nn.Module) -> None:
    image = torch.rand(200, 2, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    random = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = measured(SymmetricRelevanceGain(4, "black"), linear, image, random)
    assert abs(float(found.mean())) < 3 * float(found.std()) / 200**0.5
    found = measured(SingleDeletion(4), linear, image, random)
    assert abs(float(found.mean())) < 3 / (15 * 200) ** 0.5
    assert abs(float(found.std()) - 1 / 15**0.5) < 0.04


def test_settings_rank_methods_alike() -> None:
    assert ranking_stability([[1, 2, 3], [2, 4, 9]]) == (1.0, 1.0)
    assert ranking_stability([[1, 2, 3], [3, 2, 1]]) == (-1.0, -1.0)


def test_gains_over_settings(linear: nn.Module, image: Tensor) -> None:
    truth = explained(InputXGradient(), linear, image)
    maps = {"truth": truth, "inverse": -truth, "random": torch.rand(5, 1, 8, 8)}
    table = gains_over_settings(
        Queries(linear, 16), image, target(image), maps, draw(image), ("black", "mean"), (2, None)
    )
    assert table.shape == (4, 3)
    assert (table[:, 0] > table[:, 1]).all()


# -- randomised parameters -------------------------------------------------------------------------


def test_every_parameter_is_drawn_anew_on_a_copy() -> None:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(16, 4, 1, 2, 8, 16, num_classes=3)
    before = {name: p.clone() for name, p in model.named_parameters()}
    twin = dict(randomised(model, 0).named_parameters())
    assert all((twin[name] != p).all() for name, p in before.items())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    half = dict(randomised(model, 0, share=0.5).named_parameters())
    changed = sum(int((half[name] != p).sum()) for name, p in before.items())
    assert abs(changed / sum(p.numel() for p in before.values()) - 0.5) < 0.05
    last = dict(randomised(model, 0, depth=0.1).named_parameters())
    assert not torch.equal(last["heads.head.weight"], before["heads.head.weight"])
    assert torch.equal(last["class_token"], before["class_token"])


def test_maps_of_an_untouched_copy_agree(network: nn.Module) -> None:
    image = torch.rand(4, 1, 28, 28)
    saliency = explained(Gradient(), network, image)
    again = explained(Gradient(), randomised(network, 0, depth=0.0), image)
    close(spearman(saliency.flatten(1), again.flatten(1)), 1.0, EXACT)
    curve = ParameterRandomisation(Gradient(), 3).curve(
        Queries(network, 4), image, target(image), saliency, draw(image)
    )
    assert curve.shape == (4, 3)
    assert (curve < 0.95).all()
