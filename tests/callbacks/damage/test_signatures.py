"""Checksums name and mend flips; beyond what they can name they change nothing."""

import pytest
import torch
from torch import nn

from callbacks.damage import BitFlip, Selection, Zero, stored_as
from callbacks.damage.signatures import Signatures
from datamodules.errors import UserError


def network(stored_in: str) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Flatten(), nn.Linear(640, 50))
    model.load_state_dict(stored_as(model.state_dict(), Selection().names(model), stored_in))
    return model


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: model.state_dict()[name] for name in Selection().names(model)}


@pytest.mark.parametrize("stored_in", ["float32", "float16", "bfloat16", "int8", "int4"])
@pytest.mark.parametrize("flips", [1, 2, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flips_are_mended_bit_for_bit(stored_in: str, flips: int, seed: int) -> None:
    model = network(stored_in)
    clean = {name: weight.clone() for name, weight in weights(model).items()}
    signatures = Signatures.of(clean, stored_in, group=256)
    BitFlip(format=stored_in)(model, flips, seed).apply(model)
    mended = signatures.mended(weights(model))
    for name, weight in clean.items():
        assert torch.equal(mended[name].view(torch.int32), weight.view(torch.int32))


def test_every_damaged_weight_is_suspected_and_few_others() -> None:
    model = network("int8")
    signatures = Signatures.of(weights(model), "int8", group=256)
    assert not any(mask.any() for mask in signatures.suspects(weights(model)).values())
    record = BitFlip(format="int8")(model, 5, 0)
    hit = record.hit(model.state_dict())
    record.apply(model)
    suspects = signatures.suspects(weights(model))
    for name, mask in hit.items():
        assert suspects[name][mask].all()
    # five groups of 256 in either interleaving of 130 groups meet in about 5 * 5 * 2 words
    assert sum(int(mask.sum()) for mask in suspects.values()) < 120


def test_more_than_can_be_named_is_left_alone() -> None:
    model = network("float32")
    signatures = Signatures.of(weights(model), "float32", group=256)
    Zero()(model, 0.3).apply(model)
    damaged = weights(model)
    mended = signatures.mended(damaged)
    assert all(torch.equal(mended[name], weight) for name, weight in damaged.items())


def test_the_size_is_what_is_stored() -> None:
    """Groups of 1,024 int8 words: 14 address bits and the parity, twice: 0.37 % of the weights."""
    weight = {"w": torch.randn(268_336, generator=torch.Generator().manual_seed(0))}
    signatures = Signatures.of(weight, "int8", group=1024)
    assert signatures.bits == 263 * 2 * 15 + 64
    assert signatures.bits / (8 * 268_336) < 0.005


def test_the_checksum_is_hammings() -> None:
    """By hand: words 1 and 4 of a group of 8 int8 words; bits at addresses 1 and 8 * 1 + 2 + 1."""
    weight = {"w": torch.tensor([1.0, 4, 0, 0, 0, 0, 0, 127])}
    signatures = Signatures.of(weight, "int8", group=8)
    addresses = [1, 8 + 3, *range(57, 64)]
    expected = 0
    for address in addresses:
        expected ^= address
    assert int(signatures.stored[0]) == expected << 1 | len(addresses) % 2


def test_every_change_of_a_single_word_is_seen() -> None:
    """Of all pairs of int8 words; by the first checksum alone 30 and 0 look the same."""
    signatures = Signatures.of({"w": torch.full((16,), 127.0)}, "int8", group=16)
    words = torch.zeros(256, 16, dtype=torch.long)
    words[:, 3] = torch.arange(-128, 128)
    signs = torch.stack([signatures._sign(group) for group in words])
    assert len(signs[:, 0].unique(dim=0)) < 256
    assert len(signs.flatten(1).unique(dim=0)) == 256


def test_what_is_left_is_counted_and_the_search_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("float32")
    signatures = Signatures.of(weights(model), "float32", group=256)
    assert signatures.differing(weights(model)) == 0
    Zero()(model, 0.3).apply(model)
    turns: list[int] = []
    take_back = Signatures._take_back

    def counted(self: Signatures, *given: object) -> None:
        turns.append(0)
        take_back(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Signatures, "_take_back", counted)
    assert signatures.differing(signatures.mended(weights(model))) > 100
    assert len(turns) <= 40


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="to be at least 2 words, but got 1"):
        Signatures.of({"w": torch.ones(4)}, "int8", group=1)
