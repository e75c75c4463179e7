"""What a learnt pattern takes beyond a random one of the same size."""

from collections.abc import Sequence

from callbacks.family import Number
from callbacks.reductions import accuracy, column_mean, robustly_correct
from callbacks.results import ProbeResult
from callbacks.statistics import paired_difference
from callbacks.words import percent, radius, with_interval


def against_control(results: Sequence[ProbeResult]) -> tuple[dict[str, Number], list[str]]:
    """By how much a learnt pattern beats a random one, paired image by image.

    Args:
        results: of the adversarial family; those without a control are passed over.

    Returns:
        Numbers `<probe>_over_control` and a sentence of each.
    """
    numbers: dict[str, Number] = {}
    sentences: list[str] = []
    for result in results:
        if "control_correct" not in result.rows or not len(result.rows):
            continue
        rows = result.at_headline
        size = radius(float(rows["value"].iloc[0]), result.unit)
        left, control = accuracy(rows), column_mean(rows, "control_correct")
        more = paired_difference(robustly_correct(rows), rows["control_correct"])
        told = (
            f"at {size} it leaves {percent(left.value)} % right, a random one of the same size "
            f"{percent(control.value)} %"
        )
        numbers[f"{result.name}_over_control"] = Number(
            f"{result.title} beyond a random one", more, "%", told, result.algorithm, False
        )
        sentences.append(
            f"{result.title}: {told}; {percent(more.value)} points are its own doing "
            f"({with_interval(more)})."
        )
    return numbers, sentences
