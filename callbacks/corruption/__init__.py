"""Corrupted input: what sensors, optics, weather and storage do to images.

A new corruption is a file and a line in `CORRUPTIONS` (`registry.py`).
"""

from callbacks.corruption.augmix import AugMix
from callbacks.corruption.corruption import Corruption
from callbacks.corruption.probe import CorruptionProbe
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.corruption.stored import StoredProbe, stored_probes
from callbacks.corruption.summary import summarise
from callbacks.corruption.training import CorruptionTraining
from callbacks.family import Entries, Family, each

PROBES: Entries = each(CORRUPTIONS, CorruptionProbe, "corruption")

FAMILY = Family(
    name="corruption",
    title="Corrupted",
    text=(
        "Every image is disturbed as sensors, optics, weather and storage do, at severities 1 to 5 "
        "with the published constants for its size (Hendrycks & Dietterich 2019), or comes from a "
        "set that was prepared so."
    ),
    probes=PROBES,
    summarise=summarise,
    brought=stored_probes,
    terms={
        "Severity": (
            "1 to 5, each with constants of its own for every corruption and image size; 0 is the "
            "image itself. Five steps of two corruptions are not equally strong."
        ),
        "mCE": (
            "Mean corruption error: the error over severities in units of AlexNet's, averaged over "
            "the fifteen corruptions of ImageNet-C. Told for 1000 classes at 224 px only."
        ),
        "Relative mCE": "The same of how much the error grows from that of undisturbed images.",
    },
    presets={
        "regular": (
            "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur",
            "motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness", "contrast",
            "elastic_transform", "pixelate", "jpeg_compression",
        ),
        "full": (
            "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur",
            "motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness", "contrast",
            "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise", "gaussian_blur",
            "spatter", "saturate",
        ),
    },
)  # fmt: skip

__all__ = [
    "CORRUPTIONS",
    "FAMILY",
    "PROBES",
    "AugMix",
    "Corruption",
    "CorruptionProbe",
    "CorruptionTraining",
    "StoredProbe",
]
