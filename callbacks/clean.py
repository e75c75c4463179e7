"""The model on undisturbed images: the row every other row is compared with."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from callbacks.budget import Budget
from callbacks.family import Entry, Family, Number, Summary
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.reductions import accuracy, column_mean
from callbacks.results import ProbeResult
from callbacks.statistics import auroc_interval, ece_interval
from callbacks.words import percent, with_interval, with_mark


class Clean(Probe):
    """Accuracy, loss and calibration on the images as they are."""

    family: ClassVar[str] = "test"
    title: ClassVar[str] = "Clean images"
    unit: ClassVar[str] = "none"

    @classmethod
    def within(cls, budget: Budget, **options: Any) -> "Clean":
        """Measures every sample, whatever the limit: it costs one forward an image."""
        return cls(chunk=budget.chunk, seed=budget.seed, **options)

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
        count = samples.label.new_ones(len(samples))
        for setting in settings:
            yield Measurement(setting, samples.logits, {"forwards": count, "backwards": 0 * count})


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Accuracy, loss, calibration, and how well low confidence tells errors.

    Args:
        results: of the clean probe.
        clean: the same.

    Returns:
        Numbers `clean_acc clean_loss clean_ece error_auroc`.
    """
    if clean is None or not len(clean.rows):
        return Summary()
    rows, images = clean.rows, f"on {len(clean.rows):,} images"
    confidence, correct = rows["confidence"], rows["correct"]
    share, loss = accuracy(rows), column_mean(rows, "loss")
    ece = ece_interval(confidence, correct)
    auroc = auroc_interval(-confidence, correct == 0)
    nats = with_mark(f"nats, {images}", loss)
    bins = with_mark("15 bins; 0 is perfect", ece)
    tells = "confidence tells errors; 0.5 is chance, 1 perfect"
    return Summary(
        {
            "clean_acc": Number("Clean accuracy", share, "%", images, images),
            "clean_loss": Number("Clean loss", loss, "", nats, images, False),
            "clean_ece": Number("Calibration error", ece, "", bins, images),
            "error_auroc": Number("Error AUROC", auroc, "", tells, images),
        },
        [
            f"It gets {percent(share.value)} % of the undisturbed images right "
            f"({with_interval(share)})."
        ],
    )


FAMILY = Family(
    name="test",
    title="Undisturbed",
    text="The images as they are.",
    probes={"clean": Entry(Clean)},
    summarise=summarise,
    presets={"quick": ("clean",), "regular": ("clean",), "full": ("clean",)},
)
