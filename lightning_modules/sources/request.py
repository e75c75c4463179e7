"""What a source is asked for."""

from dataclasses import dataclass

from datamodules.preprocessing import Preprocessing
from lightning_modules.input_contract import NOTHING_SAID, InputContract


@dataclass(frozen=True)
class Request:
    """The part of a model's name after `SOURCE:`, and what may help to load it.

    Args:
        rest: for instance `resnet18@IMAGENET1K_V1`.
        arch: architecture, for sources that hold weights only.
        classes: how many the data has; for networks that are made anew.
        preprocessing: of the data; only its channels are taken, where the network takes any.
        trust_pickle: load files that can execute code.
        said: what the model wants to see, where the user says so.
        class_names: of the data; for networks that are made anew.
        weights: key of the set of weights to take where a file holds several.
    """

    rest: str
    arch: str | None = None
    classes: int | None = None
    preprocessing: Preprocessing | None = None
    trust_pickle: bool = False
    said: InputContract = NOTHING_SAID
    class_names: tuple[str, ...] | None = None
    weights: str | None = None

    @property
    def channels(self) -> int | None:
        """Of the images, as said or else as the data have them; None where nobody knows."""
        if self.said.channels is not None:
            return 1 if self.said.channels == "grey" else 3
        return self.preprocessing and self.preprocessing.channels
