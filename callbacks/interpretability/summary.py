"""What explanation probes amount to: the map that names the pixels that matter best."""

from collections.abc import Sequence

from callbacks.family import Number, Summary
from callbacks.results import ProbeResult
from callbacks.statistics import mean
from callbacks.words import number, said_interval


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """The most faithful of the explanations, where the symmetric relevance gain was measured.

    Args:
        results: of explanation probes.
        clean: not needed.

    Returns:
        The number `explanation_srg`.
    """
    measured = [result for result in results if "srg" in result.rows and len(result.rows)]
    if not measured:
        return Summary()
    best = max(measured, key=lambda result: float(result.rows["srg"].mean()))
    gain, n = mean(best.rows["srg"]), len(best.rows)
    count = len(measured)
    choice = f"{best.title}{f', best of {count}' if count > 1 else ''} on these {n:,} images"
    asked = "; ".join(sorted(result.algorithm for result in measured)) + f"; {n} images"
    note = f"{choice}; 0 is a random map"
    said = f"Of {count} explanations {best.title.lower()} names the pixels that matter best"
    sentence = (
        f"{said if count > 1 else f'{best.title} names the pixels that matter'}: symmetric "
        f"relevance gain {number(gain.value)} ({said_interval(gain)}; a random map gets 0)."
    )
    return Summary({"explanation_srg": Number("Faithfulness", gain, "", note, asked)}, [sentence])
