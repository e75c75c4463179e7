"""Edges: large images, wide maps, counts of nothing, memory that runs out, other baselines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial

import captum.attr as peer
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import (
    EXPLAINERS,
    METRICS,
    CaptumMethod,
    Completeness,
    Explainer,
    GradCAM,
    Gradient,
    GradientShap,
    IntegratedGradients,
    Occlusion,
    metric,
)
from callbacks.interpretability.layers import as_grid
from callbacks.interpretability.methods.controls import content
from callbacks.interpretability.metrics.rank_correlation import agreement
from callbacks.interpretability.metrics.removal import ranked, removal_curve
from callbacks.interpretability.regions.fill import FillName
from callbacks.interpretability.surrogates.least_squares import through_origin, weighted_ridge
from datamodules.errors import UserError

ONE = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(
    ("side", "grid", "of"),
    [(28, None, 8), (28, 7, 7), (224, None, 8), (224, None, 16), (224, 14, 7), (224, 4, 16),
     (512, None, 8), (512, None, 64)],
)  # fmt: skip
def test_steps_take_their_share_of_any_image(side: int, grid: int | None, of: int) -> None:
    """Pixels of a grey image that is 1 where it stays: the score is the share that is left."""
    image = torch.ones(1, 1, side, side)
    saliency = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    left = removal_curve(
        Queries(lambda x: x.double().sum((1, 2, 3))[:, None], 4), image, ONE,
        ranked(saliency, grid), torch.zeros_like(image), range(of + 1), of,
        lambda logits, target: logits[:, 0],
    )  # fmt: skip
    units = side**2 if grid is None else grid**2
    gone = (1 - left[0].double() / side**2) * units
    wanted = torch.arange(of + 1).double() * units / of
    assert ((gone - wanted).abs() <= 0.5 + 1e-3).all()  # half a pixel or patch, by rounding
    assert left[0, 0] == side**2
    assert left[0, -1] == 0
    if units % of == 0:
        assert torch.equal(gone.round(), wanted)


CONV, LINEAR = nn.Conv2d(3, 32, 1), nn.Linear(48, 48)
WIDE = {  # (N, 32, 32, 48): 32 channels of a wide image, or 48 of a square one
    "convolution": (CONV, 32),
    "batch norm": (nn.BatchNorm2d(32), 32),
    "block of convolutions": (nn.Sequential(CONV, nn.ReLU()), 32),
    "pool": (nn.MaxPool2d(2), 32),
    "linear": (LINEAR, 48),
    "layer norm": (nn.LayerNorm(48), 48),
    "block of linear layers": (nn.Sequential(LINEAR, nn.GELU()), 48),
    "unknown": (None, 48),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_layers_type_says_where_its_channels_are(kind: str) -> None:
    part, channels = WIDE[kind]
    maps = as_grid(torch.rand(2, 32, 32, 48), part)
    assert maps is not None
    assert maps.shape[1] == channels


@pytest.mark.parametrize("layer", [None, "0"])
def test_grad_cam_of_a_wide_image_with_as_many_channels_as_rows(layer: str | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    image = torch.rand(2, 1, 8, 12)
    label = torch.tensor([0, 2])
    truth = peer.LayerGradCam(model, model[0]).attribute(
        image, target=label, relu_attributions=True
    )
    found = GradCAM(layer)(Queries(model), image, label, Draw(0, torch.arange(2)))
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", [50_000, 89_013, 148_000])
def test_large_images_that_differ_in_one_place_have_different_contents(place: int) -> None:
    """987 is a Fibonacci number: the weights of such neighbours differ by 0.0005 only."""
    image = torch.zeros(2, 3 * 224 * 224)
    image[0, place] = image[1, place + 987] = 1
    one, other = content(image.reshape(2, 3, 224, 224))
    assert one != other


COUNTS = ("draws", "steps", "repeats", "points", "cells", "masks")
OPTIONAL = {("max_sensitivity", "steps")}
"""Zero says something: no power steps."""
NOTHING = [
    (name, field.name)
    for name, kind in {**EXPLAINERS, **METRICS}.items()
    for field in fields(kind)
    if field.name in COUNTS and (name, field.name) not in OPTIONAL
]


@pytest.mark.parametrize(("name", "count"), NOTHING)
@pytest.mark.parametrize("given", [0, -1])
def test_counts_of_nothing_are_refused(name: str, count: str, given: int) -> None:
    make = EXPLAINERS[name] if name in EXPLAINERS else partial(metric, name, Gradient())
    with pytest.raises(UserError, match=f"Expected .*`{count}` .*got .*{given}"):
        make(**{count: given})


BASELINES = [
    (IntegratedGradients(baseline="blur"), {}, "blur"),
    (IntegratedGradients(baseline="blur"), {"baseline": "mean"}, "mean"),
    (Occlusion(fill="noise"), {}, "noise"),
    (Gradient(), {}, "black"),
]


@pytest.mark.parametrize(("explainer", "options", "baseline"), BASELINES)
def test_completeness_compares_with_the_explainers_own_baseline(
    explainer: Explainer, options: dict[str, str], baseline: FillName
) -> None:
    assert metric("completeness", explainer, **options) == Completeness(baseline)


def test_integrated_gradients_from_another_baseline_are_complete(network: nn.Module) -> None:
    image, label = torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 2])
    model, draw = Queries(network, 4), Draw(0, torch.arange(3))
    explainer = IntegratedGradients(64, "noise")
    saliency = explainer(model, image, label, draw)
    miss = metric("completeness", explainer)(model, image, label, saliency, draw)
    wrong = metric("completeness", explainer, baseline="black")
    assert miss.max() < 0.1 * wrong(model, image, label, saliency, draw).max()


class Moving(torch.Tensor):
    """Counts how often it is moved."""

    moves = 0

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        if func is torch.Tensor.to and isinstance(args[0], Moving):
            cls.moves += 1
            return args[0].as_subclass(Tensor).to(*args[1:])
        return super().__torch_function__(func, types, args, kwargs or {})


def test_donors_are_moved_once(network: nn.Module) -> None:
    donors = torch.rand(4, 1, 28, 28).as_subclass(Moving)
    Moving.moves = 0
    image = torch.rand(6, 1, 28, 28)
    GradientShap(5, donors=donors)(
        Queries(network, 4), image, ONE.expand(6), Draw(0, torch.arange(6))
    )
    assert Moving.moves == 1


def test_black_donors_can_be_named(network: nn.Module) -> None:
    image, draw = torch.rand(2, 1, 28, 28), Draw(0, torch.arange(2))
    given, default = (
        GradientShap(3, donors=donors)(Queries(network, 4), image, ONE.expand(2), draw)
        for donors in ("black", None)
    )
    assert torch.equal(given, default)


class OutOfMemory(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def test_memory_that_runs_out_is_not_captums_mistake() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        CaptumMethod("Saliency")(
            Queries(OutOfMemory(), 2), torch.rand(1, 1, 4, 4), ONE, Draw(0, ONE)
        )


def test_captum_answers_within_the_models_context(network: nn.Module) -> None:
    entered = []

    @contextmanager
    def context() -> Iterator[None]:
        entered.append(True)
        with torch.autocast("cpu", torch.bfloat16):
            yield

    half = Queries(network, 4, context)
    image = torch.rand(5, 1, 28, 28)
    found = CaptumMethod("Saliency")(half, image, ONE.expand(5), Draw(0, torch.arange(5)))
    assert len(entered) == 2  # chunks
    truth = Gradient()(half, image, ONE.expand(5), Draw(0, torch.arange(5)))
    torch.testing.assert_close(found, truth, rtol=0, atol=0.01 * float(truth.max()))  # bfloat16


def test_regression_through_the_origin_is_that_of_mirrored_rows() -> None:
    """Rows with their mirror images have means of zero: the intercept is none."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*s, generator=generator).double() for s in ((3, 40, 6), (3, 40)))
    w = torch.rand(3, 40, generator=generator).double()
    truth, _ = weighted_ridge(torch.cat([x, -x], 1), torch.cat([y, -y], 1), torch.cat([w, w], 1))
    torch.testing.assert_close(through_origin(x, y, w), truth, rtol=1e-10, atol=1e-10)


def test_agreement_is_that_of_scipy_for_each_pair() -> None:
    maps = [torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    maps[1] = maps[1].round(decimals=1)  # ties
    found = agreement([*maps, torch.zeros(2, 1, 6, 6)])
    assert found.shape == (4, 4, 2)
    assert found[3].isnan().all()
    for i, one in enumerate(maps):
        for j, other in enumerate(maps):
            for n in range(2):
                truth = stats.spearmanr(one[n].flatten(), other[n].flatten()).statistic
                assert abs(float(found[i, j, n]) - truth) < 1e-6


BENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "square": torch.square,
    "square in place": lambda x: (1 * x).square_(),
    "hardshrink": nn.functional.hardshrink,
    "softshrink": nn.functional.softshrink,
    "tanhshrink": nn.functional.tanhshrink,
}


def branching(x: Tensor) -> Tensor:
    """Other steps for what is differentiated than for the baseline."""
    return x.tanh() if x.requires_grad else x.sigmoid()


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "gt": lambda x: torch.where(x > 0, x, 0.1 * x),
    "max": lambda x: x.max(1, keepdim=True).values.expand_as(x),
    "amax": lambda x: x - x.amax(1, keepdim=True),
    "sort": lambda x: x.sort(1).values,
    "topk": lambda x: x.topk(6, 1).values,
    "glu": lambda x: nn.functional.glu(torch.cat([x, x], 1), 1),
    "median": lambda x: x - x.median(),
    "sqrt": lambda x: (1 + x * x).sqrt(),
    "prod": lambda x: x - x.prod(1, keepdim=True),
    "softmax": lambda x: x.softmax(1),
    "layer_norm": lambda x: nn.functional.layer_norm(x, (6,)),
    "normalize": lambda x: nn.functional.normalize(x),
    "batch_norm": nn.BatchNorm1d(6, track_running_stats=False),
    "div": lambda x: x / (x.sum(1, keepdim=True) + 1),
    "rdiv": lambda x: 1 / (x + 9),
    "std": lambda x: x - x.std(1, keepdim=True),
    "cdist": lambda x: torch.cdist(x, torch.eye(6)),
    "erf": torch.erf,
    "special_expit": torch.special.expit,
    "detach": lambda x: x - x.detach().mean(),
    "item": lambda x: x * x.sum().item(),
}


class Bent(nn.Module):
    """A linear layer, a function, a linear layer."""

    def __init__(self, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.bend, self.last = nn.Linear(48, 6), bend, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.bend(3 * self.first(x.flatten(1))))


def bent(bend: Callable[[Tensor], Tensor]) -> tuple[Queries, Tensor, Tensor, Draw]:
    image = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    model = Queries(Bent(bend).eval().requires_grad_(False), 3)
    return model, image, torch.tensor([0, 1, 2, 0]), Draw(0, torch.arange(4))


@pytest.mark.parametrize("name", BENDS)
def test_deeplift_adds_up(name: str) -> None:
    model, image, target, draw = bent(BENDS[name])
    saliency = EXPLAINERS["deeplift"]()(model, image, target, draw)
    missing = Completeness()(model, image, target, saliency, draw)
    assert float(missing.max()) < 1e-4  # float32 sums of logits of a few units


@pytest.mark.parametrize("who", ["deeplift", "lrp"])
@pytest.mark.parametrize("name", REFUSED)
def test_functions_without_a_rule_are_named(name: str, who: str) -> None:
    with pytest.raises(UserError, match=f"no rule for {name}, which"):
        EXPLAINERS[who]()(*bent(REFUSED[name]))


def test_deeplift_refuses_other_steps_for_the_baseline() -> None:
    with pytest.raises(UserError, match="takes other steps"):
        EXPLAINERS["deeplift"]()(*bent(branching))
