"""Linear CKA: how alike two representations of the same samples are."""

from torch import Tensor

from datamodules.errors import UserError


def unbiased_hsic(one: Tensor, other: Tensor) -> Tensor:
    """Estimates the dependence of two representations without bias (Song et al. 2012, HSIC_1).

    Args:
        one: `(n, D)` features, n >= 4.
        other: `(n, E)` features of the same samples in the same order.
    """
    n = len(one)
    k, l = (x.double() @ x.double().T for x in (one, other))  # noqa: E741  (the field's letters)
    k.fill_diagonal_(0)
    l.fill_diagonal_(0)
    across = k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ l.sum(0)) / (n - 2)
    return ((k * l).sum() + across) / (n * (n - 3))


class LinearCKA:
    """Unbiased linear CKA over mini-batches (Nguyen et al. 2021, 2010.15327).

    The three terms are summed over batches before the ratio is formed. The biased form reports
    similarity that is not there (0.94 for independent features with n = 32, D = 512). 1 for equal
    representations up to rotation and scale, about 0 for independent ones, there also below 0.
    """

    def __init__(self) -> None:
        self._cross = self._one = self._other = 0.0

    def update(self, one: Tensor, other: Tensor) -> None:
        """Adds a batch: the same samples in the same order to both models.

        Args:
            one: `(n, ...)`, flattened to `(n, D)`.
            other: `(n, ...)`, flattened to `(n, E)`.

        Raises:
            UserError: batches of different samples, or of fewer than four.
        """
        if len(one) != len(other) or len(one) < 4:
            raise UserError(
                f"Expected the same four samples or more for CKA, but got {len(one)} and "
                f"{len(other)}: give a larger batch."
            )
        one, other = (x.flatten(1).double() for x in (one, other))
        # Translation changes nothing in exact arithmetic; centred Gram matrices keep the digits.
        one, other = one - one.mean(0), other - other.mean(0)
        self._cross += float(unbiased_hsic(one, other))
        self._one += float(unbiased_hsic(one, one))
        self._other += float(unbiased_hsic(other, other))

    def compute(self) -> float:
        """The ratio; NaN where a representation is constant or nothing was added."""
        scale = self._one * self._other
        return self._cross / scale**0.5 if self._one > 0 and self._other > 0 else float("nan")


def linear_cka(one: Tensor, other: Tensor) -> float:
    """Unbiased linear CKA of one batch; see `LinearCKA`."""
    similarity = LinearCKA()
    similarity.update(one, other)
    return similarity.compute()
