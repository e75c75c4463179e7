"""What every explainer and metric promises, checked for each entry of the registries."""

import contextlib

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import VisionTransformer, get_model, list_models

from callbacks import Draw, Queries
from callbacks.interpretability import (
    CONTROLS,
    EXPLAINERS,
    METRICS,
    GradCAM,
    Gradient,
    KernelShap,
    Occlusion,
    metric,
)
from callbacks.interpretability.layers import last_grid_layer
from datamodules.errors import UserError

CHEAP = {
    "rise": {"draws": 20},
    "permutation": {"repeats": 2, "grid": 4},
    "kernel_shap": {"draws": 98},
    "lime": {"draws": 60, "held_out": 5},
    "score_cam": {"masks": 6},
}
EACH = pytest.mark.parametrize("name", [*EXPLAINERS, *CONTROLS])
INDEX = torch.tensor([4, 17, 2**40, 8, 9, 3, 11])
LABEL = torch.tensor([0, 1, 2, 3, 4, 0, 1])


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def close(one: Tensor, other: Tensor) -> None:
    # Kernels of one shape are used, but the smallest matrix product rounds by the row of the chunk.
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def made(name: str, donors: Tensor) -> object:
    if name in CONTROLS:
        return CONTROLS[name]
    options = dict(CHEAP.get(name, {}))
    if "donors" in EXPLAINERS[name].__dataclass_fields__:
        options["donors"] = donors
    return EXPLAINERS[name](**options)


@EACH
def test_cost_is_as_predicted_and_no_trace_is_left(
    name: str, network: nn.Module, picture: Tensor
) -> None:
    explainer, model = made(name, picture), Queries(network, 16)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    saliency = explainer(model, picture, LABEL, Draw(0, INDEX))
    assert saliency.shape == (7, 1, 28, 28)
    assert saliency.isfinite().all()
    assert not saliency.requires_grad
    assert model.forwards == 7 * explainer.forwards
    assert model.backwards == 7 * explainer.backwards
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert not any(p._forward_hooks or p._forward_pre_hooks for p in network.modules())


@EACH
def test_a_map_does_not_depend_on_its_neighbours(
    name: str, network: nn.Module, picture: Tensor
) -> None:
    explainer = made(name, picture)
    everything = explainer(Queries(network, 16), picture, LABEL, Draw(0, INDEX))
    some = torch.tensor([5, 2])
    alone = explainer(Queries(network, 16), picture[some], LABEL[some], Draw(0, INDEX[some]))
    close(alone, everything[some])


@pytest.mark.parametrize("name", METRICS)
def test_metrics_keep_to_their_price_and_to_their_image(
    name: str, network: nn.Module, picture: Tensor
) -> None:
    model, draw = Queries(network, 16), Draw(0, INDEX)
    saliency = Gradient()(model, picture, LABEL, draw)
    measure = metric(name, Gradient())
    model.forwards = model.backwards = 0
    value = measure(model, picture, LABEL, saliency, draw)
    assert value.shape == (7,)
    assert value.isfinite().all()
    assert model.forwards == 7 * measure.forwards
    assert model.backwards == 7 * measure.backwards
    assert measure.higher_is_better in (True, False, None)
    alone = measure(model, picture[3:4], LABEL[3:4], saliency[3:4], Draw(0, INDEX[3:4]))
    close(alone, value[3:4])


@EACH
def test_inference_mode_and_half_precision_do_not_matter(
    name: str, network: nn.Module, picture: Tensor
) -> None:
    model = Queries(network, 16, lambda: torch.autocast("cpu", torch.bfloat16))
    with torch.no_grad():
        saliency = made(name, picture)(model, picture, LABEL, Draw(0, INDEX))
    assert saliency.dtype == torch.float32
    assert saliency.isfinite().all()


REFUSED = [
    (lambda: KernelShap(draws=10), "Expected `grid` >= 2 and `draws` >= 2·grid²"),
    (lambda: metric("srgg", Gradient()), "Did you mean 'srg'"),
    (lambda: asked(Occlusion(grid=29)), "Expected `grid` between 1 and the images' smaller side"),
    (lambda: asked(Occlusion(fill="blak")), "There is no fill 'blak'. Did you mean 'black'"),
    (lambda: asked(GradCAM("layer9")), "The model has no layer 'layer9'"),
    (lambda: asked(GradCAM()), "No layer of the model answers in maps"),
]


def asked(explainer: object, network: object = None) -> None:
    model = Queries(network or nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), 4)
    explainer(model, torch.rand(1, 1, 28, 28), LABEL[:1], Draw(0, INDEX[:1]))


@pytest.mark.parametrize(("mistake", "message"), REFUSED)
def test_mistakes_are_explained(mistake: object, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        mistake()


def test_a_layer_of_a_function_cannot_be_seen() -> None:
    with pytest.raises(UserError, match="Expected a torch module"):
        asked(GradCAM(), lambda x: x.flatten(1))


def test_grad_cam_looks_at_the_last_tokens_that_matter() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=3).eval()
    torch.nn.init.normal_(model.heads.head.weight)
    image = torch.rand(2, 3, 16, 16)
    name = "encoder.layers.encoder_layer_1.ln_1"  # behind it only the class token is read
    assert last_grid_layer(Queries(model), image) == name
    found = GradCAM()(Queries(model), image, LABEL[:2], Draw(0, INDEX[:2]))
    assert found.shape == (2, 1, 16, 16)
    assert found.max() > 0


SMALLEST = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5 "
    "mobilenet_v2 mobilenet_v3_small regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5 "
    "squeezenet1_1 swin_t swin_v2_t vgg11 vit_b_32 wide_resnet50_2"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_every_family_of_torchvision_is_explained_unedited(name: str) -> None:
    assert name in list_models(module=torchvision.models)
    torch.manual_seed(0)
    model = get_model(name, weights=None, num_classes=5).eval().requires_grad_(False)
    side = 299 if name == "inception_v3" else 224
    image, label, draw = torch.rand(1, 3, side, side), LABEL[:1], Draw(0, INDEX[:1])
    for explainer in ("gradient", "grad_cam", "occlusion"):
        options = {"grid": 2} if explainer == "occlusion" else {}
        found = EXPLAINERS[explainer](**options)(Queries(model, 2), image, label, draw)
        assert found.shape == (1, 1, side, side)
        assert found.isfinite().all()
    with contextlib.suppress(UserError):  # DeepLift may say that it has no rule, nothing else
        assert EXPLAINERS["deeplift"]()(Queries(model, 2), image, label, draw).isfinite().all()
    assert not any(p._forward_hooks or p._forward_pre_hooks for p in model.modules())
