"""What damage in the one pass amounts to: the accuracy it leaves, and the worst kind of it."""

from collections.abc import Sequence

from callbacks.family import Number, Summary
from callbacks.reductions import accuracy
from callbacks.results import ProbeResult
from callbacks.words import percent, with_interval

_PLACES = ("layer", "bit,")
"""What units of damage of one place at a time begin with."""


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Accuracy under the kind of damage that hurts most at its headline severity.

    Args:
        results: of damage probes.
        clean: not needed.

    Returns:
        The number `damage_acc`: the smallest of the mean accuracies, not image by image, as the
        draws of two kinds of damage have nothing in common. A sentence names the layers where a
        damage of one layer at a time hurts most.
    """
    places = [result for result in results if result.is_curve and result.unit.startswith(_PLACES)]
    told = [sentence for result in places if (sentence := _weakest_layers(result))]
    measured = [result for result in results if result.is_curve and result not in places]
    if not measured:
        return Summary(sentences=told)
    worst = min(measured, key=lambda result: accuracy(result.at_headline).value)
    share, rows = accuracy(worst.at_headline), worst.at_headline
    value, draws = float(rows["value"].iloc[0]), rows["draw"].nunique()
    what = f"{worst.title.lower()} at {value:g} ({worst.unit})"
    kinds = f"the worst of {len(measured)} kinds" if len(measured) > 1 else "the one kind measured"
    images = rows["index"].nunique()
    note = f"{what}, {kinds}; {draws} draws on {images:,} images"
    asked = "; ".join(sorted(f"{one.name} {one.algorithm} {one.values}" for one in measured))
    number = Number("Accuracy when damaged", share, "%", note, f"{asked}, {images} images")
    sentence = (
        f"Damaged by {what}, {kinds}, it still gets {percent(share.value)} % right "
        f"({with_interval(share)}, over images and {draws} draws)."
    )
    return Summary({"damage_acc": number}, [sentence, *told])


def _weakest_layers(result: ProbeResult) -> str:
    """Names the three layers whose damage leaves least, and the one that leaves most."""
    if not result.unit.startswith("layer"):
        return ""
    left = {
        result.said(value): accuracy(result.at(step)).value for step, value in result.values.items()
    }
    order = sorted(left, key=lambda name: left[name])
    shown = ", ".join(f"{name} ({percent(left[name])} %)" for name in order[:3])
    most = f"{order[-1]} ({percent(left[order[-1]])} %)"
    return f"{result.title}: least is left after damage of {shown}, most after that of {most}."
