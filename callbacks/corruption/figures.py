"""What every corruption does to a scene."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.corruption.corruption import Corruption
from callbacks.randomness import Draw

_SHOWN = (1.0, 3.0, 5.0)
_ACROSS = 2
"""Corruptions beside each other in the sheet."""


def picture_sheet(corruptions: Sequence[Corruption], side: int) -> Figure:
    """What every corruption does to a drawn scene at three severities, with the constants used.

    Args:
        corruptions: shown.
        side: whose constants are taken, and of the scene in pixels.
    """
    image = scene(side)
    lines = -(-len(corruptions) // _ACROSS)
    figure = Figure(figsize=(7.4, 0.3 + 1.25 * lines), layout="constrained")
    places = figure.subplots(lines, len(_SHOWN) * _ACROSS, squeeze=False)
    for axes in places.flat:
        axes.axis("off")
    for i, corruption in enumerate(corruptions):
        row, first = i // _ACROSS, i % _ACROSS * len(_SHOWN)
        for axes, severity in zip(places[row, first : first + len(_SHOWN)], _SHOWN, strict=True):
            shown = corruption(image, severity, Draw(0, torch.zeros(1, dtype=torch.long)), side)
            axes.imshow(shown[0].movedim(0, -1).numpy(), vmin=0, vmax=1)
            axes.set_title(f"{severity:g}", fontsize=8, loc="right", pad=2)
        places[row, first].set_title(corruption.title, fontsize=7, loc="left", pad=2)
    return figure


def scene(side: int) -> Tensor:
    """A drawn landscape `(1, 3, side, side)`: soft and hard edges, stripes, bright and dark.

    No photograph, so that the sheet needs no data and is the same for everybody.
    """
    y, x = torch.meshgrid(*2 * [torch.linspace(0, 1, side)], indexing="ij")
    sky = torch.stack([0.35 + 0.4 * y, 0.55 + 0.3 * y, 0.95 - 0.1 * y])
    meadow = torch.stack([0.2 + 0.3 * x, 0.55 - 0.2 * y, 0.15 + 0 * x])
    wall = torch.stack([0.75 - 0.3 * ((12 * x) % 1 > 0.5), 0.3 + 0 * x, 0.2 + 0.1 * y])
    image = torch.where(y > 0.62 + 0.08 * torch.sin(9 * x), meadow, sky)
    image = torch.where((x - 0.78) ** 2 + (y - 0.22) ** 2 < 0.012, _flat(1.0, 0.9, 0.3), image)
    image = torch.where((abs(x - 0.36) < 0.2) & (abs(y - 0.62) < 0.2), wall, image)
    roof = (y < 0.42) & (y > 0.2 + abs(x - 0.36))
    image = torch.where(roof, _flat(0.25, 0.12, 0.1), image)
    window = (abs(x - 0.36) < 0.06) & (abs(y - 0.58) < 0.06)
    return torch.where(window, _flat(0.95, 0.95, 0.8), image)[None]


def _flat(*colour: float) -> Tensor:
    return torch.tensor(colour)[:, None, None]
