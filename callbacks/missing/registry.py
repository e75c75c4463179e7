"""Missing and broken input by name."""

from collections.abc import Callable

from callbacks.missing.broken import (
    ChannelOrder,
    DeadSensor,
    Inverted,
    NotANumber,
    SaturatedSensor,
    Scaled,
    WrongRange,
)
from callbacks.missing.missing_input import MissingInput
from callbacks.missing.places import (
    Channels,
    Columns,
    NonSalientPatches,
    Patches,
    Pixels,
    Rows,
    SalientPatches,
    WholeImage,
)

MISSING: dict[str, Callable[..., MissingInput]] = {
    "pixels": Pixels,
    "patches": Patches,
    "salient_patches": SalientPatches,
    "non_salient_patches": NonSalientPatches,
    "rows": Rows,
    "columns": Columns,
    "channels": Channels,
    "whole_image": WholeImage,
    "dead_sensor": DeadSensor,
    "saturated_sensor": SaturatedSensor,
    "not_a_number": NotANumber,
    "channel_order": ChannelOrder,
    "wrong_range": WrongRange,
    "scaled_twice": Scaled,
    "inverted": Inverted,
}
