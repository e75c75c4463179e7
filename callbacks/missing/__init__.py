"""Missing and broken input: what a model says of what did not come, or came wrong.

A new kind is a class and a line in `MISSING` (`registry.py`).
"""

from callbacks.family import Entries, Family, each
from callbacks.missing.missing_input import Given, Loss, MissingInput
from callbacks.missing.probe import MissingProbe
from callbacks.missing.registry import MISSING
from callbacks.missing.summary import summarise

PROBES: Entries = each(MISSING, MissingProbe, "missing", prefix="missing_")

FAMILY = Family(
    name="missing",
    title="Missing and broken input",
    text=(
        "A share of every image, or of all images, is lost or comes broken. What is lost at a rate "
        "is lost at every larger one; what stands there instead is part of the result."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Rate": (
            "The share of pixels, patches, rows, columns, channels or values of each image that is "
            "lost; for whole images and mistakes of software the share of images."
        ),
        "Abstains": (
            "Holds its answer back: it is less confident than on 95 % of undisturbed images, or it "
            "gives none (NaN)."
        ),
    },
    headings={"sure": "confidence"},
    presets={
        "full": (
            "missing_pixels", "missing_patches", "missing_salient_patches",
            "missing_non_salient_patches", "missing_rows", "missing_columns", "missing_channels",
            "missing_whole_image", "missing_dead_sensor", "missing_saturated_sensor",
            "missing_not_a_number", "missing_channel_order", "missing_wrong_range",
        ),
    },
)  # fmt: skip

__all__ = ["FAMILY", "MISSING", "PROBES", "Given", "Loss", "MissingInput", "MissingProbe"]
