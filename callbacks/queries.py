"""A model that is only ever called with one batch shape, and whose calls are counted."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.black_box import require_gradients, require_layers
from lightning_modules.chunks import padded

Model = Callable[[Tensor], Tensor]
Loss = Callable[..., Tensor]
"""`(logits (n, K), *per-sample rows) -> (n,)`, to be maximised."""


class Queries:
    """Answers logits and input gradients in chunks of one fixed, padded shape.

    Kernels round differently for different batch shapes. When every call has the same shape, the
    answer for an image does not depend on who else is asked about: not on the loader's batches, the
    order, the number of processes, or on which images an attack has already given up.

    Args:
        model: from images `(N, C, H, W)` in [0, 1] to logits `(N, K)`.
        chunk: images in a call; None calls the model with whatever comes (then nothing is padded).
        context: entered round every forward, for instance the Trainer's autocast.
    """

    def __init__(
        self,
        model: Model,
        chunk: int | None = None,
        context: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        self.model = model
        self.chunk = chunk
        self.context = context
        self.forwards = 0
        """Images sent forward so far, padding not counted."""
        self.backwards = 0
        """Images differentiated so far, padding not counted."""
        self._differentiable: Model | None = None  # the model that was last found to be so

    @contextmanager
    def answered_by(self, variant: Model) -> Iterator[None]:
        """Lets another model answer for a while, for instance a damaged variant."""
        model, self.model = self.model, variant
        try:
            yield
        finally:
            self.model = model

    def require_layers(self, who: str = "This") -> None:
        """Refuses a model whose layers and weights are sealed, for what looks into them.

        Raises:
            UserError: the model is a black box.
        """
        require_layers(self.model, who)

    def require_gradients(self) -> None:
        """Refuses a model that lets no gradient through, once for each model.

        Raises:
            UserError: the model is a black box.
        """
        if self._differentiable is not self.model:
            require_gradients(self.model)
            self._differentiable = self.model

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Answers float32 logits `(N, K)` without a gradient."""
        self.forwards += len(image)
        return _joined([self._logits(image[rows])[: _size(rows)] for rows in self._chunks(image)])

    def gradient(
        self, image: Tensor, loss: Loss, *per_sample: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Differentiates a per-sample loss by the image.

        The losses are *summed* before differentiation, so that the gradient of an image does not
        depend on the size of its batch.

        Args:
            image: `(N, C, H, W)` in [0, 1].
            loss: called with the logits `(n, K)` and the matching rows of `per_sample`.
            *per_sample: tensors `(N, ...)` the loss needs, such as labels.

        Returns:
            Logits `(N, K)`, losses `(N,)` and gradients `(N, C, H, W)`, all detached.

        Raises:
            UserError: the model lets no gradient through, as a black box or by itself.
        """
        self.require_gradients()
        self.forwards += len(image)
        self.backwards += len(image)
        parts = [
            self._gradient(image[rows], loss, [tensor[rows] for tensor in per_sample])
            for rows in self._chunks(image)
        ]
        logits, losses, gradients = zip(*parts, strict=True)
        return _joined(logits), _joined(losses), _joined(gradients)

    def least_gradient(
        self, image: Tensor, losses: Loss, rank: Loss, *per_sample: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Differentiates several losses per sample and keeps the one of least rank.

        One forward, and a backward for every loss; no more than two gradients exist at a time.

        Args:
            image: `(N, C, H, W)` in [0, 1].
            losses: called with logits `(n, K)` and the matching rows of `per_sample`: `(n, M)`.
            rank: called with a loss `(n,)` and its gradient `(n, C, H, W)`: `(n,)`.
            *per_sample: tensors `(N, ...)` the losses need, such as labels.

        Returns:
            As `gradient`, of the loss of least rank of each sample.
        """
        self.require_gradients()
        self.forwards += len(image)
        parts = []
        for rows in self._chunks(image):
            part = [tensor[rows] for tensor in per_sample]
            parts.append(self._least_gradient(image[rows], losses, rank, part))
        logits, values, gradients = zip(*parts, strict=True)
        return _joined(logits), _joined(values), _joined(gradients)

    @torch.enable_grad()
    def _least_gradient(
        self, image: Tensor, losses: Loss, rank: Loss, per_sample: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        leaf = padded(image, self.chunk).detach().requires_grad_()
        logits = self._logits(leaf, pad=False)[: len(image)]
        values = losses(logits, *per_sample)
        self.backwards += len(image) * values.shape[1]
        value, gradient = torch.zeros_like(values[:, 0]), torch.zeros_like(image)
        least = torch.full_like(value, torch.inf)
        for each in values.unbind(1):
            candidate = _differentiated(each, leaf, keep=True)[: len(image)]
            ranked = rank(each.detach(), candidate)
            lower = ranked < least
            least = torch.where(lower, ranked, least)
            value = torch.where(lower, each.detach(), value)
            gradient = torch.where(lower[:, None, None, None], candidate, gradient)
        return logits.detach(), value, gradient

    @torch.enable_grad()
    def _gradient(
        self, image: Tensor, loss: Loss, per_sample: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        leaf = padded(image, self.chunk).detach().requires_grad_()
        logits = self._logits(leaf, pad=False)[: len(image)]
        losses = loss(logits, *per_sample)
        gradient = _differentiated(losses, leaf)
        return logits.detach(), losses.detach(), gradient[: len(image)]

    def _logits(self, image: Tensor, pad: bool = True) -> Tensor:
        with self.context():
            logits = self.model(padded(image, self.chunk) if pad else image)
        return logits.float()  # half-precision logits would make margins and verdicts coarse

    def _chunks(self, image: Tensor) -> Iterator[slice]:
        size = self.chunk or max(len(image), 1)
        for start in range(0, max(len(image), 1), size):
            yield slice(start, min(start + size, len(image)))


def _differentiated(losses: Tensor, leaf: Tensor, keep: bool = False) -> Tensor:
    """The gradient of summed losses by the images they came from."""
    gradient = None
    if losses.requires_grad:
        with differentiable():
            (gradient,) = torch.autograd.grad(
                losses.sum(), leaf, retain_graph=keep, allow_unused=True
            )
    if gradient is None:
        raise UserError(
            "The model lets no gradient through to the image (no_grad or detach inside): what "
            "follows a gradient cannot be measured; choose attacks and explanations without."
        )
    return gradient


@contextmanager
def differentiable() -> Iterator[None]:
    """Turns autograd's error about a network that writes over what its gradient needs into ours.

    Raises:
        UserError: the network cannot be differentiated.
    """
    try:
        yield
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise UserError(
            "The model cannot be differentiated: it writes over a value that its gradient needs. "
            "Write `x = x * 2` for `x *= 2` in its forward, or choose attacks and explanations "
            "without a gradient, such as rise."
        ) from error


def _size(rows: slice) -> int:
    return rows.stop - rows.start


def _joined(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """Concatenates without a copy when there is nothing to join."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
