"""Cameras: what they do to images besides the nineteen published corruptions.

A new one is a file, or a class in it, and a line in `CAMERAS` (`registry.py`).
"""

from functools import partial

from callbacks.camera.probe import CameraProbe
from callbacks.camera.registry import CAMERAS
from callbacks.corruption.summary import Group, summarise
from callbacks.family import Entries, Family, each

PROBES: Entries = each(CAMERAS, CameraProbe, "corruption", prefix="camera_")

FAMILY = Family(
    name="camera",
    title="Seen by other cameras",
    text=(
        "The camera stands elsewhere, sees light otherwise, looks through rain, haze or dirt, or "
        "writes less than it saw, at severities 1 to 5. These are no part of ImageNet-C and of no "
        "mean corruption error; most constants are Assay's own, and each file says which."
    ),
    probes=PROBES,
    summarise=partial(
        summarise,
        group=Group(
            "camera", "under what cameras do", "camera corruption",
            {f"camera_{name}": kind for name, kind in CAMERAS.items()},
        ),
    ),
    presets={
        "full": (
            "camera_rotation", "camera_scale", "camera_translation", "camera_perspective",
            "camera_gamma", "camera_white_balance", "camera_iso_noise", "camera_banding",
            "camera_rolling_shutter", "camera_rain", "camera_haze", "camera_lens_dirt",
            "camera_h264_blocking", "camera_colour_quantisation",
        ),
    },
)  # fmt: skip

__all__ = ["CAMERAS", "FAMILY", "PROBES", "CameraProbe"]
