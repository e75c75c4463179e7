"""Chunks of one shape that waste little."""

import pytest

from lightning_modules.chunks import shared_evenly


@pytest.mark.parametrize("most", [1, 16, 128])
def test_padding_stays_below_two_per_cent_or_one_image_a_call(most: int) -> None:
    for count in (1, 3, 100, 129, 257, 400, 999, 1000, 2048, 10_000):
        size = shared_evenly(count, most)
        calls = -(-count // size)
        assert 1 <= size <= most
        assert calls == -(-count // most), "no more calls than before"
        assert calls * size - count <= max(0.02 * count, calls - 1)


def test_counts_that_fill_chunks_share_one_shape() -> None:
    """So that a larger limit finds the rows of a smaller one."""
    assert {shared_evenly(count, 128) for count in (128, 512, 2048, 10_000)} == {128}
