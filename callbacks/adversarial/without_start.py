"""Says how many images a search along the boundary could not begin with."""

from collections.abc import Iterator, Sequence

from callbacks.results import ProbeResult
from callbacks.words import percent


def without_start(results: Sequence[ProbeResult]) -> Iterator[str]:
    """A sentence for each attack by decisions alone that found no image to start from.

    Such an image counts as right, without anything being known of its surroundings.

    Args:
        results: of adversarial probes; those concerned have the column `no_start`: 1 where none was
            found, -1 where the image was not attacked.
    """
    for result in results:
        if "no_start" not in result.rows:
            continue
        rows = result.at_headline
        missing, n = int((rows["no_start"] == 1).sum()), len(rows)
        if missing:
            yield (
                f"{result.title} found no start for {missing:,} of {n:,} images "
                f"({percent(missing / n)} %): no noise was taken for another class. They count as "
                "right, and nothing is known of them."
            )
