"""Odd networks, damaged: the answers of the bare network edited in place by hand, then repairs."""

import math
import re
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x0_5

from datamodules.errors import UserError
from datamodules.torch_data import TorchData
from lightning_modules import load_classifier
from pipelines.recover.damages import Damaged, control, damaged_by, make_damage
from pipelines.recover.original import Original
from pipelines.recover.repair import Effort
from pipelines.recover.row import repaired
from pipelines.recover.strategies import STRATEGIES
from pipelines.report.page import as_html

Case = tuple[Any, Original]
DAMAGED = {
    "zero": 0.4, "bit_flip": 5, "prune": 0.5, "remove_channels": 0.4, "bit_flip_attack": 2,
}  # fmt: skip
ODDLY = [
    "aliases", "tied", "weight_norm", "old weight_norm", "attention", "one weight",
    "channels last", "rectifier in place", "auxiliary", "unused projection",
    pytest.param("shufflenet", marks=pytest.mark.slow),
]  # fmt: skip
WHOLE = {"aliases", "tied", "weight_norm", "old weight_norm", "attention", "shufflenet"}
WHOLE |= {"auxiliary"}  # whose second head answers in training only
"""Networks whose channels cannot be removed, which is one sentence."""


def _shufflenet() -> nn.Module:
    return shufflenet_v2_x0_5(num_classes=4)


@pytest.fixture(scope="module", params=ODDLY)
def case(request: pytest.FixtureRequest) -> Case:
    odd_networks = sys.modules["odd_networks"]
    table = {odd.name: odd for odd in odd_networks.ODD}
    own = odd_networks.Odd("shufflenet", _shufflenet, lambda net, image: net(image))
    odd = table.get(request.param, own)
    image, label = odd.images(48), torch.arange(48) % odd.classes
    data = TorchData((image, label), (image, label), classes=odd.classes, batch_size=16)
    classifier = load_classifier(odd.network(), data_classes=data.classes)
    return odd, Original.of(classifier, data, "float32", 48, odd.name)


def damaged(original: Original, name: str) -> Damaged:
    return damaged_by(original, make_damage(name), name, DAMAGED[name], 0, lambda *_: None)


def applicable(odd: Any) -> list[str]:
    refused = {"remove_channels"} if odd.name in WHOLE else set()
    # Untrained, on 8 pixels: it answers all images alike, and two flips move none of its answers.
    unmoved = {"bit_flip_attack"} if odd.name == "shufflenet" else set()
    return [name for name in DAMAGED if name not in refused | unmoved]


@torch.no_grad()
def edit(network: nn.Module, hit: Damaged) -> None:
    """By plain indexing: what is hit becomes 0 or loses its bits, what is removed is 0."""
    for name, position in hit.kept.items():
        tensor = network.state_dict()[name.removeprefix("model.")]
        left = tensor.take(position)
        tensor.zero_().put_(position, left)
    for name, mask in hit.hit.items():
        parameter = network.get_parameter(name.removeprefix("model."))
        if hit.kind in ("zero", "prune"):
            parameter.masked_fill_(mask, 0)
        elif hit.kind.startswith("bit_flip"):
            bits = parameter.view(torch.int32)
            flipped = bits ^ hit.classifier.get_parameter(name).view(torch.int32)
            assert (flipped[mask] != 0).all()
            bits.copy_(bits ^ flipped.masked_fill(~mask, 0))


def flips(network: nn.Module, other: nn.Module) -> int:
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    unlike = [(a.view(torch.int32) ^ b.view(torch.int32)).flatten().tolist() for a, b in pairs]
    return sum(bin(word & 0xFFFFFFFF).count("1") for words in unlike for word in words)


def test_damage_is_what_one_does_by_hand(case: Case) -> None:
    odd, original = case
    image = odd.images(6, seed=5)
    for name in applicable(odd):
        hit, network = damaged(original, name), odd.network()
        edit(network, hit)
        with torch.no_grad():
            network(image)  # the old weight_norm computes its weights here
            expected: Tensor = odd.by_hand(network, image)
            unlike = odd.by_hand(odd.network(), image)
            answer = hit.classifier(image)
        assert not torch.equal(expected, unlike), name
        torch.testing.assert_close(
            answer, expected, atol=odd.tolerance, rtol=odd.tolerance, equal_nan=True
        )
        if name == "bit_flip":
            assert flips(odd.network(), network) == DAMAGED[name]
        elif name == "bit_flip_attack":  # of stored integers: of one weight they change many bits
            assert sum(int(mask.sum()) for mask in hit.hit.values()) == DAMAGED[name]


def test_channels_that_cannot_be_removed_are_one_sentence(case: Case) -> None:
    odd, original = case
    if odd.name in WHOLE:
        with pytest.raises(UserError, match="Cannot remove channels of the model"):
            damaged(original, "remove_channels")
    else:
        assert damaged(original, "remove_channels").kept


@pytest.mark.slow
def test_every_repair_of_it_is_a_row_without_holes(case: Case, made_recoverability: Any) -> None:
    odd, original = case
    effort = Effort(steps=1, images=16, points=1)
    for name in applicable(odd):
        hits = [damaged(original, name), control(original, "none", 0)]
        rows = [repaired(hits[1], "retrain_all", effort)[1]]
        rows += [repaired(hits[0], strategy, effort)[1] for strategy in STRATEGIES]
        for row in rows:
            status = row["status"].partition(":")[0]
            assert status in ("ok", "not applicable", "diverged"), (name, row["status"])
            assert all(math.isfinite(row[key]) for key in ("acc_repaired", "negative_flips"))
        body = as_html([made_recoverability(rows=rows)]).partition("<main>")[2]
        assert not re.search(r"\bnan\b", re.sub(r"<[^>]+>", " ", body)), name
