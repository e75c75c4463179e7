"""From whatever a network answers to logits.

Rule: a tensor is taken as it is. Of a dictionary, data class, named tuple or output object the
first of the usual names (`logits`, `out`, ...) is taken, else its only tensor of scores; of a tuple
or list the first tensor of scores, or the first with one score a class where the classes are known.
A tensor of scores is floating, with a row an image; trailing sizes of 1 are dropped. One score an
image is read as that of the second of two classes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from datamodules.errors import UserError

NAMES = (
    *("logits", "class_logits", "out", "output", "outputs", "scores", "pred", "preds", "y_hat"),
    *("prediction", "predictions", "main", "y", "log_probs", "probs", "probabilities", "prob"),
)
"""Under which logits are looked for, the first one that is there."""
Scale = Literal["logits", "probabilities", "log-probabilities"]
_SUM, _EDGE = 1e-3, 0.02
"""How far from 1 rows of probabilities may sum to; how near 0 and 1 a sigmoid's answers come."""


@dataclass(frozen=True)
class AnswerRule:
    """How the answers of one network become logits `(N, K)`.

    Args:
        place: keys and positions that lead to the scores; empty for a plain tensor.
        scale: what the scores are; of probabilities the logarithm is taken.
        order: score of each class, where they stand otherwise; empty: as they come.
    """

    place: tuple[str | int, ...] = ()
    scale: Scale = "logits"
    order: tuple[int, ...] = ()

    def __call__(self, answer: Any) -> Tensor:
        """Returns logits `(N, K)`, differentiable where the answer is."""
        scores = self.scores(answer)
        if scores.is_inference() and not torch.is_inference_mode_enabled():
            scores = scores.clone()  # which autograd may keep
        if self.scale == "logits":
            logits = _two(scores, torch.zeros_like(scores))
        elif self.scale == "log-probabilities":
            logits = _two(scores, torch.log1p(-scores.exp()))
        else:  # half-precision logarithms would end at -10
            scores = scores if scores.dtype == torch.float64 else scores.float()
            logits = _two(scores, 1 - scores).clamp_min(torch.finfo(scores.dtype).tiny).log()
        return logits[:, _index(self.order, logits.device)] if self.order else logits

    def scores(self, answer: Any) -> Tensor:
        """Returns the tensor of scores `(N, K)` as the network gave it."""
        part = answer
        for key in self.place:
            part = _inside(part, key)
        if not isinstance(part, Tensor):  # in training mode some networks answer more
            part = followed(answer, placed(answer))
        return _rows(part)


def placed(answer: Any, classes: int | None = None) -> tuple[str | int, ...]:
    """Finds where in an answer the scores are; see the rule at the top of the file.

    Args:
        answer: of a network, for at least one image.
        classes: how many there are, where it is known.

    Raises:
        UserError: there is no tensor of scores.
    """
    if isinstance(answer, Tensor):
        return ()
    items = dict(_items(answer))
    if not isinstance(answer, tuple | list) or hasattr(answer, "_fields"):
        named = [name for name in NAMES if _holds(items.get(name))]
        if named:
            return (named[0], *placed(items[named[0]], classes))
    having = [key for key, value in items.items() if _holds(value)]
    fitting = [key for key in having if _count(followed(items[key], placed(items[key]))) == classes]
    if isinstance(answer, tuple | list) and having:
        key = (fitting or having)[0]
        return (key, *placed(items[key], classes))
    if len(fitting) == 1 or len(having) == 1:
        key = fitting[0] if len(fitting) == 1 else having[0]
        return (key, *placed(items[key], classes))
    keys = f" with {', '.join(map(str, items))}" if items else ""
    raise UserError(
        f"Expected logits (N, K) as the answer of the model, or under one of the names "
        f"{', '.join(NAMES[:4])}, ..., but got {type(answer).__name__}{keys}: return the logits."
    )


def followed(answer: Any, place: Sequence[str | int]) -> Any:
    """What stands at a place."""
    for key in place:
        answer = _inside(answer, key)
    return answer


def scale_of(scores: Tensor, sigmoid: bool = False) -> Scale:
    """Recognises probabilities and their logarithms by a batch of scores.

    Args:
        scores: `(N, K)`.
        sigmoid: the network is known to end in one.

    Returns:
        "probabilities" where all scores lie in [0, 1] and each row sums to 1, or come from a
        sigmoid, or all but touch both 0 and 1; "log-probabilities" where that holds of exp.
    """
    near = max(_SUM, 4 * torch.finfo(scores.dtype).eps)
    scores = scores.detach().double()
    if len(scores) == 0 or not bool(scores.isfinite().all()):
        return "logits"
    low, high = float(scores.min()), float(scores.max())
    many = scores.shape[1] > 1
    if low >= 0 and high <= 1 + near:
        sums = many and bool(((scores.sum(1) - 1).abs() < near).all())
        return "probabilities" if sums or sigmoid or _touches(low, high) else "logits"
    if many and high <= near and bool(((scores.exp().sum(1) - 1).abs() < near).all()):
        return "log-probabilities"
    return "logits"


def ends_in_sigmoid(scores: Tensor) -> bool:
    """Whether autograd remembers a sigmoid as the last operation that changed the scores."""
    step = scores.grad_fn
    while step is not None and type(step).__name__ in _VIEWS:
        step = step.next_functions[0][0]
    return step is not None and type(step).__name__ == "SigmoidBackward0"


_VIEWS = {
    f"{name}Backward0"
    for name in ("Squeeze", "View", "UnsafeView", "Reshape", "ReshapeAlias", "Select", "ToCopy",
                 "Unsqueeze", "Clone", "Alias", "Expand", "Slice", "Permute", "Transpose")
}  # fmt: skip


def _touches(low: float, high: float) -> bool:
    return high <= 1 and low < _EDGE and high > 1 - _EDGE and not math.isclose(low, high)


@lru_cache(maxsize=8)
def _index(order: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(order, device=device)


def _two(scores: Tensor, other: Tensor) -> Tensor:
    """One score an image becomes two: of the first class, and of the second."""
    return torch.cat([other, scores], 1) if scores.shape[1] == 1 else scores


def _rows(scores: Any) -> Tensor:
    """Drops trailing sizes of 1 of `(N, K, 1, ...)`.

    Raises:
        UserError: what is there is no row of scores an image.
    """
    if not isinstance(scores, Tensor):
        raise UserError(f"Expected logits (N, K), but the model gave {type(scores).__name__}.")
    if not scores.is_floating_point():
        raise UserError(
            f"Expected logits (N, K), but the model gave {scores.dtype} numbers of shape "
            f"{tuple(scores.shape)}, which are decisions: return the scores before argmax."
        )
    sizes = [size for size in scores.shape[1:] if size != 1]
    if scores.ndim == 0 or len(sizes) > 1:
        raise UserError(
            f"Expected logits (N, K), one row an image, but the model gave a map of shape "
            f"{tuple(scores.shape)}: Assay measures image classifiers."
        )
    return scores.reshape(len(scores), sizes[0] if sizes else 1)


def _count(scores: Any) -> int | None:
    """Scores an image; None for what is no tensor of scores."""
    if not isinstance(scores, Tensor) or not scores.is_floating_point() or scores.ndim == 0:
        return None
    sizes = [size for size in scores.shape[1:] if size != 1]
    return None if len(sizes) > 1 else (sizes[0] if sizes else 1)


def _holds(value: Any, depth: int = 3) -> bool:
    """Whether there are scores in it, not too deep."""
    if isinstance(value, Tensor):
        return _count(value) is not None
    return depth > 0 and any(_holds(inner, depth - 1) for _, inner in _items(value))


def _items(answer: Any) -> Iterator[tuple[str | int, Any]]:
    """Keys and values of a container; nothing of anything else."""
    if isinstance(answer, Mapping):
        yield from answer.items()
    elif hasattr(answer, "_fields"):
        yield from zip(answer._fields, answer, strict=True)
    elif is_dataclass(answer):
        yield from ((field.name, getattr(answer, field.name)) for field in fields(answer))
    elif isinstance(answer, tuple | list):
        yield from enumerate(answer)
    elif hasattr(answer, "__dict__") and not isinstance(answer, Tensor | nn.Module):
        yield from vars(answer).items()


def _inside(answer: Any, key: str | int) -> Any:
    """One step into a container; None where it has no such key."""
    return dict(_items(answer)).get(key)
