"""What a source is asked for."""

from dataclasses import dataclass

from datamodules.preprocessing import Preprocessing


@dataclass(frozen=True)
class Request:
    """The part of a model's name after `SOURCE:`, and what may help to load it.

    Args:
        rest: for instance `resnet18@IMAGENET1K_V1`.
        arch: architecture, for sources that hold weights only.
        classes: how many the data has; for networks that are made anew.
        preprocessing: of the data, used where the weights say nothing of their own.
        trust_pickle: load files that can execute code.
        weights: key of the set of weights to take where a file holds several.
    """

    rest: str
    arch: str | None = None
    classes: int | None = None
    preprocessing: Preprocessing | None = None
    trust_pickle: bool = False
    weights: str | None = None
