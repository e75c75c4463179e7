"""Where definitions coincide with Captum's, so do the values."""

from collections.abc import Callable

import captum.attr as peer
import pytest
import torch
import torch.nn.functional as F
from captum.metrics import infidelity as peer_infidelity
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import (
    CaptumMethod,
    Completeness,
    DeepLift,
    GradCAM,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Occlusion,
)
from callbacks.interpretability.methods.deeplift import differences
from callbacks.interpretability.metrics.infidelity import infidelity
from callbacks.interpretability.metrics.subsets import subset_drops
from callbacks.interpretability.regions.fill import filled
from callbacks.interpretability.regions.segments import grid_segments
from datamodules.errors import UserError

WITHIN = 1e-4  # float32, sums over 28x28 pixels
LABEL = torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def ours(explainer: Callable, model: nn.Module, image: Tensor) -> Tensor:
    return explainer(Queries(model, 4), image, LABEL, Draw(0, torch.arange(len(image))))


def theirs(peers: peer.Attribution, image: Tensor, **options: object) -> Tensor:
    return peers.attribute(image, target=LABEL, **options).detach()


def integrated(model: nn.Module, image: Tensor) -> Tensor:
    method = peer.IntegratedGradients(model)
    return theirs(method, image, n_steps=16, method="gausslegendre")


def occlusion(model: nn.Module, image: Tensor) -> Tensor:
    window = {"sliding_window_shapes": (1, 4, 4), "strides": (1, 4, 4)}
    return theirs(peer.Occlusion(model), image, baselines=0, **window) / 16  # per pixel


def cam(model: nn.Module, image: Tensor) -> Tensor:
    small = theirs(peer.LayerGradCam(model, model[5]), image, relu_attributions=True)
    return F.interpolate(small, (28, 28), mode="bilinear")


def shapley(model: nn.Module, image: Tensor) -> Tensor:
    mask = grid_segments(image, 2)[None, None]
    return theirs(peer.ShapleyValues(model), image, feature_mask=mask) / 196


SAME = {
    "gradient": (Gradient(), lambda m, x: theirs(peer.Saliency(m), x)),
    "input x gradient": (InputXGradient(), lambda m, x: theirs(peer.InputXGradient(m), x)),
    "integrated gradients": (IntegratedGradients(16), integrated),
    "occlusion": (Occlusion(7, "black"), occlusion),
    "grad cam": (GradCAM(), cam),
    "exact kernel shap": (KernelShap(14, 2, "black"), shapley),
}


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("name", SAME)
def test_values_agree(name: str, network: nn.Module, picture: Tensor) -> None:
    explainer, method = SAME[name]
    found, truth = ours(explainer, network, picture), method(network, picture)
    assert truth.abs().max() > 1e-3
    torch.testing.assert_close(found, truth, rtol=WITHIN, atol=WITHIN)


def test_completeness_is_the_convergence_delta(network: nn.Module, picture: Tensor) -> None:
    method = peer.IntegratedGradients(network)
    saliency, delta = method.attribute(
        picture, target=LABEL, n_steps=3, return_convergence_delta=True
    )
    draw = Draw(0, torch.arange(6))
    found = Completeness()(Queries(network, 4), picture, LABEL, saliency, draw)
    torch.testing.assert_close(found, delta.abs().float(), rtol=1e-3, atol=WITHIN)


@pytest.mark.parametrize("scaled", [True, False])
def test_infidelity_of_the_same_sets(scaled: bool, network: nn.Module, picture: Tensor) -> None:
    sets = Draw(0, torch.arange(6)).uniform("sets", 0, (25, 49)) < 0.3
    segment = grid_segments(picture, 7)
    saliency = ours(IntegratedGradients(8), network, picture)
    mass, drop = subset_drops(
        Queries(network, 4), picture, LABEL, saliency, sets, torch.zeros_like(picture)
    )

    def perturb(image: Tensor) -> tuple[Tensor, Tensor]:
        gone = sets[:, :, segment].flatten(0, 1)[:, None].float()
        return gone, image * (1 - gone)

    truth = peer_infidelity(
        network, perturb, picture, saliency, target=LABEL, n_perturb_samples=25,
        max_examples_per_batch=6 * 25, normalize=scaled,
    )  # fmt: skip
    torch.testing.assert_close(infidelity(mass, drop, scaled).mean, truth, rtol=1e-3, atol=WITHIN)


class Reused(nn.Module):
    """One ReLU, in place, called twice, as in torchvision's residual blocks."""

    def __init__(self, parts: nn.Sequential, in_place: bool) -> None:
        super().__init__()
        self.first, self.second, self.head = parts
        self.relu = nn.ReLU(inplace=in_place)
        self.other = self.relu if in_place else nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.other(self.second(self.relu(self.first(image))))
        return self.head(hidden.mean((2, 3)))


def in_place_and_not() -> list[Reused]:
    """Two models of the same weights, the second of which Captum can read."""
    torch.manual_seed(0)
    parts = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5))
    return [Reused(parts, in_place).eval() for in_place in (True, False)]


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deeplift_of_activations_in_place_and_reused(picture: Tensor) -> None:
    model, plain = in_place_and_not()
    truth = theirs(peer.DeepLift(plain), picture)
    torch.testing.assert_close(ours(DeepLift(), model, picture), truth, rtol=WITHIN, atol=1e-6)
    assert model.relu.inplace
    assert not model.relu._forward_hooks


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_deeplift_of_a_maximum_between_convolutions(picture: Tensor) -> None:
    """One image at a time: of a batch, Captum's maximum uses the first image's gradient."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    ]  # fmt: skip
    model, image = nn.Sequential(*layers).double().eval(), picture.double()
    # A flat baseline has no largest pixel in a window: any would do.
    start = filled("blur", image, Draw(0, torch.arange(6)))
    parts = zip(image.split(1), start.split(1), LABEL.split(1), strict=True)
    truth = torch.cat([peer.DeepLift(model).attribute(*part).detach() for part in parts])
    torch.testing.assert_close(ours(DeepLift("blur"), model, image), truth, rtol=1e-9, atol=1e-12)


def test_deeplift_of_a_maximum_by_hand() -> None:
    """Of (3, 1) against (1, 2): 3 - 2 = 1 is all the first pixel's, through two activations.

    Captum's hooks on the tensor between them meet, and its contributions do not add up.
    """
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d((1, 2)), nn.ReLU(), nn.Flatten()).double()
    image = torch.tensor([[[[3.0, 1.0]]], [[[1.0, 3.0]]], [[[0.5, 1.0]]]]).double()
    start = torch.tensor([1.0, 2.0]).double().expand_as(image)
    label = torch.zeros(3, dtype=torch.long)
    found = differences(Queries(model), image, start, label)
    # Of (1, 3): the second pixel, 3 - 2. Of (.5, 1): it falls by 1, which is the second's as well.
    truth = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]], [[[0.0, -1.0]]]]).double()
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-12)


class Functional(nn.Module):
    """Activations and a pool with overlapping windows that no hook sees."""

    def __init__(self, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 5), last

    def forward(self, image: Tensor) -> Tensor:
        hidden = F.max_pool2d(F.silu(self.conv(image)), 3, stride=2, padding=1)
        return self.head(self.last(hidden).mean((2, 3)))


@pytest.mark.parametrize("last", [F.gelu, torch.relu_, torch.sigmoid, F.hardswish])
def test_deeplift_of_functions_is_complete(last: Callable, picture: Tensor) -> None:
    """The rescale rule's own theorem: contributions add up to f(x) - f(x0)."""
    torch.manual_seed(0)
    model = Functional(last).double().eval()
    found = ours(DeepLift(), model, picture.double())
    with torch.no_grad():
        gain = (model(picture.double()) - model(torch.zeros_like(picture).double())).gather(
            1, LABEL[:, None]
        )[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), gain, rtol=1e-9, atol=1e-9)


def test_deeplift_refuses_what_it_has_no_rule_for(picture: Tensor) -> None:
    model = Functional(lambda hidden: F.layer_norm(hidden, hidden.shape[1:]))
    with pytest.raises(UserError, match="no rule for layer_norm"):
        ours(DeepLift(), model, picture)


def test_any_method_of_captum_is_an_explainer(network: nn.Module, picture: Tensor) -> None:
    """In chunks, padded, and with its price."""
    explainer, model = CaptumMethod("InputXGradient"), Queries(network, 4)
    found = explainer(model, picture, LABEL, Draw(0, torch.arange(6)))
    torch.testing.assert_close(found, ours(InputXGradient(), network, picture), rtol=0, atol=1e-6)
    assert (model.forwards, model.backwards) == (6, 6)


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_captum_meets_activations_in_place(picture: Tensor) -> None:
    model, plain = in_place_and_not()
    truth = theirs(peer.GuidedBackprop(plain), picture)
    found = ours(CaptumMethod("GuidedBackprop"), model, picture)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-7)
    assert model.relu.inplace
    assert not any(part._forward_hooks or part._backward_hooks for part in model.modules())


REFUSED = {
    "GuidedBackpropp": "Did you mean 'GuidedBackprop'",
    "LayerActivation": "LayerActivation does not explain this model",
}


@pytest.mark.parametrize("method", REFUSED)
def test_captums_mistakes_are_explained(method: str, network: nn.Module, picture: Tensor) -> None:
    with pytest.raises(UserError, match=REFUSED[method]):
        ours(CaptumMethod(method), network, picture)
