"""Adaptation at test time: what a network gains by looking at unlabelled test images, and when not.

A new adaptation is a class and a line in `ADAPTATIONS`.
"""

from collections.abc import Callable

from callbacks.adaptation.adaptation import Adaptation, Unadapted
from callbacks.adaptation.batch_norm import BatchNorm
from callbacks.adaptation.controls import controls_beside
from callbacks.adaptation.probe import AdaptationProbe
from callbacks.adaptation.summary import summarise
from callbacks.adaptation.tent import Tent
from callbacks.family import Entries, Family, each

ADAPTATIONS: dict[str, Callable[..., Adaptation]] = {
    "none": Unadapted,
    "batch_norm": BatchNorm,
    "tent": Tent,
}

PROBES: Entries = each(ADAPTATIONS, AdaptationProbe, "adaptation", prefix="adaptation_")

FAMILY = Family(
    name="adaptation",
    title="Adapted at test time",
    text=(
        "The network looks at unlabelled corrupted images in batches and adapts while it answers, "
        "anew for each corruption and severity. Its answers are no longer those of a function of "
        "one image: they belong to this set of images, this order and this size of batches. "
        "Differences are paired, image by image, with the network as it is; their intervals are "
        "over images, given the stream."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Class after class": "A stream of one class after the other, which batch statistics fear.",
        "Statistics of another corruption": (
            "Batch norm takes them from images under the next corruption: what is gained then is "
            "not gained by knowing the test images."
        ),
    },
    companions=controls_beside,
)

__all__ = [
    "ADAPTATIONS",
    "FAMILY",
    "PROBES",
    "Adaptation",
    "AdaptationProbe",
    "BatchNorm",
    "Tent",
    "Unadapted",
]
