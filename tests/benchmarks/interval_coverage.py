"""How often the intervals of `callbacks.statistics` hold, by simulation.

    python tests/benchmarks/interval_coverage.py docs/intervals.md --repeats 2000 --processes 2

writes the table of the documentation; the tests run the same cases with fewer repeats.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import interval_cases_of_classes
import interval_cases_of_composites
import interval_cases_of_means
import interval_cases_of_scores
import numpy as np
from interval_case import Case

SIZES = (20, 50, 100, 300, 1000)


@dataclass(frozen=True)
class Coverage:
    """What came out; shares of the repeats.

    Args:
        n: samples.
        repeats: that had ends.
        holds: the truth lies within.
        below: the interval lies below the truth.
        unmarked_misses: the truth lies outside, and no mark says so.
    """

    n: int
    repeats: int
    holds: float
    below: float
    unmarked_misses: float

    @property
    def error(self) -> float:
        """Standard error of `holds`, as of a true 95 %."""
        return (0.95 * 0.05 / max(self.repeats, 1)) ** 0.5


def simulate(case: Case, n: int, repeats: int, seed: int = 0) -> Coverage:
    """Repeats a case; intervals without ends are left out, as they promise nothing."""
    generator = np.random.default_rng([seed, n])
    tries = (case.sample(generator, n) for _ in range(max(100, repeats // case.cost)))
    found = [one for one in tries if np.isfinite(one.low)]
    if not found:
        return Coverage(n, 0, float("nan"), float("nan"), float("nan"))
    _, low, high = np.array(found).T
    marked = np.array([bool(one.mark) for one in found])
    slack = 1e-9  # a truth that is an end, such as 0 or 1, may differ by rounding
    below, above = high < case.truth - slack, low > case.truth + slack
    missed = below | above
    shares = (1 - missed.mean(), below.mean(), (missed & ~marked).mean())
    return Coverage(n, len(found), *(float(share) for share in shares))


def cases() -> list[Case]:
    """All of them."""
    of_all = (
        interval_cases_of_means,
        interval_cases_of_scores,
        interval_cases_of_classes,
        interval_cases_of_composites,
    )
    return [case for one in of_all for case in one.cases()]


def _line(position: int, repeats: int, sizes: Sequence[int]) -> list[Coverage]:
    case = cases()[position]
    return [simulate(case, n, repeats) for n in sizes]


def main() -> None:
    """Simulates every case and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    every = cases()
    with ProcessPoolExecutor(chosen.processes) as pool:
        lines = list(
            pool.map(partial(_line, repeats=chosen.repeats, sizes=SIZES), range(len(every)))
        )
    chosen.file.write_text(_page(every, lines, chosen.repeats))


def _page(every: Sequence[Case], lines: Sequence[list[Coverage]], repeats: int) -> str:
    """The documentation's page."""
    head = "| interval | data | " + " | ".join(f"n = {n}" for n in SIZES) + " |\n"
    rows = [
        f"| `{case.interval}` | {case.setting} | " + " | ".join(map(_cell, line)) + " |\n"
        for case, line in zip(every, lines, strict=True)
    ]
    return (
        _HEAD.format(repeats=repeats) + head + "| --- " * (2 + len(SIZES)) + "|\n" + "".join(rows)
    )


def _cell(one: Coverage) -> str:
    """Coverage in per cent; bold outside of 93 to 97 by more than chance; misses without a mark."""
    if one.repeats < 50:
        return "no ends"
    text = f"{100 * one.holds:.1f}"
    if one.holds < 0.93 - 2 * one.error or one.holds > 0.97 + 2 * one.error:
        text = f"**{text}**"
    marked = 1 - one.holds - one.unmarked_misses > 0.005
    return f"{text} ({100 * one.unmarked_misses:.1f})" if marked else text


_HEAD = """# How often the intervals hold

Written by `python tests/benchmarks/interval_coverage.py docs/intervals.md`; do not edit.

Measured coverage of nominal 95 % intervals in per cent, over at least {repeats} simulated samples a
cell (fewer, down to a quarter, where an interval takes long). **Bold** lies outside of 93 to 97 by
more than two standard errors. In brackets stand the misses that no mark warns of, where there are
marked ones. Results without ends, where an interval promises nothing, do not count.

Where coverage is above 97 there are few whole events (errors, discordant pairs) to count, or a true
value that is an end of its range (a calibrated model's 0, a perfect classifier's 1): no interval
can then hold exactly, and these hold too often rather than too rarely. So do numbers that are made
from the ends of others, however these hang together (`mean_of` on the same images, `over_draws`,
`half_severity`), and ranks, which are whole. Where it is below 93 the docstring says so.

"""


if __name__ == "__main__":
    main()
