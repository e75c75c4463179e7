"""What is seen of a layer is what it answered, whatever the network then writes over it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import odd_networks
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models import VisionTransformer

from callbacks import Draw, Queries
from callbacks.interpretability import ActivationMaximisation, GradCAM, TopImages
from callbacks.interpretability.layers import last_grid_layer, network_of
from callbacks.interpretability.visualisation.feature_maps import feature_maps, layer_activations
from callbacks.leave_no_trace import leave_no_trace
from datamodules.errors import UserError
from lightning_modules import build, load_classifier
from lightning_modules.examination import examine

ONE = torch.zeros(1, dtype=torch.int64)


class OutOfPlace(TorchFunctionMode):
    """Lets functions that write over their input make a new tensor instead."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if found := re.fullmatch(r"__i(add|mul|sub)__", name):
            func = getattr(torch, found[1])
        if kwargs.get("inplace"):
            kwargs["inplace"] = False
        return func(*args, **kwargs)


class Twin(nn.Module):
    """A network without any in-place operation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for part in network.modules():
            if hasattr(part, "inplace"):
                setattr(part, "inplace", False)  # noqa: B010  (its type is not told)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        with OutOfPlace():
            return self.network(image)


def drawn(name: str) -> nn.Module:
    """A torchvision network with random weights; of vision transformers a small one."""
    torch.manual_seed(0)
    if name == "vit":
        return VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10)
    return build(f"torchvision:{name}", 10)


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """A network, and its twin."""
    own, other = (drawn(name).eval().requires_grad_(False) for _ in range(2))
    return own, Twin(other).eval()


@pytest.fixture
def one_attention() -> Iterator[None]:
    """Under a function mode torch's attention never takes its fast path, which rounds otherwise."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


See = Callable[[Queries, str], Tensor]


def told(see: See, model: Queries, layer: str) -> Tensor | str:
    """What is seen of a layer, or the sentence that ends it."""
    try:
        return see(model, layer)
    except UserError as error:
        return str(error)


def weighted(network: nn.Module) -> list[str]:
    """Convolutions and norms: what an in-place activation writes over; at most four, spread."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm)
    names = [name for name, part in network.named_modules() if isinstance(part, kinds)]
    return [names[i * (len(names) - 1) // 3] for i in range(4)]


SMALL = {"resnet18": 32, "squeezenet1_1": 32, "vit": 32}
LARGE = {
    **dict.fromkeys(
        ("convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5",
         "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnext50_32x4d",
         "shufflenet_v2_x0_5", "vgg11", "wide_resnet50_2"), 32,
    ),
    "alexnet": 64, "swin_t": 64, "swin_v2_t": 64, "inception_v3": 96, "maxvit_t": 224,
}  # fmt: skip
FAMILIES = [
    *SMALL.items(),
    *(pytest.param(*item, marks=pytest.mark.slow) for item in LARGE.items()),
]


@pytest.mark.usefixtures("one_attention")
@pytest.mark.parametrize(("name", "side"), FAMILIES)
def test_layers_answer_as_those_of_the_twin_without_in_place_operations(
    name: str, side: int
) -> None:
    own, twin = (Queries(network, 2) for network in pair(name))
    image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    target, draw = own(image).argmax(1), Draw(0, torch.arange(2))
    assert torch.equal(own(image), twin(image))
    last = last_grid_layer(own, image)
    assert last_grid_layer(twin, image) == f"network.{last}"
    ascent = ActivationMaximisation(steps=2, held_out=1)
    seen: dict[str, See] = {
        "activations": lambda model, at: layer_activations(model, image, at),
        "maps": lambda model, at: feature_maps(model, image, at),
        "grad_cam": lambda model, at: GradCAM(at)(model, image, target, draw),
        "maximised": lambda model, at: ascent(model, at, image, ONE).image,
    }
    layers = weighted(network_of(own))
    for layer in {*layers, last}:
        for kind, see in seen.items():
            if kind == "maximised" and layer != layers[2]:
                continue  # it costs more than all the others
            one = told(see, own, layer)
            other = told(see, twin, f"network.{layer}")
            if isinstance(one, str):  # windows are stacked in the first axis, or no maps
                assert one == str(other).replace("'network.", "'")
            else:
                torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_units_and_maps_of_a_convolution_that_is_written_over() -> None:
    """Worked out by hand: the rectifier in place must not be what is seen of the convolution."""
    net = odd_networks.BY_NAME["rectifier_in_place"].network().requires_grad_(False)
    image = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model, convolved = Queries(net, 3), net[0](image)  # type: ignore[operator]
    assert (convolved < 0).any()
    torch.testing.assert_close(feature_maps(model, image, "0"), convolved)
    top = TopImages("0", 4)
    top.update(model, image, torch.arange(4))
    order = convolved.mean((2, 3)).T.sort(descending=True)
    assert torch.equal(top.index, order.indices)  # type: ignore[arg-type]
    # d logit / d convolution: the head's weight over 16 places, where the convolution is positive
    slope = net[4].weight[1][None, :, None, None] / 16 * (convolved > 0)  # type: ignore[index]
    maps = (convolved * slope.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu()
    wanted = nn.functional.interpolate(maps, (8, 8), mode="bilinear")
    found = GradCAM("0")(model, image, torch.ones(4, dtype=torch.int64), Draw(0, torch.arange(4)))
    torch.testing.assert_close(found, wanted)


def reference(model: nn.Module, layer: str, image: Tensor) -> Tensor | None:
    """A layer's last answer, copied by hand; None where it is not called or no tensor."""
    seen: list[Any] = [None]

    def keep(_: nn.Module, __: Any, out: Any) -> None:
        out = out[0] if isinstance(out, tuple) else out
        seen[0] = out.clone() if isinstance(out, Tensor) else None

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        model(image)
    finally:
        handle.remove()
    return seen[0]


@pytest.mark.odd(where=lambda odd: odd.repeats and not odd.refused)
def test_layers_of_odd_networks_answer_right_or_in_one_sentence(odd: Any) -> None:
    image, draw = odd.images(4), Draw(0, torch.arange(4))
    classifier = load_classifier(odd.network(), data_classes="abcdefgh"[: odd.classes]).eval()
    examine(classifier, image)
    with leave_no_trace(classifier):
        model = Queries(classifier, 4)
        target = model(image).argmax(1)
        for layer in (
            name for name, part in classifier.named_modules() if not list(part.children())
        ):
            wanted = reference(classifier, layer, image)
            found = told(lambda model, at: layer_activations(model, image, at), model, layer)
            if isinstance(found, str):
                assert wanted is None or wanted.ndim < 2 or len(wanted) != 4
                assert found.startswith("Expected a layer that answers one row of numbers")
                continue
            assert wanted is not None
            if wanted.ndim in (2, 4):
                wanted = wanted.float().flatten(2).mean(2) if wanted.ndim == 4 else wanted.float()
                torch.testing.assert_close(found, wanted)
            cam = told(lambda model, at: GradCAM(at)(model, image, target, draw), model, layer)
            if isinstance(cam, str):
                assert re.search("to answer in maps|lets no gradient", cam)
            else:
                assert cam.shape == (4, 1, *image.shape[2:])
