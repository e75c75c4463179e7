"""What a model wants to see: sizes, channels, normalisation."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from datamodules.errors import UserError

_INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic")
_MOST_PIXELS = 178_956_970  # of an image that Pillow opens without an error
CONVERSIONS = {(1, 3): "grey repeated to RGB", (3, 1): "RGB to grey by luma (ITU-R 601)"}
"""What becomes of images, by the channels they have and those that are wanted."""


@dataclass(frozen=True)
class Preprocessing:
    """Taken from the weights' metadata where there is one, else from the data set or options.

    Args:
        channels: 1 or 3.
        resize: short side, or (height, width), before the crop; None keeps the size.
        crop: side of the centre crop; None takes all.
        interpolation: of the resize: "nearest", "nearest-exact", "bilinear" or "bicubic".
        mean: per channel, of images in [0, 1]; subtracted inside the classifier.
        std: per channel; divided by inside the classifier.
    """

    channels: int = 3
    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Refuses what cannot be applied."""
        if self.channels not in (1, 3):
            raise UserError(f"Expected `channels` to be 1 or 3, but got {self.channels}.")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UserError(
                f"Expected `mean` and `std` of {self.channels} channel(s), but got "
                f"{list(self.mean)} and {list(self.std)}."
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise UserError(
                f"Expected `interpolation` to be one of {', '.join(_INTERPOLATIONS)}, but got "
                f"{self.interpolation!r}."
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        side = self.resize if isinstance(self.resize, int) or not self.resize else min(self.resize)
        for name, pixels in (("resize", side), ("crop", self.crop)):
            if pixels is not None and pixels < 1:
                raise UserError(f"Expected `{name}` to be at least 1, but got {pixels}.")
        if self.crop and side and self.crop > side:
            raise UserError(
                f"Expected a crop that fits into the resized image, but got crop {self.crop} and "
                f"resize {side}: give both `--data.resize` and `--data.crop`."
            )

    @property
    def one_size(self) -> bool:
        """Whether all images come out alike, whatever their sizes were."""
        return isinstance(self.resize, tuple) or self.crop is not None

    def apply(self, image: Tensor) -> Tensor:
        """Converts channels, resizes and crops `(..., C, H, W)` images; keeps their dtype.

        Raises:
            UserError: an image is smaller than the crop, or a strip that resizes beyond measure.
        """
        image, resized = converted(image, self.channels), self.resized_size(*image.shape[-2:])
        if self.resize is not None:
            mode = InterpolationMode(self.interpolation)
            image = TF.resize(image, list(resized), mode, antialias=True)
        return image if self.crop is None else TF.center_crop(image, [self.crop, self.crop])

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) to which an image is resized, before the crop.

        Raises:
            UserError: it is smaller than the crop, or more than Pillow would open.
        """
        if isinstance(self.resize, int):
            short, long = sorted((height, width))
            longer = int(self.resize * long / short)  # rounded as torchvision does
            size = (self.resize, longer) if height <= width else (longer, self.resize)
        else:
            size = self.resize or (height, width)
        if size[0] * size[1] > _MOST_PIXELS:
            raise UserError(
                f"Expected images that resize to at most {_MOST_PIXELS:,} pixels, but one of "
                f"{height}x{width} (height x width) comes to {size[0]}x{size[1]}: take it away, or "
                "give both sides of `--data.resize`."
            )
        if self.crop is not None and self.crop > min(size):  # torchvision would frame it in black
            raise UserError(
                f"Expected images of at least {self.crop} pixels a side for the crop, but got "
                f"{size[0]}x{size[1]} (height x width): give `--data.resize {self.crop}`."
            )
        return size

    def as_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "channels": self.channels,
            "resize": list(self.resize) if isinstance(self.resize, tuple) else self.resize,
            "crop": self.crop,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Preprocessing":
        """The inverse of `as_dict`."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return cls(**values)


def converted(image: Tensor, channels: int) -> Tensor:
    """Repeats grey to three channels, or weighs three by luma (ITU-R 601) to grey.

    A grey level comes back as it was from three equal channels, in 8 bits and in float; 8 bits are
    those of Pillow's `convert("L")`, where torchvision's `rgb_to_grayscale` lowers 255 of the 256
    levels by one (its weights sum to .9999, and it cuts off).
    """
    if image.shape[-3] == channels:
        return image
    if channels == 3:
        return TF.grayscale_to_rgb(image)
    if image.dtype != torch.uint8:
        red, green, blue = image.unbind(-3)
        return (red + 0.587 * (green - red) + 0.114 * (blue - red)).unsqueeze(-3)
    red, green, blue = image.int().unbind(-3)
    luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16  # in units of 1/65536
    return luma.to(torch.uint8).unsqueeze(-3)


def in_unit_range(image: Tensor) -> Tensor:
    """Converts images to float32 in [0, 1]: uint8 is divided by 255, anything else is checked.

    Raises:
        UserError: a value is outside of [0, 1] or not a number.
    """
    if image.dtype == torch.uint8:
        return image.float() / 255
    image = image.float()
    if not bool(((image >= 0) & (image <= 1)).all()):
        raise UserError(
            f"Expected images in [0, 1], but got values from {float(image.min()):g} to "
            f"{float(image.max()):g}: scale them, and leave mean and std to the model."
        )
    return image
