"""Every explainer on every odd network: the value of a plain twin, or one sentence."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import odd_networks
import torch
from torch import Tensor, nn

from callbacks import Draw, Queries
from callbacks.interpretability import EXPLAINERS, Completeness
from callbacks.interpretability.layers import last_grid_layer
from callbacks.leave_no_trace import leave_no_trace
from datamodules.errors import UserError
from lightning_modules import load_classifier
from lightning_modules.examination import examine

CHEAP: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"points": 2},
    "smoothgrad": {"draws": 2},
    "gradient_shap": {"draws": 2},
    "occlusion": {"grid": 2},
    "rise": {"draws": 4},
    "permutation": {"repeats": 1, "grid": 2},
    "kernel_shap": {"draws": 14, "grid": 2},
    "lime": {"draws": 8, "held_out": 2, "grid": 2},
    "score_cam": {"masks": 6},
    "xrai": {"points": 2, "grid": 2, "segments": "grid"},
}
BY_LAYER = ("grad_cam", "guided_grad_cam", "score_cam")
BY_FUNCTION = ("deeplift", "lrp", "guided_grad_cam")
"""They look at the functions that a network calls, which a twin by hand calls by other names."""
LAYERS = {
    odd_networks.base_by_hand: ("conv", "head"),
    odd_networks.inner_by_hand: ("conv", "head"),
    odd_networks.stacked_by_hand: ("0", "4"),
}
"""Last names of the two layers of networks that compute what a plain stack does."""

N, CHUNK = 2, 16


def plain_stack(net: nn.Module, odd: Any) -> nn.Sequential | None:
    """The same function as layers that are each called once, out of place, in float32."""
    stack = odd_networks.stacked()
    parts = {name.split(".")[-1]: part for name, part in net.named_modules(remove_duplicate=False)}
    names = LAYERS.get(odd.by_hand)
    if names is None or not all(name in parts for name in names):
        return None
    for own, name in zip((stack[0], stack[4]), names, strict=True):
        own.weight = nn.Parameter(parts[name].weight.detach().float())  # type: ignore[union-attr]
        own.bias = nn.Parameter(parts[name].bias.detach().float())  # type: ignore[union-attr]
    return stack.eval().requires_grad_(False)


def told(explain: Callable[[], Tensor]) -> Tensor | str:
    try:
        return explain()
    except UserError as error:
        return str(error)


def test_explainers_have_the_value_of_the_plain_twin_or_one_sentence(odd: Any) -> None:
    if odd.refused or not odd.repeats:
        return  # it answers no logits, or others each time: said at the door
    net, image, draw = odd.network(), odd.images(N), Draw(0, torch.arange(N))
    own = net.module if isinstance(net, nn.DataParallel) else net
    classifier = load_classifier(net, data_classes="abcdefgh"[: odd.classes]).eval()
    examine(classifier, image)
    target, stack = torch.arange(N) % odd.classes, plain_stack(net, odd)
    with leave_no_trace(classifier):
        model, by_hand = (Queries(of, CHUNK) for of in (classifier, lambda x: odd.by_hand(own, x)))
        for name, kind in EXPLAINERS.items():
            explainer = kind(**CHEAP.get(name, {}))
            found = told(partial(explainer, model, image, target, draw))
            if isinstance(found, str):
                assert found.count("\n") == 0
                assert stack is None or not odd.gradient or re.search("in maps|softmax", found)
                continue
            assert found.isfinite().all()
            if name == "deeplift":
                missing = Completeness()(by_hand, image, target, found, draw)
                assert float(missing.max()) < 100 * odd.tolerance  # sums of 192 pixels
            if name not in BY_LAYER and name not in BY_FUNCTION:
                truth = explainer(by_hand, image, target, draw)
            elif stack is not None:
                truth = explained_stack(explainer, model, stack, image, target, draw)
            else:
                continue
            scale = float(truth.abs().max()) + 1e-6
            torch.testing.assert_close(
                found / scale, truth / scale, rtol=0, atol=10 * odd.tolerance, msg=name
            )


def explained_stack(
    explainer: Any, model: Queries, stack: nn.Sequential, image: Tensor, target: Tensor, draw: Draw
) -> Tensor:
    """What an explainer says of the plain stack, at the same layer as of the network."""
    if hasattr(explainer, "layer"):
        last = last_grid_layer(model, image)
        part = model.model.get_submodule(last)  # type: ignore[union-attr]
        explainer = replace(explainer, layer="0" if isinstance(part, nn.Conv2d) else "1")
    return explainer(Queries(stack, CHUNK), image, target, draw)
