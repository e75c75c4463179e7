"""What was watched of batches and waits for its window to be complete."""

from typing import NamedTuple

import torch
from torch import Tensor


class Watched(NamedTuple):
    """Values of one layer.

    Args:
        rows: `(M, C)` of all places of all images.
        means: `(N, C)` float64 over the places of each image.
    """

    rows: Tensor
    means: Tensor


class WatchedBatches:
    """Batches in the order they were served, whose images may differ in size."""

    def __init__(self) -> None:
        self._batches: list[tuple[int, dict[str, Tensor]]] = []

    def __len__(self) -> int:
        """Images that wait."""
        return sum(images for images, _ in self._batches)

    def add(self, images: int, values: dict[str, Tensor]) -> None:
        """Appends a batch: values `(images, P, C)` by layer, with places P of their own."""
        self._batches.append((images, values))

    def take(self, images: int) -> tuple[dict[str, Watched], list[str]]:
        """Takes the first images away.

        Args:
            images: how many, at most as many as wait.

        Returns:
            What was seen of every layer that answered all of them with as many channels, and the
            names of the other layers.
        """
        parts: dict[str, list[Tensor]] = {}
        left = images
        while left:
            count, values = self._batches.pop(0)
            if count > left:
                rest = {name: value[left:] for name, value in values.items()}
                self._batches.insert(0, (count - left, rest))
            for name, value in values.items():
                parts.setdefault(name, []).append(value[:left])
            left -= min(count, left)
        whole = {name: some for name, some in parts.items() if _alike(some, images)}
        return {n: _joined(some) for n, some in whole.items()}, [n for n in parts if n not in whole]


def _alike(parts: list[Tensor], images: int) -> bool:
    return sum(map(len, parts)) == images and len({part.shape[-1] for part in parts}) == 1


def _joined(parts: list[Tensor]) -> Watched:
    rows = torch.cat([part.flatten(0, 1) for part in parts])
    return Watched(rows, torch.cat([part.double().mean(1) for part in parts]))
