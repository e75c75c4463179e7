"""LRP, guided Grad-CAM, Score-CAM and XRAI against closed forms, by hand, and Captum."""

import warnings
from typing import Any

import captum.attr as peer
import pytest
import torch
import torch.nn.functional as F
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import (
    GradCAM,
    Gradient,
    GuidedGradCAM,
    InputXGradient,
    IntegratedGradients,
    Lrp,
    ScoreCAM,
    Xrai,
)
from callbacks.interpretability.methods.guided_grad_cam import guided_gradient
from callbacks.interpretability.methods.lrp import positive_part
from datamodules.errors import UserError

LABEL = torch.tensor([0, 1, 2, 3])
DRAW = Draw(0, torch.arange(4))


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double()


def network(bias: bool = False, norm: bool = False) -> nn.Sequential:
    """In float64; rectifiers in place, each called once."""
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(6)] if norm else []
    layers = [
        nn.Conv2d(3, 6, 3, padding=1, bias=bias), *norms, nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5, bias=bias),
    ]  # fmt: skip
    return nn.Sequential(*layers).double().eval().requires_grad_(False)


def ours(explainer: Any, model: nn.Module, image: Tensor) -> Tensor:
    return explainer(Queries(model, 3), image, LABEL, DRAW)


class Residual(nn.Module):
    """Sums, products, functions, one layer called twice, everything in place; without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.again = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.head, self.relu = nn.Linear(6, 5, bias=False), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        for _ in range(2):
            y = self.relu(self.again(x))
            y += x
            x = self.relu(y)
        x = x * F.relu(x.mean((2, 3), keepdim=True))  # squeeze and excitation
        return self.head(F.max_pool2d(F.gelu(x), 2).mean((2, 3)))


@pytest.mark.parametrize("rule", ["plus", "zero"])
@pytest.mark.parametrize(
    "model", [network(), Residual().double().eval()], ids=["plain", "residual"]
)
def test_relevance_is_kept_where_there_is_no_bias(
    rule: Any, model: nn.Module, picture: Tensor
) -> None:
    """The theorem of LRP: layer by layer, hence pixels add up to the logit."""
    found = ours(Lrp(rule), model, picture)
    logit = model(picture).gather(1, LABEL[:, None])[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), logit.detach(), rtol=1e-6, atol=1e-9)


def test_relevance_by_hand() -> None:
    """Of 2·1 - 1·1 + (-3)·(-1) = 4 the positive contributions 2 and 3 take 2/5 and 3/5."""
    weight = torch.tensor([2.0, -1.0, -3.0]).double().reshape(1, 3, 1, 1)
    given = torch.tensor([1.0, 1.0, -1.0]).double().reshape(1, 3, 1, 1).requires_grad_()
    answer = positive_part(F.conv2d, given, weight)
    assert float(answer) == 4
    (share,) = torch.autograd.grad(answer, given)
    torch.testing.assert_close((given * share).flatten().tolist(), [1.6, 0.0, 2.4])


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("rule", ["plus", "zero"])
def test_relevance_is_captums_where_its_hooks_see_everything(
    rule: Any, norm: bool, picture: Tensor
) -> None:
    model = network(norm=norm)
    if norm:
        model[1].bias.uniform_(), model[1].running_mean.uniform_()  # type: ignore[operator, union-attr]
    found = ours(Lrp(rule), model, picture)
    parts = []
    for i in range(4):  # Captum takes its rules away after each call
        for part in model:
            if isinstance(part, nn.Conv2d):
                part.rule = Alpha1_Beta0_Rule() if rule == "plus" else EpsilonRule()  # type: ignore[assignment]
            elif isinstance(part, nn.Linear | nn.Flatten):
                part.rule = EpsilonRule()  # type: ignore[assignment]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts.append(peer.LRP(model).attribute(picture[i : i + 1], target=LABEL[i : i + 1]))
    truth = torch.cat(parts).detach().sum(1, keepdim=True)
    # Captum divides by 1e-9 more than the sums, some of which are of 1e-4.
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-4 * float(truth.abs().max()))


def test_relevance_without_a_rule_is_input_times_gradient(picture: Tensor) -> None:
    model = network(bias=True)
    truth = ours(InputXGradient(), model, picture)
    torch.testing.assert_close(ours(Lrp("zero"), model, picture), truth, rtol=1e-9, atol=1e-12)


def test_guided_grad_cam_is_the_product_of_its_parts(picture: Tensor) -> None:
    model = network(bias=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guided = peer.GuidedBackprop(model).attribute(picture, target=LABEL).detach()
    own = guided_gradient(Queries(model, 3), picture, LABEL)
    torch.testing.assert_close(own, guided, rtol=1e-9, atol=1e-12)
    cam = ours(GradCAM(), model, picture)
    assert float(cam.max()) > 0
    wanted = guided.abs().amax(1, keepdim=True) * cam
    torch.testing.assert_close(ours(GuidedGradCAM(), model, picture), wanted, rtol=1e-6, atol=1e-9)


def test_guided_gradients_of_functions_in_place_are_those_of_modules(picture: Tensor) -> None:
    plain = network(bias=True)

    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu_(plain[0](x))
            x = F.relu(plain[3](F.max_pool2d(x, 2)), inplace=True)
            return plain[7](x.mean((2, 3)))

    found = guided_gradient(Queries(Functional(), 3), picture, LABEL)
    truth = guided_gradient(Queries(plain, 3), picture, LABEL)
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-12)
    with pytest.raises(UserError, match="neither relu nor relu6"):
        guided_gradient(
            Queries(nn.Sequential(nn.Flatten(), nn.Linear(432, 5).double())), picture, LABEL
        )


def test_score_cam_by_hand(picture: Tensor) -> None:
    """Each channel alone, one image at a time, by the words of the paper."""
    model = network(bias=True)
    found = ours(ScoreCAM("1"), model, picture)
    for i in range(4):
        maps = model[1](model[0](picture[i : i + 1]))[0]
        weight = []
        for channel in maps:
            large = F.interpolate(channel[None, None], (12, 12), mode="bilinear")
            mask = (large - large.min()) / (large.max() - large.min())
            weight.append(model(picture[i : i + 1] * mask)[0, LABEL[i]])
        share = torch.stack(weight).softmax(0)
        wanted = (share[:, None, None] * maps).sum(0).clamp(min=0)
        # Queries answer float32 logits, and maps are float32.
        torch.testing.assert_close(found[i, 0], wanted, rtol=1e-5, atol=1e-6)


def test_score_cam_of_flat_channels_is_nothing(picture: Tensor) -> None:
    model = network(bias=True)
    model[0].weight.zero_()  # type: ignore[operator, union-attr]
    assert float(ours(ScoreCAM("0"), model, picture).abs().max()) == 0


def test_regions_by_hand(picture: Tensor) -> None:
    """Four quarters, from black and from white."""
    model = network(bias=True)
    found = ours(Xrai(16, 2, "grid"), model, picture)
    black = ours(IntegratedGradients(16), model, picture)
    # From white: that is from black of the negative, for the model of negatives.
    negative = nn.Sequential(Negative(), model)
    white = ours(IntegratedGradients(16), negative, 1 - picture)
    pixels = (black + white) / 2
    for row in (slice(0, 6), slice(6, 12)):
        for column in (slice(0, 6), slice(6, 12)):
            quarter = pixels[:, :, row, column].mean((2, 3), keepdim=True).expand(-1, -1, 6, 6)
            torch.testing.assert_close(found[:, :, row, column], quarter, rtol=1e-6, atol=1e-9)


class Negative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1 - x


def test_superpixels_are_flat_and_add_up(picture: Tensor) -> None:
    model = network(bias=True)
    found = ours(Xrai(64, 3), model, picture)
    assert all(len(one.unique()) <= 9 for one in found)
    ends = [model(torch.full_like(picture, value)) for value in (0.0, 1.0)]
    gain = (model(picture) - sum(ends) / 2).gather(1, LABEL[:, None])[:, 0]
    # 64 points of a function with bends: a few per mille of the gain.
    torch.testing.assert_close(
        found.sum((1, 2, 3)), gain, rtol=0, atol=0.01 * float(gain.abs().max())
    )


def test_gradients_of_weights_are_asked_for_again(picture: Tensor) -> None:
    model = network(bias=True).requires_grad_(True)
    ours(Lrp(), model, picture)
    ours(Gradient(), model, picture)
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
