"""Stability: whether an answer stays the same while the scene hardly changes.

A new sequence is a class and a line in `SEQUENCES` (`sequences.py`).
"""

from callbacks.family import Entries, Family, each
from callbacks.stability.probe import StabilityProbe
from callbacks.stability.sequence import Sequence
from callbacks.stability.sequences import SEQUENCES
from callbacks.stability.summary import summarise

PROBES: Entries = each(SEQUENCES, StabilityProbe, "sequence", prefix="stability_")

FAMILY = Family(
    name="stability",
    title="From frame to frame",
    text=(
        "Every image becomes a short film: the camera moves, turns, tilts or comes closer, light "
        "or noise change a little. No answer should depend on that, right or wrong."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Flip": (
            "How often the answer changes from one frame to the next; under noise, from the first "
            "frame (Hendrycks & Dietterich 2019). The steps are Assay's, not those of ImageNet-P."
        )
    },
    headings={"flip": "flip rate"},
    presets={
        "full": (
            "stability_translate", "stability_rotate", "stability_tilt", "stability_scale",
            "stability_brighten", "stability_sensor_noise",
        ),
    },
)  # fmt: skip

__all__ = ["FAMILY", "PROBES", "SEQUENCES", "Sequence", "StabilityProbe"]
