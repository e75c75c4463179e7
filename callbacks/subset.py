"""A subset by sample index, so that it is the same one for every model, order and device count."""

from torch import Tensor

from callbacks.randomness import Draw


def chosen(index: Tensor, limit: int | None, seed: int) -> Tensor | None:
    """Picks `limit` samples at random, in a way that only (seed, index) decides.

    A larger limit contains a smaller one, so rows measured on few samples stay useful.

    Args:
        index: `(N,)` all sample indices of the split.
        limit: how many; None or at least N picks all.
        seed: of the choice.

    Returns:
        The chosen indices, or None for all.
    """
    if limit is None or limit >= len(index):
        return None
    rank = Draw(seed, index).uniform("subset", 0, ())
    return index[rank.argsort(stable=True)[:limit]]
