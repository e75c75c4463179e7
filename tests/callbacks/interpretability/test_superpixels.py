"""Superpixels: segments that can be foretold, and explanations on them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import captum.attr as peer
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize

from callbacks import Draw, Queries
from callbacks.interpretability import KernelShap, Lime, PermutationImportance
from callbacks.interpretability.methods.kernel_shap import all_coalitions, shapley_regression
from callbacks.interpretability.regions.segments import (
    areas,
    grid_segments,
    segmented,
    spread,
    sum_by_segment,
    switched,
)
from callbacks.interpretability.regions.superpixels import (
    lightness_and_colour,
    start_grid,
    superpixels,
)
from datamodules.errors import UserError

SINGLE = 1e-4  # logits are float32


def close(found: Tensor, truth: Tensor | float, within: float = SINGLE) -> None:
    truth = torch.as_tensor(truth, dtype=torch.float64).expand_as(found)
    torch.testing.assert_close(found.double(), truth, rtol=within, atol=within)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """A temple and a flower, 96x96."""
    both = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)
    return resize(both[:, :, :420, 100:520], [96, 96], antialias=True).float() / 255


# -- segments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("side", "grid"), [((12, 12), 3), ((28, 28), 7), ((23, 23), 4)])
def test_an_image_of_one_colour_is_cut_into_squares(
    channels: int, side: tuple[int, int], grid: int
) -> None:
    image = torch.full((2, channels, *side), 0.4)
    expected = grid_segments(image, grid).expand(2, *side)
    assert torch.equal(superpixels(image, grid**2), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rows", [(8, 8), (7, 9), (9, 7)])  # k-means: near enough to start cells
@pytest.mark.parametrize("columns", [(8, 8), (7, 9), (9, 7)])
def test_pieces_of_one_colour_are_recovered(
    channels: int, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    grey = torch.tensor([[0.0, 0.35], [0.65, 1.0]])
    colour = torch.stack([grey, grey.flip(0), grey.flip(1)])[:channels]
    down, across = (
        torch.repeat_interleave(torch.arange(2), torch.tensor(x)) for x in (rows, columns)
    )
    piece = 2 * down[:, None] + across
    image = colour[:, down[:, None], across][None]
    assert torch.equal(superpixels(image, 4, compactness=1.0)[0], piece)


def test_a_lonely_edge_is_followed() -> None:
    image = torch.zeros(1, 3, 32, 32)
    image[..., 13:] = 1.0  # three pixels before the start cells change
    label = superpixels(image, 16)[0]
    assert not set(label[:, :13].unique().tolist()) & set(label[:, 13:].unique().tolist())


def test_every_pixel_is_labelled_below_the_count(photos: Tensor) -> None:
    for count in (1, 2, 5, 49, 60):
        label = superpixels(photos, count)
        assert label.shape == (2, 96, 96)
        assert label.dtype == torch.int64
        assert label.min() >= 0
        assert label.max() < count


def test_labels_do_not_depend_on_the_batch(photos: Tensor) -> None:
    image = torch.cat([photos, noise(3, 3, 96, 96), photos.flip(3)])
    label = superpixels(image, 25)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(superpixels(image[order], 25), label[order])
    alone = [superpixels(one[None], 25) for one in image]
    assert torch.equal(torch.cat(alone), label)
    assert torch.equal(segmented("superpixels", image, 5, chunk=2), label)


def test_colours_are_nearer_to_their_segments_mean_than_in_squares(photos: Tensor) -> None:
    def variance_left(label: Tensor) -> Tensor:
        parts = lightness_and_colour(photos).split(1, dim=1)
        means = [spread(sum_by_segment(part, label, 49), label) for part in parts]
        left = [
            (one - mean).square().sum((1, 2, 3)) for one, mean in zip(parts, means, strict=True)
        ]
        return torch.stack(left).sum(0)

    squares = grid_segments(photos, 7)
    assert (variance_left(superpixels(photos, 49)) < 0.6 * variance_left(squares)).all()


GRIDS = [((10, 10, 9), (3, 3)), ((8, 16, 25), (3, 8)), ((7, 7, 1), (1, 1)), ((1, 9, 4), (1, 4)),
         ((9, 1, 4), (4, 1)), ((4, 100, 300), (3, 100)), ((6, 6, 36), (6, 6)), ((9, 9, 3), (1, 3)),
         ((224, 448, 49), (4, 12))]  # fmt: skip


@pytest.mark.parametrize(("size", "expected"), GRIDS)
def test_start_cells_are_about_square(
    size: tuple[int, int, int], expected: tuple[int, int]
) -> None:
    assert start_grid(*size) == expected


# Published CIELAB values of sRGB primaries under D65 (two decimals, e.g. Lindbloom's calculator).
LAB = [((1, 1, 1), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((1, 0, 0), (53.24, 80.09, 67.20)),
       ((0, 1, 0), (87.73, -86.18, 83.18)), ((0, 0, 1), (32.30, 79.19, -107.86))]  # fmt: skip


@pytest.mark.parametrize(("rgb", "lab"), LAB)
def test_colours_are_cielab(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    image = torch.tensor(rgb, dtype=torch.float32)[None, :, None, None]
    # the second decimal depends on how many digits of the matrix one takes
    close(lightness_and_colour(image).flatten(), torch.tensor(lab), 2e-2)
    close(lightness_and_colour(image[:, :1]).flatten(), 100 * rgb[0])


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: superpixels(x, 0), "Expected `count` between 1 and the images' 64 pixels"),
        (lambda x: superpixels(x, 65), "but got 65"),
        (lambda x: superpixels(x, 4, compactness=0), "Expected `compactness` > 0"),
        (lambda x: superpixels(x, 4, iterations=0), "`iterations` >= 1"),
        (lambda x: segmented("superpixel", x, 4), "Did you mean 'superpixels'"),
    ],
)
def test_mistakes_are_explained(mistake: Callable, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mistake(noise(2, 3, 8, 8))


@pytest.mark.parametrize("count", [25, 49])  # steps of 21 and 15 pixels: odd, hence equal starts
def test_segments_agree_with_scikit_image(photos: Tensor, count: int) -> None:
    slic = pytest.importorskip("skimage.segmentation").slic
    photos = resize(photos, [105, 105], antialias=True)
    mine = superpixels(photos, count, 30.0, 10)
    for image, label in zip(photos, mine, strict=True):
        # their first round is our start: they begin with places without a colour
        options = {"max_num_iter": 11, "enforce_connectivity": False, "start_label": 0}
        other = slic(image.permute(1, 2, 0).numpy(), count, 30.0, **options)
        # not 1: they let every centre that comes near win a pixel, not only nine
        assert adjusted_rand_score(other.ravel(), label.flatten()) > 0.93
        assert (other == label.numpy()).mean() > 0.96


def test_colours_agree_with_scikit_image(photos: Tensor) -> None:
    color = pytest.importorskip("skimage.color")
    theirs = color.rgb2lab(photos.permute(0, 2, 3, 1).double().numpy())
    close(lightness_and_colour(photos), torch.from_numpy(theirs).permute(0, 3, 1, 2), 1e-2)


# -- sums and switches of segments of each image ---------------------------------------------------


def test_sums_and_switches_of_each_images_own_segments() -> None:
    segment = torch.tensor([[[0, 0], [2, 2]], [[1, 0], [1, 1]]])
    values = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]])
    assert sum_by_segment(values, segment, 4).tolist() == [[3, 0, 7, 0], [6, 20, 0, 0]]
    assert sum_by_segment(values, segment).tolist() == [[3, 0, 7], [6, 20, 0]]
    assert areas(segment, 4).tolist() == [[2, 0, 2, 0], [1, 3, 0, 0]]
    share = spread(torch.tensor([[4.0, 9, 6, 9], [1, 6, 9, 9]]), segment)
    assert share.tolist() == [[[[2, 2], [3, 3]]], [[[2, 1], [2, 2]]]]
    on = torch.tensor([[True, False, False, True], [False, True, True, True]])
    assert switched(on, segment).tolist() == [
        [[[True, True], [False, False]]],
        [[[True, False], [True, True]]],
    ]


@pytest.mark.parametrize("grid", [1, 3, 8])
def test_segments_shared_by_all_images_are_the_same_as_each_ones_own(grid: int) -> None:
    values, shared = noise(3, 1, 8, 8), grid_segments(noise(1, 8, 8), grid)
    own = shared.expand(3, -1, -1).clone()
    parts = sum_by_segment(values, shared)
    assert torch.equal(parts, sum_by_segment(values, own))
    assert torch.equal(spread(parts, shared), spread(parts, own))
    assert torch.equal(switched(parts > 1, shared), switched(parts > 1, own))


# -- explanations ----------------------------------------------------------------------------------

Grouped = KernelShap | Lime | PermutationImportance
EXPLAINERS: list[Grouped] = [
    KernelShap(64, 2, "black", segments="superpixels"),  # all 14 coalitions
    KernelShap(64, 4, "black", segments="superpixels"),  # drawn
    Lime(200, 20, 4, "black", penalty=0, segments="superpixels"),
    PermutationImportance(2, 4, torch.zeros(1, 1, 1, 1), segments="superpixels"),
]
EACH = pytest.mark.parametrize(
    "explainer", EXPLAINERS, ids=lambda one: f"{type(one).__name__}{one.grid}"
)


def explained(explainer: Grouped, model: nn.Module, image: Tensor) -> Tensor:
    index = torch.arange(len(image)) * 7
    return explainer(Queries(model, 16), image, torch.zeros_like(index), Draw(0, index))


def with_donors(explainer: Grouped, image: Tensor) -> Grouped:
    if isinstance(explainer, PermutationImportance):
        return replace(explainer, donors=torch.zeros_like(image[:1]))
    return explainer


@EACH
@pytest.mark.parametrize("wide", [False, True], ids=["square", "wide"])
def test_superpixels_of_a_linear_model(
    explainer: Grouped, wide: bool, linear: Any, image: Tensor, function: type
) -> None:
    if wide:  # 9 x 16 pixels are cut into 3 x 5 start cells: the last of 16 labels stays empty
        image = noise(4, 3, 9, 16).double()
        weight = torch.randn(3, 9, 16, generator=torch.Generator().manual_seed(1)).double()
        linear = function(lambda flat: flat @ weight.flatten())
        linear.weight = weight
    explainer = with_donors(explainer, image)
    count = explainer.grid**2
    segment = superpixels(image, count)
    assert (areas(segment, count) == 0).any() == (wide and count == 16)
    worth = (linear.weight * image).sum(1, keepdim=True)
    model = Queries(linear, 16)
    index = torch.arange(len(image))
    found = explainer(model, image, torch.zeros_like(index), Draw(0, index))
    close(found, spread(sum_by_segment(worth, segment, count), segment))
    assert model.forwards == len(image) * explainer.forwards
    assert model.forwards == len(image) * replace(explainer, segments="grid").forwards


@EACH
def test_a_map_does_not_depend_on_its_neighbours(explainer: Grouped, network: nn.Module) -> None:
    picture, index = noise(5, 1, 28, 28), torch.tensor([4, 17, 2**40, 8, 9])
    explainer, label = with_donors(explainer, picture), torch.arange(5)
    every = explainer(Queries(network, 16), picture, label, Draw(0, index))
    some = torch.tensor([3, 1])
    few = explainer(Queries(network, 16), picture[some], label[some], Draw(0, index[some]))
    close(few, every[some])  # the smallest matrix product rounds by the row of the chunk
    assert every.shape == picture.shape
    assert every.std() > 0


def test_shapley_values_are_captums(network: nn.Module) -> None:
    picture = noise(3, 1, 28, 28)
    segment = superpixels(picture, 4)
    truth = torch.cat([
        peer.ShapleyValues(network).attribute(one[None], target=0, feature_mask=mask[None, None])
        for one, mask in zip(picture, segment, strict=True)
    ])  # fmt: skip
    found = explained(KernelShap(14, 2, "black", segments="superpixels"), network, picture)
    assert truth.abs().max() > 1e-3
    area = areas(segment, 4).gather(1, segment.flatten(1)).reshape_as(truth)
    close(found * area, truth, 1e-3)


def test_values_of_superpixels_add_up(network: nn.Module) -> None:
    picture = noise(4, 1, 20, 40)
    assert (areas(superpixels(picture, 25), 25) == 0).any(1).all()
    found = explained(KernelShap(200, 5, "black", segments="superpixels"), network, picture)
    gain = network(picture)[:, 0] - network(torch.zeros_like(picture))[:, 0]
    close(found.sum((1, 2, 3)), gain, 1e-3)


PRESENT = [
    [True, True, True, True, False],
    [False, True, False, True, True],
    [True, False, True, False, False],
    [False, False, True, False, False],
    [True, True, True, True, True],
]


@pytest.mark.parametrize("drawn", [False, True])
def test_dummies_are_worth_nothing_and_the_others_what_they_were(drawn: bool) -> None:
    """A game of five where the absent change nothing: its values are those of the smaller game."""
    present = torch.tensor(PRESENT)
    coalition, weight = all_coalitions(5, torch.zeros(1, dtype=torch.float64))
    worth = noise(5, 32).double()
    worth[:, 0] = 0

    def value(who: Tensor) -> Tensor:
        code = ((who & present[:, None]).long() << torch.arange(5)).sum(2)
        return worth.gather(1, code)

    if drawn:
        coalition, weight = coalition[::2], torch.ones_like(weight[::2])
    every = coalition.expand(5, *coalition.shape)
    empty, full = torch.zeros(5), value(present[:, None])[:, 0]
    answer = value(every)
    found = shapley_regression(every, answer, weight.expand(5, -1), empty, full, present)
    assert (found[~present] == 0).all()
    close(found.sum(1), full, 1e-12)
    if not drawn:  # the axiom: the whole regression finds the dummies, and the same values
        ignorant = shapley_regression(every, answer, weight.expand(5, -1), empty, full)
        close(found, ignorant, 1e-9)


def test_empty_superpixels_weigh_nothing(network: nn.Module) -> None:
    picture, index = noise(4, 1, 20, 40), torch.arange(4)
    there = areas(superpixels(picture, 25), 25) > 0
    assert not there.all(1).any()
    asked = (Queries(network, 16), picture, index, Draw(0, index))
    for penalty in (0.0, 1.0):
        fit = Lime(200, 50, 5, penalty=penalty, segments="superpixels").fitted(*asked)
        assert (fit.weight[~there] == 0).all()
        assert (fit.weight[there] != 0).all()
        assert fit.r2.isfinite().all()
    donors = noise(9, 1, 20, 40, seed=2)
    found = PermutationImportance(3, 5, donors, segments="superpixels").measured(*asked)
    for column in found:
        assert (column[~there] == 0).all()
        assert (column[there] != 0).float().mean() > 0.9  # max pooling may not see a patch


def test_superpixels_are_something_else_than_squares(network: nn.Module) -> None:
    picture = noise(2, 1, 28, 28)
    squares, segments = (explained(Lime(60, 5, 4, segments=s), network, picture)
                         for s in ("grid", "superpixels"))  # fmt: skip
    assert not torch.allclose(squares, segments)
    assert torch.equal(squares, explained(Lime(60, 5, 4), network, picture))
    with pytest.raises(UserError, match="There are no segments 'slic'"):
        explained(Lime(60, 5, 4, segments="slic"), network, picture)  # type: ignore[arg-type]
