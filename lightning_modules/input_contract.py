"""What a network wants to see: what somebody says, what its weights say, else images in [0, 1].

The first that is known holds, field by field: `SAID` > `WEIGHTS` > `ARCHITECTURE` > `NOTHING`. The
statistics of the data are never taken without being told: they say nothing of the network.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from datamodules.errors import UserError, suggestion
from datamodules.preprocessing import Preprocessing

SAID = "said"
WEIGHTS = "from the weights"
ARCHITECTURE = "of the architecture"
NOTHING = "nothing known: [0, 1] as they are"
NO_SIZE = "nothing known: as they are"
AS_DATA = "as the data have them"

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0,), (1.0,)),
    "half": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "mnist": ((0.1307,), (0.3081,)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "bytes": ((0.0,), (1 / 255,)),
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,)),
    "inverted": ((1.0,), (-1.0,)),
}
"""Mean and std by name, of images in [0, 1]: `bytes` gives 0 to 255, `caffe` that minus ImageNet's
mean colour (its networks want `bgr` too), `inverted` 1 - x."""

Numbers = float | tuple[float, ...]
_COLOURS = {"grey": (1, False), "rgb": (3, False), "bgr": (3, True)}
_FIELDS = ("channels", "resize", "crop", "interpolation", "mean", "std")


@dataclass(frozen=True)
class InputContract:
    """What somebody says of the images that a network wants; None is not said.

    Args:
        mean: subtracted from images in [0, 1]: a number, one a channel (in the order red, green,
            blue), or a key of `NORMALISATIONS`, which gives the std too.
        std: divided by.
        resize: short side, or (height, width), before the crop; 0 keeps the size.
        crop: side of the centre crop; 0 takes all.
        channels: what the network takes.
        interpolation: of the resize, see `Preprocessing`.

    Raises:
        UserError: an unknown name, or a mean without a std.
    """

    mean: str | Numbers | None = None
    std: str | Numbers | None = None
    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    channels: Literal["grey", "rgb", "bgr"] | None = None
    interpolation: str | None = None

    def __post_init__(self) -> None:
        """Refuses what nobody can have meant."""
        if self.channels not in (None, *_COLOURS):
            raise UserError(
                f"Expected `channels` to be grey, rgb or bgr, but got {self.channels!r}."
            )
        if self.normalisation and 0 in self.normalisation[1]:
            raise UserError(f"Expected a `std` other than 0, but got {self.std}.")

    @classmethod
    def like(cls, wanted: Preprocessing) -> "InputContract":
        """Says all that a model wants, for another one that is to see the same images."""
        return cls(
            mean=wanted.mean,
            std=wanted.std,
            resize=wanted.resize or 0,
            crop=wanted.crop or 0,
            interpolation=wanted.interpolation,
        )

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and std as said, of one or of three channels; None where nothing is said."""
        mean, std = _read("mean", self.mean), _read("std", self.std)
        if isinstance(mean, str) and isinstance(std, str) and mean != std:
            raise UserError(f"Expected one name for `mean` and `std`, but got {mean} and {std}.")
        if isinstance(mean, str) and std is None:
            return NORMALISATIONS[mean]
        if isinstance(std, str) and mean is None:
            return NORMALISATIONS[std]
        if (mean is None) != (std is None):
            given, absent = ("mean", "std") if std is None else ("std", "mean")
            raise UserError(
                f"Expected `{absent}` beside `{given}`, but got none: `--mean none` leaves images "
                "in [0, 1] as they are."
            )
        if mean is None or std is None:
            return None
        return (
            NORMALISATIONS[mean][0] if isinstance(mean, str) else mean,
            NORMALISATIONS[std][1] if isinstance(std, str) else std,
        )

    def over(
        self, known: Preprocessing, reasons: Mapping[str, str]
    ) -> tuple[Preprocessing, dict[str, str]]:
        """Puts what is said over what is known.

        Args:
            known: what holds so far.
            reasons: why, by field.

        Returns:
            What holds now, and why.

        Raises:
            UserError: the network takes other channels.
        """
        changes: dict[str, object] = {}
        if self.channels is not None:
            count, bgr = _COLOURS[self.channels]
            if count != known.channels:
                raise UserError(
                    f"Got `channels` {self.channels}, but the network takes {known.channels} "
                    f"channel(s) ({reasons.get('channels', SAID)})."
                )
            changes |= {"channels": count, "bgr": bgr}
        if self.normalisation is not None:
            mean, std = (_spread(values, known.channels) for values in self.normalisation)
            changes |= {"mean": mean, "std": std}
        for name in ("resize", "crop", "interpolation"):
            value = getattr(self, name)
            if value is not None:
                changes[name] = value or None
        said = {name: SAID for name in changes if name in _FIELDS}
        return replace(known, **changes), {**reasons, **said}  # type: ignore[arg-type]


def unknown_input(
    channels: int, size: int | None = None, why_channels: str = ARCHITECTURE
) -> tuple[Preprocessing, dict[str, str]]:
    """What holds where nobody says anything: images in [0, 1] as they are.

    Args:
        channels: that the network takes.
        size: the only side of images that the network can take, if it is so.
        why_channels: the reason for the channels.
    """
    sides = None if size is None else (size, size)
    plain = Preprocessing(channels, sides, mean=(0.0,) * channels, std=(1.0,) * channels)
    sized = NO_SIZE if size is None else ARCHITECTURE
    reasons = dict.fromkeys(("resize", "crop", "interpolation"), sized)
    return plain, {"channels": why_channels, **reasons, **dict.fromkeys(("mean", "std"), NOTHING)}


def all_fields(reason: str) -> dict[str, str]:
    """One reason for everything."""
    return dict.fromkeys(_FIELDS, reason)


def input_line(wanted: Preprocessing, reasons: Mapping[str, str]) -> str:
    """Says in one line what a network is shown and why.

    >>> input_line(*unknown_input(1))
    'grey (of the architecture); any size (nothing known: as they are); mean 0, std 1 (nothing
    known: [0, 1] as they are)'
    """
    parts = [("channels", _colour(wanted)), *_sizes(wanted)]
    parts += [(name, f"{name} {_short(getattr(wanted, name))}") for name in ("mean", "std")]
    said = [(text, reasons.get(name, SAID)) for name, text in parts]
    groups = groupby(said, key=lambda part: part[1])
    return "; ".join(
        f"{', '.join(text for text, _ in group)} ({reason})" for reason, group in groups
    )


def _sizes(wanted: Preprocessing) -> list[tuple[str, str]]:
    if wanted.resize is None and wanted.crop is None:
        return [("resize", "any size")]
    found = []
    if wanted.resize is not None:
        sides = (wanted.resize,) if isinstance(wanted.resize, int) else wanted.resize
        found = [("resize", f"resize {'x'.join(map(str, sides))} {wanted.interpolation}")]
    return [*found, ("crop", f"crop {wanted.crop}")] if wanted.crop else found


def _colour(wanted: Preprocessing) -> str:
    return "grey" if wanted.channels == 1 else "BGR" if wanted.bgr else "RGB"


def _short(values: tuple[float, ...]) -> str:
    distinct = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"{value:.4g}" for value in distinct)


def _read(flag: str, value: str | Numbers | None) -> str | tuple[float, ...] | None:
    """A known name, or numbers, which may also be written as `0.5` or `0.1,0.2,0.3`."""
    if value is None or value in NORMALISATIONS:
        return value  # type: ignore[return-value]
    try:
        words = value.strip("[]() ").split(",") if isinstance(value, str) else value
        numbers = [words] if isinstance(words, int | float) else list(words)
        found = tuple(float(number) for number in numbers)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"Expected `{flag}` to be numbers or a name, but got {value!r}."
            f"{suggestion(str(value), NORMALISATIONS)}"
        ) from error
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise UserError(f"Expected `{flag}` of one number or three, but got {value!r}.")
    return found


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == channels:
        return values
    if len(values) == 1:
        return values * channels
    raise UserError(
        f"Expected a mean and a std of one channel, because the network takes grey images, but got "
        f"{list(values)}."
    )


NOTHING_SAID = InputContract()
