"""How often the gate fails a model that is no worse than its baseline, and finds one that is.

    python tests/benchmarks/gate_false_alarms.py

Every study draws two models under several probes on the same images. Images are easy or hard for
both, and one image's answers under several probes hang together, as under growing attacks. Under
the null hypothesis both models are right with the same probability under every probe (with a
margin: the second is worse by the whole margin, the edge of the hypothesis); for the power the
second loses five points more under one probe. The gate alarms if any of its rules fails.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from callbacks.statistics import Interval, rate
from pipelines.gate.regression import Pair, losses

LEVELS = (0.95, 0.85, 0.7, 0.5, 0.3, 0.15)
"""True accuracies under the probes: clean, corrupted, attacked ever more strongly."""
DROP = 0.05


class Case(NamedTuple):
    """What is simulated.

    Args:
        images: test images.
        probes: of which the gate compares each.
        alike: correlation of the two models' answers to an image, of the normal variables behind.
        margin: share of the images.
    """

    images: int
    probes: int
    alike: float
    margin: float = 0.0


CASES = [
    Case(512, 4, 0.8), Case(2048, 6, 0.8), Case(10_000, 6, 0.8), Case(2048, 6, 0.4),
    Case(128, 2, 0.95), Case(512, 4, 0.8, 0.02), Case(2048, 6, 0.8, 0.02),
]  # fmt: skip


def drawn(case: Case, random: np.random.Generator, drop: float) -> list[Pair]:
    """Two models; the second is worse by `drop` under the last probe, and by the margin anyhow.

    An image's answer is right where a standard normal variable lies below the quantile of the
    accuracy; the variable is a sum of the image's own, the same for both models and all probes,
    and of one for each model and probe.
    """
    shared = np.sqrt(case.alike) * random.standard_normal(case.images)
    pairs = []
    for place, level in enumerate(LEVELS[: case.probes]):
        worse = level - case.margin - (drop if place == case.probes - 1 else 0)
        own = np.sqrt(1 - case.alike) * random.standard_normal((2, case.images))
        one, other = ((shared + own) < stats.norm.ppf([[level], [worse]])).astype(float)
        pairs.append(Pair(f"probe {place}", f"probe {place}", one, other))
    return pairs


def alarms(case: Case, studies: int, drop: float = 0.0, alpha: float = 0.05, seed: int = 0) -> int:
    """In how many of the studies the gate fails the second model."""
    generators = (np.random.default_rng([seed, study]) for study in range(studies))
    found = (losses(drawn(case, one, drop), case.margin, alpha) for one in generators)
    return sum(any(loss.p <= alpha for loss in one) for one in found)


def told(count: int, studies: int) -> str:
    """A rate with its Monte Carlo interval."""
    share: Interval = rate(count, studies)
    return f"{100 * share.value:5.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def lines(studies: int, alpha: float) -> Iterator[str]:
    """A line a case."""
    yield "| images | probes | alike | margin | false alarms | a drop of 5 points found |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for case in CASES:
        false = alarms(case, studies, 0.0, alpha)
        true = alarms(case, studies, DROP, alpha, seed=1)
        holds = stats.binomtest(false, studies, alpha, alternative="greater").pvalue > 0.01
        yield (
            f"| {case.images:,} | {case.probes} | {case.alike} | {100 * case.margin:g} | "
            f"{told(false, studies)}{'' if holds else ' TOO MANY'} | {told(true, studies)} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--alpha", type=float, default=0.05)
    chosen = parser.parse_args()
    begun = time.perf_counter()
    for line in lines(chosen.studies, chosen.alpha):
        print(line, flush=True)
    print(f"{chosen.studies:,} studies a case, alpha {chosen.alpha}: "
          f"{time.perf_counter() - begun:.0f} s")  # fmt: skip
