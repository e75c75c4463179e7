"""Assay's corruptions, attacks and numbers for MAITE: its `Augmentation` and `Metric` protocols.

They follow the protocols by their shape and need no MAITE to be installed.

Example:
    >>> from pipelines.maite import Corrupted
    >>> foggy = Corrupted("fog", severity=3)
    >>> images, targets, metadata = foggy(([torch.rand(3, 32, 32)], [torch.eye(2)[0]], [{"id": 0}]))
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from callbacks.adversarial.attack import Attack, about
from callbacks.adversarial.pictures.eight_bit import eight_bit
from callbacks.adversarial.threat_models import L1, L2, Linf, ThreatModel
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.reductions import accuracy
from callbacks.rows import outcome_columns
from callbacks.statistics.calibration import ece_interval
from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import in_unit_range

Batch = tuple[Sequence[Any], Sequence[Any], Sequence[Mapping[str, Any]]]
"""Images `(C, H, W)`, scores of the classes, and metadata with an `id`."""
_THREATS: dict[str, Callable[[float], ThreatModel]] = {"linf": Linf, "l2": L2, "l1": L1}
_SUM = 1e-3


class Corrupted:
    """A corruption of Assay's as a MAITE Augmentation.

    An image's random numbers belong to its `id` and the seed, so no batch size changes them; whole
    numbers are sample indices, as in `assay evaluate`. Arrays come back as they came, in kind and
    in type.

    Args:
        name: of the corruption, see `assay list corruptions`.
        severity: 1 to 5; 0 changes nothing.
        seed: of the random numbers.
    """

    def __init__(self, name: str, severity: float, seed: int = 0) -> None:
        if name not in CORRUPTIONS:
            raise UserError(f"There is no corruption {name!r}.{suggestion(name, CORRUPTIONS)}")
        self.corruption, self.severity, self.seed = CORRUPTIONS[name](), severity, seed
        self.metadata = {"id": f"assay/{name}/{severity:g}"}

    def __call__(self, batch: Batch, /) -> Batch:
        """Corrupts the images; targets stay, metadata say what was done."""
        return _changed(batch, self.seed, self._corrupted, _levels, self.metadata["id"])

    def _corrupted(self, image: Tensor, label: Tensor, draw: Draw) -> Tensor:
        return self.corruption(image, self.severity, draw)


class Attacked:
    """Attacks of Assay's as one MAITE Augmentation: accuracy under it is worst-case accuracy.

    Images that the model gets wrong stay as they are; each attack gets those that resisted the ones
    before. Changed images of uint8 are rounded to whole levels inside the ball.

    Args:
        attacks: one or several, e.g. `callbacks.adversarial.PGD()`.
        model: the classifier that is attacked, from images in [0, 1] to logits, in eval mode.
        epsilon: radius in units of the pixels' range.
        norm: of the ball.
        seed: of the random numbers.
        chunk: images in a call of the model.
    """

    def __init__(
        self,
        attacks: Attack | Sequence[Attack],
        model: nn.Module,
        epsilon: float,
        norm: Literal["linf", "l2", "l1"] = "linf",
        seed: int = 0,
        chunk: int = 64,
    ) -> None:
        self.attacks = [*attacks] if isinstance(attacks, Sequence) else [attacks]
        if norm not in _THREATS:
            raise UserError(f"Expected `norm` to be one of linf, l2, l1, but got {norm!r}.")
        if not self.attacks:
            raise UserError("Expected at least one attack, but got none.")
        for attack in self.attacks:
            about(attack).norm(norm)
        self.threat, self.seed, self._norm = _THREATS[norm](epsilon), seed, norm
        self.queries = Queries(model.eval().requires_grad_(False), chunk)
        names = "+".join(about(attack).name for attack in self.attacks)
        self.metadata = {"id": f"assay/{names}/{norm}/{epsilon:g}"}

    def __call__(self, batch: Batch, /) -> Batch:
        """Attacks the images; targets stay, metadata say what was done."""
        return _changed(batch, self.seed, self._attacked, self._levels, self.metadata["id"])

    def _attacked(self, image: Tensor, label: Tensor, draw: Draw) -> Tensor:
        device = next((value.device for value in self._weights()), image.device)
        image, label = image.to(device), label.to(device)
        draw = Draw(draw.seed, draw.index.to(device))
        found = image.clone()
        left = self._right(found, label).nonzero()[:, 0]
        for attack in self.attacks:
            if not len(left):
                break
            result = attack(self.queries, image[left], label[left], self.threat, draw.select(left))
            changed = self.threat.project(result.image, image[left])
            right = self._right(changed, label[left])
            found[left[~right]] = changed[~right]
            left = left[right]
        return found.cpu()

    def _right(self, image: Tensor, label: Tensor) -> Tensor:
        with torch.no_grad():
            return self.queries(image).argmax(1) == label

    def _weights(self) -> Any:
        model = self.queries.model
        return model.parameters() if isinstance(model, nn.Module) else ()

    def _levels(self, found: Tensor, image: Tensor) -> Tensor:
        """Whole levels inside the ball."""
        return eight_bit(found, image, self._norm, self.threat.epsilon).image


class Outcomes:
    """Assay's numbers as a MAITE Metric: accuracy, calibration and scores, with their intervals.

    Args:
        scale: what predictions are; None recognises probabilities: all in [0, 1], of sum 1.
    """

    def __init__(self, scale: Literal["probabilities", "logits"] | None = None) -> None:
        if scale not in (None, "probabilities", "logits"):
            raise UserError(f"Expected `scale` to be probabilities or logits, but got {scale!r}.")
        self.scale = scale
        self.metadata = {"id": "assay/outcomes"}
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._ids: list[Any] = []

    def update(
        self,
        pred_batch: Sequence[Any],
        target_batch: Sequence[Any],
        metadata_batch: Sequence[Mapping[str, Any]],
        /,
    ) -> None:
        """Keeps the scores and labels of a batch."""
        self._scores += [_tensor(one).float() for one in pred_batch]
        self._labels += [_label(one) for one in target_batch]
        self._ids += [one["id"] for one in metadata_batch]

    def rows(self) -> pd.DataFrame:
        """One line a sample, with the columns of Assay's rows and `id`."""
        if not self._scores:
            raise UserError("Expected predictions before `compute`, but got none.")
        scores = torch.stack(self._scores)
        logits = scores if self._kind(scores) == "logits" else scores.clamp_min(1e-38).log()
        columns = outcome_columns(logits, torch.stack(self._labels))
        return pd.DataFrame({"id": self._ids} | {k: v.numpy() for k, v in columns.items()})

    def compute(self) -> dict[str, Any]:
        """`accuracy`, `ece`, with `_low` and `_high`; `loss`, `brier`, `n` and what `scale` was."""
        rows = self.rows()
        share = accuracy(rows.assign(setting="", value=0.0, index=range(len(rows))))
        gap = ece_interval(rows["confidence"], rows["correct"])
        return {
            **share.columns("accuracy"),
            **gap.columns("ece"),
            "loss": float(rows["loss"].mean()),
            "brier": float(rows["brier"].mean()),
            "n": len(rows),
            "scale": self._kind(torch.stack(self._scores)),
        }

    def _kind(self, scores: Tensor) -> str:
        if self.scale is not None:
            return self.scale
        inside = bool(((scores >= 0) & (scores <= 1)).all())
        sums = bool(((scores.sum(1) - 1).abs() <= _SUM).all())
        return "probabilities" if inside and sums else "logits"


def _changed(
    batch: Batch,
    seed: int,
    change: Callable[[Tensor, Tensor, Draw], Tensor],
    levels: Callable[[Tensor, Tensor], Tensor],
    what: str,
) -> Batch:
    """Changes the images of one shape together, and gives each back in its own kind."""
    images, targets, metadata = batch
    pixels = [_tensor(image) for image in images]
    labels = [_label(target) for target in targets]
    index = [_index(datum) for datum in metadata]
    changed: list[Any] = [None] * len(images)
    for kind in dict.fromkeys((image.shape, image.dtype) for image in pixels):
        rows = [row for row, image in enumerate(pixels) if (image.shape, image.dtype) == kind]
        before = in_unit_range(torch.stack([pixels[row] for row in rows]))
        label = torch.stack([labels[row] for row in rows])
        draw = Draw(seed, torch.tensor([index[row] for row in rows]))
        after = change(before, label, draw)
        if kind[1] == torch.uint8:
            after = levels(after, before)
        for row, image in zip(rows, after, strict=True):
            changed[row] = image.numpy() if isinstance(images[row], np.ndarray) else image
    return changed, targets, [{**datum, "assay": what} for datum in metadata]


def _levels(image: Tensor, before: Tensor) -> Tensor:
    """Corrupted images are of whole levels k/255 already."""
    return (image * 255).round().to(torch.uint8)


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.detach().cpu()
    return torch.from_numpy(np.array(array))


def _label(target: Any) -> Tensor:
    scores = _tensor(target)
    if scores.ndim != 1 or len(scores) < 2:
        raise UserError(
            f"Expected a score for each class as every target, but got shape {tuple(scores.shape)}."
        )
    return scores.argmax()


def _index(datum: Mapping[str, Any]) -> int:
    """A sample's own number: its id, or a hash of it where it is a text."""
    number = datum["id"]
    return number if isinstance(number, int) else zlib.crc32(str(number).encode())
