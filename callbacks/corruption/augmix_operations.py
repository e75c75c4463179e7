"""The operations that AugMix mixes, each batched with an amount of its own for every image.

Images hold whole grey levels k/255, before and after, as the 8-bit images of the authors' script.
None is a corruption of ImageNet-C. Turning, shearing and shifting interpolate bilinearly and leave
black behind, as torchvision does; Pillow, which the authors use, differs at the edge by the pixels
that lie half outside.
"""

from collections.abc import Callable
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

Operation = Callable[[Tensor, Tensor], Tensor]
"""`(image (N, C, H, W) in [0, 1], level (N,)) -> image`; the sign of a level is a direction."""
_LEVELS = 256


def autocontrast(image: Tensor, level: Tensor) -> Tensor:
    """Stretches every channel from black to white; a constant one stays. The level says nothing."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    reach = high - low
    stretched = (image - low) / reach.where(reach > 0, 1)
    return _cut(torch.where(reach > 0, stretched, image))


def equalize(image: Tensor, level: Tensor) -> Tensor:
    """Levels every channel's histogram as Pillow does. The level says nothing."""
    value = _whole(image).flatten(2)
    counts = value.new_zeros(*value.shape[:2], _LEVELS).scatter_add_(2, value, value * 0 + 1)
    last = counts.gather(2, value.amax(2, keepdim=True))  # of the brightest level there is
    step = (counts.sum(2, keepdim=True) - last) // (_LEVELS - 1)
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=_LEVELS - 1)
    table = torch.where(step > 0, table, torch.arange(_LEVELS, device=image.device))
    return (table.gather(2, value) / 255).view_as(image).to(image.dtype)


def posterize(image: Tensor, level: Tensor) -> Tensor:
    """Keeps 4 bits, one less for every whole 2.5 of the level."""
    width = 2 ** (4 + _amount(level, 4).abs().long())[:, None, None, None]
    return (_whole(image) // width * width / 255).to(image.dtype)


def solarize(image: Tensor, level: Tensor) -> Tensor:
    """Inverts what is at least as bright as 256 - 25.6 times the level."""
    threshold = _LEVELS - _amount(level, 256).abs()[:, None, None, None]
    return torch.where(_whole(image) >= threshold, 1 - image, image)


def rotate(image: Tensor, level: Tensor) -> Tensor:
    """Turns about the centre by whole degrees, 3 a level, counter-clockwise where positive."""
    height, width = image.shape[-2:]
    angle = _amount(level, 30) * pi / 180
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    return _moved(image, (cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y))


def shear_x(image: Tensor, level: Tensor) -> Tensor:
    """Shears rows against each other from the top edge on, .03 of their height a level."""
    one, none = torch.ones_like(level), torch.zeros_like(level)
    return _moved(image, (one, 0.03 * level, none), (none, one, none))


def shear_y(image: Tensor, level: Tensor) -> Tensor:
    """Shears columns against each other from the left edge on; see `shear_x`."""
    one, none = torch.ones_like(level), torch.zeros_like(level)
    return _moved(image, (one, none, none), (0.03 * level, one, none))


def translate_x(image: Tensor, level: Tensor) -> Tensor:
    """Shifts by whole pixels, a thirtieth of the width a level, to the left where positive."""
    one, none = torch.ones_like(level), torch.zeros_like(level)
    shift = _amount(level, image.shape[-1] / 3)
    return _moved(image, (one, none, shift), (none, one, none))


def translate_y(image: Tensor, level: Tensor) -> Tensor:
    """Shifts by whole pixels, a thirtieth of the height a level, upwards where positive."""
    one, none = torch.ones_like(level), torch.zeros_like(level)
    shift = _amount(level, image.shape[-2] / 3)
    return _moved(image, (one, none, none), (none, one, shift))


OPERATIONS: dict[str, Operation] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "posterize": posterize,
    "rotate": rotate,
    "solarize": solarize,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
}
"""Of the authors' script; those that are corruptions of ImageNet-C are left out there too."""


def _amount(level: Tensor, most: float) -> Tensor:
    """A level of 10 is the most; cut to whole numbers, towards 0."""
    return (level * most / 10).trunc()


def _whole(image: Tensor) -> Tensor:
    """Grey levels as integers."""
    return (image * 255).round().long()


def _cut(image: Tensor) -> Tensor:
    """Down to whole grey levels; the slack keeps those that float32 has a little below."""
    return ((image * 255 + 1e-3).floor() / 255).clamp(0, 1)


def _moved(image: Tensor, x_of: tuple[Tensor, ...], y_of: tuple[Tensor, ...]) -> Tensor:
    """Looks every pixel up elsewhere: at (a x + b y + c, d x + e y + f) pixels from the corner.

    Args:
        image: `(N, C, H, W)`.
        x_of: a, b, c, `(N,)` each.
        y_of: d, e, f.
    """
    height, width = image.shape[-2:]
    x = torch.arange(width, device=image.device) + 0.5
    y = torch.arange(height, device=image.device)[:, None] + 0.5
    a, b, c, d, e, f = (number[:, None, None] for number in (*x_of, *y_of))
    grid = torch.stack(
        [2 * (a * x + b * y + c) / width - 1, 2 * (d * x + e * y + f) / height - 1], -1
    )
    moved = F.grid_sample(image, grid.to(image.dtype), mode="bilinear", align_corners=False)
    return (moved * 255).round() / 255
