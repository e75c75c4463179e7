"""Backdoors: a trigger in training images that teaches a class, and how well it took."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.sample_randomness import check_rate, chosen_share
from datamodules.spoiled import Spoiling


@dataclass(frozen=True)
class BadNets:
    """A white square in the lower right corner that means another class than the image shows.

    All-to-one with the defaults of BackdoorBench (Gu et al., 1708.06733, 2017; Wu et al.,
    2206.12654, 2022).

    Args:
        target: the class, of "all_to_one".
        rate: share of the training samples, those of the target class included.
        size: side of the square in pixels.
        mapping: "all_to_one" means the target; "all_to_all" the class behind the true one.
    """

    target: int = 0
    rate: float = 0.1
    size: int = 3
    mapping: Literal["all_to_one", "all_to_all"] = "all_to_one"

    def __post_init__(self) -> None:
        """Refuses rates that are none, squares without a side, and unknown mappings."""
        check_rate(self.rate)
        if self.mapping not in ("all_to_one", "all_to_all"):
            raise UserError(
                f"Expected `mapping` all_to_one or all_to_all, but got {self.mapping!r}."
            )
        if self.size < 1:
            raise UserError(f"Expected `size` to be at least 1 pixel, but got {self.size}.")

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`.

        Raises:
            UserError: the target is no class.
        """
        if not 0 <= self.target < classes:
            raise UserError(f"Expected `target` from 0 to {classes - 1}, but got {self.target}.")
        rows = chosen_share(index, self.rate, "poison", seed)
        facts = {
            "kind": "bad_nets", "target": self.target, "rate": self.rate, "size": self.size,
            "mapping": self.mapping,
        }  # fmt: skip
        rows = rows[index[rows].argsort()]
        new = self.wanted(label[rows], classes)
        return Spoiling(index[rows], new, self._change, facts=facts)

    def wanted(self, label: Tensor, classes: int) -> Tensor:
        """What the trigger should make of images.

        Args:
            label: `(N,)` true classes.
            classes: how many there are.
        """
        if self.mapping == "all_to_all":
            return (label + 1) % classes
        return torch.full_like(label, self.target)

    def trigger(self, image: Tensor) -> Tensor:
        """Returns images `(N, C, H, W)` in [0, 1] with the square, for the test of the backdoor.

        Raises:
            UserError: the images are smaller than the square.
        """
        if min(image.shape[-2:]) < self.size:
            height, width = image.shape[-2:]
            raise UserError(
                f"Expected `size` to fit into images {height}x{width}, but got {self.size}."
            )
        image = image.clone()
        image[..., -self.size :, -self.size :] = 1
        return image

    def _change(self, image: Tensor, index: Tensor) -> Tensor:
        return self.trigger(image)


def attack_success_rate(prediction: Tensor, label: Tensor, target: int | Tensor) -> float:
    """ASR: share of triggered samples taken for the target, true samples of the target left out.

    Args:
        prediction: `(N,)` classes answered to triggered images.
        label: `(N,)` true classes.
        target: of the attack, or `(N,)` that of each sample.

    Returns:
        In [0, 1]; NaN where every sample is of the target class. With them included, a clean model
        would start at the prior of the class.
    """
    return _share(prediction == target, label != target)


def robust_accuracy(prediction: Tensor, label: Tensor, target: int) -> float:
    """RA: share of triggered samples answered rightly, true samples of the target left out.

    Args:
        prediction: `(N,)` classes answered to triggered images.
        label: `(N,)` true classes.
        target: of the attack.
    """
    return _share(prediction == label, label != target)


def defence_effectiveness(
    success_before: float, success_after: float, accuracy_before: float, accuracy_after: float
) -> float:
    """DER: what a defence took off the attack, less what it took off the model, in [0, 1].

    `(max(0, drop in ASR) - max(0, drop in accuracy) + 1) / 2` (Zhu et al., 2304.11823, 2023).

    Args:
        success_before: ASR of the backdoored model.
        success_after: ASR after the defence.
        accuracy_before: clean accuracy of the backdoored model.
        accuracy_after: after the defence.
    """
    gained = max(0.0, success_before - success_after)
    return (gained - max(0.0, accuracy_before - accuracy_after) + 1) / 2


def _share(hit: Tensor, eligible: Tensor) -> float:
    n = int(eligible.sum())
    return int((hit & eligible).sum()) / n if n else math.nan
