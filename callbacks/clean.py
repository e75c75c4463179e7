"""The model on undisturbed images: the row every other row is compared with."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from callbacks.budget import Budget
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries


class Clean(Probe):
    """Accuracy, loss and calibration on the images as they are."""

    family: ClassVar[str] = "test"
    title: ClassVar[str] = "Clean images"
    unit: ClassVar[str] = "none"

    @classmethod
    def within(cls, budget: Budget) -> "Clean":
        """Measures every sample, whatever the limit: it costs one forward an image."""
        return cls(chunk=budget.chunk, seed=budget.seed)

    @property
    def name(self) -> str:
        """`clean`."""
        return "clean"

    def settings(self) -> tuple[Setting, ...]:
        """One: severity 0."""
        return (Setting("clean", 0, 0.0),)

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Hands on the clean logits, which the classifier's test step has already measured."""
        one = samples.label.new_ones(len(samples))
        for setting in settings:
            yield Measurement(setting, samples.logits, {"forwards": one, "backwards": 0 * one})
