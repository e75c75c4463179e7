"""How often a comparison calls models different that err equally often.

    python tests/benchmarks/compare_false_alarms.py docs/false_alarms.md

Every study draws models under several settings on the same images. Images are easy or hard for all
models, and one image's answers hang together over settings and models, as under growing attacks;
all models are right with the same probability. What is measured is what `assay compare` prints:

- *any verdict*: at least one line of the table (McNemar's exact test, Holm over all lines) is
  called better or worse;
- *one line*: a single McNemar test below 5 %, not corrected;
- *difference*: a 95 % interval of the accuracies' difference leaves out 0 (Bonett & Price);
- *loss*: the same of the mean losses, which are not right or wrong (paired, skewness removed);
- *no dagger*: of these the ones that no dagger warns of;
- *draws*: the same of shares of right answers over three random draws an image (paired Bayesian
  bootstrap).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from callbacks.results import ProbeResult
from callbacks.statistics import paired_difference
from pipelines.compare.pairing import answers, corrected, differences

LEVELS = (0.97, 0.85, 0.7, 0.5, 0.3, 0.1)
"""True accuracies under the settings: clean, then attacked ever more strongly."""


class Case(NamedTuple):
    """What is simulated.

    Args:
        images: test images.
        settings: lines of the table for each model beyond the baseline.
        models: of which the first is the baseline.
        alike: correlation of two models' answers to an image, of the normal variables behind.
    """

    images: int
    settings: int
    models: int
    alike: float


CASES = (
    Case(100, 1, 2, 0.5), Case(100, 6, 2, 0.8), Case(500, 6, 2, 0.8), Case(2000, 6, 2, 0.2),
    Case(2000, 6, 5, 0.8), Case(10_000, 3, 2, 0.9),
)  # fmt: skip


class Alarms(NamedTuple):
    """What a study called different, of how much: `(found, tried)` each."""

    table: tuple[int, int]
    line: tuple[int, int]
    difference: tuple[int, int]
    loss: tuple[int, int]
    unmarked: tuple[int, int]
    draws: tuple[int, int]


def study(case: Case, random: np.random.Generator) -> Alarms:
    """One comparison of models that err equally often.

    An answer is right where a standard normal variable lies below the quantile of the accuracy; the
    loss is that of a logistic model whose margin is the distance to it.
    """
    shared = np.sqrt(case.alike) * random.standard_normal(case.images)
    own = np.sqrt(1 - case.alike) * random.standard_normal(
        (case.models, case.settings, case.images)
    )
    margin = stats.norm.ppf(LEVELS[: case.settings])[:, None] - shared - own
    base, *others = (answers(_result(one)) for one in margin)
    table = corrected([differences([base], [other]) for other in others])
    loss = (table["loss_low"] > 0) | (table["loss_high"] < 0)
    return Alarms(
        (int((table["verdict"] != "").any()), 1),
        _of(table["p"] < 0.05),
        _of((table["low"] > 0) | (table["high"] < 0)),
        _of(loss),
        _of(loss & (table["marks"] == "")),
        _of_draws(case, random),
    )


def _of(found: pd.Series) -> tuple[int, int]:
    return int(found.sum()), len(found)


def _of_draws(case: Case, random: np.random.Generator) -> tuple[int, int]:
    """Two models under three random draws of a disturbance, with 85 % right."""
    hard = np.sqrt(case.alike) * random.standard_normal(case.images)
    own = np.sqrt(1 - case.alike) * random.standard_normal((2, 3, case.images))
    one, other = ((hard + own) < stats.norm.ppf(0.85)).mean(1)
    _, low, high = paired_difference(one, other)
    return int(low > 0 or high < 0), 1


def _result(margin: np.ndarray) -> ProbeResult:
    """Rows of one model from its margins, `(settings, images)`."""
    settings, images = margin.shape
    rows = pd.DataFrame(
        {
            "setting": "pgd", "severity": np.repeat(np.arange(settings), images),
            "value": np.repeat(np.arange(settings, dtype=float), images),
            "index": np.tile(np.arange(images), settings), "label": 0,
            "prediction": (margin < 0).reshape(-1).astype(int),
            "correct": (margin > 0).reshape(-1).astype(int),
            "loss": np.logaddexp(0, -4 * margin).reshape(-1),
        }
    )  # fmt: skip
    return ProbeResult("pgd", "adversarial", "PGD", "epsilon (L2)", "pgd", None, rows)


def lines(studies: int, cases: tuple[Case, ...] = CASES) -> Iterator[str]:
    """A line a case."""
    kinds = "any verdict | one line | difference | loss | no dagger | draws"
    yield f"| images | lines | models | alike | {kinds} |"
    yield "| ---: | ---: | ---: | ---: | --- | --- | --- | --- | --- | --- |"
    for number, case in enumerate(cases):
        found = [study(case, np.random.default_rng([number, one])) for one in range(studies)]
        told = (_told(np.array(kind).sum(0), studies) for kind in zip(*found, strict=True))
        compared = case.settings * (case.models - 1)
        about = f"| {case.images:,} | {compared} | {case.models} | {case.alike} |"
        yield f"{about} {' | '.join(told)} |"


def _told(counts: np.ndarray, studies: int) -> str:
    """A share in per cent with Clopper & Pearson's interval, where a study is one trial."""
    found, tried = map(int, counts)
    if tried > studies:  # lines of one table hang together
        return f"{100 * found / tried:.1f}"
    low, high = stats.binomtest(found, tried).proportion_ci(method="exact")
    return f"{100 * found / tried:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


_HEAD = """# How often a comparison raises a false alarm

Written by `python tests/benchmarks/compare_false_alarms.py docs/false_alarms.md`; do not edit.

{studies:,} simulated comparisons a line, of models that err equally often; per cent of them that
were called different, with Clopper and Pearson's 95 % interval where each comparison counts once.
*Any verdict*: at least one line of the table is called better or worse (McNemar's exact test, Holm
over all lines); it must not be more than 5. *One line*: of single lines, not corrected.
*Difference*, *loss*: 95 % intervals that leave out 0, of accuracies and of mean losses; *no
dagger*: those of losses that no dagger says may not hold, as a few large losses decide. *Draws*:
the same of shares of right answers over three random draws (the paired bootstrap). These should be
5, or less where few images change sides: counts are whole, and an exact test then alarms more
rarely than stated. Losses that are mostly near 0 alarm too often: let the accuracies decide.

"""


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("file", type=Path)
    parser.add_argument("--studies", type=int, default=1000)
    chosen = parser.parse_args()
    text = "\n".join(lines(chosen.studies))
    chosen.file.write_text(f"{_HEAD.format(studies=chosen.studies)}{text}\n")


if __name__ == "__main__":
    main()
