"""Transforms of other libraries as corruptions: torchvision's, Albumentations', NRTK's.

A new library is a file with a class and a line in `LIBRARIES` (`registry.py`).
"""

from functools import partial

from callbacks.corruption.summary import Group, summarise
from callbacks.family import Family
from callbacks.foreign.probe import ForeignProbe
from callbacks.foreign.registry import LIBRARIES
from callbacks.foreign.specification import Specification, specification
from callbacks.foreign.transform import ForeignTransform

FAMILY = Family(
    name="foreign",
    title="Under transforms of other libraries",
    text=(
        "Every image is changed by transforms of other libraries, with the parameters given; the "
        "severities are the values of the parameter that is swept, mild to severe. These are no "
        "part of any benchmark's mean."
    ),
    probes={},  # named by `--corruption LIBRARY:Class(...)`, not from a table
    summarise=partial(
        summarise,
        group=Group(
            "foreign", "under other libraries' transforms", "foreign transform", graded=False
        ),
    ),
)

__all__ = [
    "FAMILY",
    "LIBRARIES",
    "ForeignProbe",
    "ForeignTransform",
    "Specification",
    "specification",
]
