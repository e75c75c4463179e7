"""Bits against the check vectors of the field; see the damage reference, 1.1."""

import struct

import numpy as np
import pytest
import torch

from callbacks.damage.formats import FORMATS, format_of, stored_as
from datamodules.errors import UserError

# format, value, bit, pattern before, pattern after, value after
VECTORS = [
    ("float32", 0.5, 31, "3F000000", "BF000000", -0.5),
    ("float32", 0.5, 30, "3F000000", "7F000000", 1.7014118e38),
    ("float32", 0.5, 29, "3F000000", "1F000000", 2.7105054e-20),
    ("float32", 0.5, 23, "3F000000", "3F800000", 1.0),
    ("float32", 0.5, 22, "3F000000", "3F400000", 0.75),
    ("float32", 1.0, 30, "3F800000", "7F800000", float("inf")),
    ("float32", 0.1, 30, "3DCCCCCD", "7DCCCCCD", 3.4028237e37),
    ("float32", 0.0, 30, "00000000", "40000000", 2.0),
    ("float32", -0.03125, 30, "BD000000", "FD000000", -1.0633824e37),
    ("float16", 0.5, 14, "3800", "7800", 32768),
    ("float16", 1.0, 14, "3C00", "7C00", float("inf")),
    ("float16", 0.1, 14, "2E66", "6E66", 6552),
    ("bfloat16", 0.5, 14, "3F00", "7F00", 1.7014118e38),
    ("bfloat16", 1.0, 14, "3F80", "7F80", float("inf")),
    ("bfloat16", 0.1, 14, "3DCD", "7DCD", 3.4061467e37),
    ("int8", 21, 7, "15", "95", -107),
    ("int8", -1, 7, "FF", "7F", 127),
    ("int8", -41, 7, "D7", "57", 87),
    ("int8", 0, 7, "00", "80", -128),
    ("int8", 127, 7, "7F", "FF", -1),
]


@pytest.mark.parametrize(("name", "value", "bit", "before", "after", "result"), VECTORS)
def test_check_vectors(
    name: str, value: float, bit: int, before: str, after: str, result: float
) -> None:
    kind = FORMATS[name]
    code = kind.encode(torch.tensor([float(value)]))
    flipped = kind.flip(code, kind.masks(torch.tensor([bit])))
    digits = kind.bits // 4
    assert [f"{int(one) % 2**kind.bits:0{digits}X}" for one in (code, flipped)] == [before, after]
    assert kind.decode(flipped).item() == pytest.approx(result, rel=1e-7)
    assert torch.equal(kind.flip(flipped, kind.masks(torch.tensor([bit]))), code)


def test_float32_bits_are_those_of_the_machine() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    code = FORMATS["float32"].encode(values)
    assert [int(one) for one in code] == [
        struct.unpack("<i", struct.pack("<f", v))[0] for v in values
    ]


@pytest.mark.parametrize("bit", range(7))
def test_an_exponent_bit_scales_by_a_power_of_two(bit: int) -> None:
    kind, value = FORMATS["float32"], torch.tensor([0.3])
    code = kind.encode(value)
    was_set = bool((code >> (23 + bit)) & 1)
    result = kind.decode(kind.flip(code, kind.masks(torch.tensor([23 + bit]))))
    assert result.item() == value.item() * 2.0 ** (-(2**bit) if was_set else 2**bit)


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_integers_keep_the_sign_and_never_use_the_lowest_code(name: str) -> None:
    kind = FORMATS[name]
    weight = torch.randn(10_000, generator=torch.Generator().manual_seed(1))
    step = kind.step(weight)
    code = kind.encode(weight, step)
    most = 2 ** (kind.bits - 1) - 1
    assert int(code.abs().max()) == most
    assert torch.equal(code.sign(), (weight / step).round().sign())
    assert (kind.decode(code, step) - weight).abs().max() <= step / 2 * (1 + 1e-6)


def test_a_flipped_short_code_reads_as_two_complement() -> None:
    kind = FORMATS["int4"]
    code = kind.encode(torch.tensor([5.0]))
    assert kind.decode(kind.flip(code, kind.masks(torch.tensor([3])))).item() == -3  # 0101 -> 1101


def test_stored_as_is_idempotent() -> None:
    state = {"w": torch.randn(999, generator=torch.Generator().manual_seed(2)), "b": torch.ones(3)}
    for name in FORMATS:
        once = stored_as(state, ["w"], name)
        twice = stored_as(once, ["w"], name)
        assert torch.allclose(once["w"], twice["w"], rtol=1e-6, atol=0), name  # the step's last bit
        assert once["b"] is state["b"]


def test_share_of_harmless_flips() -> None:
    """Sizes of a random flip for weights of N(0, 0.05^2): the reference's table, 1.1."""
    draw = torch.Generator().manual_seed(3)
    weight = 0.05 * torch.randn(200_000, generator=draw)
    for name, huge, small in (
        ("float32", 0.031, 0.54),
        ("bfloat16", 0.062, 0.08),
        ("float16", 0.047, 0.27),
    ):
        kind = FORMATS[name]
        code = kind.encode(weight)
        bit = torch.randint(kind.bits, weight.shape, generator=draw)
        result = kind.decode(kind.flip(code, kind.masks(bit)))
        stored = kind.decode(code)
        # 200,000 draws: three standard errors are below 0.004
        assert float((result.abs() > 1e3).float().mean()) == pytest.approx(huge, abs=0.004)
        changed = ((result - stored).abs() < 0.01 * stored.abs()).float().mean()
        assert float(changed) == pytest.approx(small, abs=0.01)


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(UserError, match=r"no number format 'float23'\. Did you mean 'float32'"):
        format_of("float23")


def test_masks_cover_every_bit() -> None:
    for kind in FORMATS.values():
        masks = kind.masks(torch.arange(kind.bits)).numpy()
        assert len(np.unique(masks)) == kind.bits
