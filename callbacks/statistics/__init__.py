"""Statistics over rows, once for everybody: intervals, paired tests, calibration, ranking.

Fronts over scipy and scikit-learn where these hold their promise, own formulas where not; the
coverage of every interval is simulated, and the table of it is `docs/intervals.md`.
"""

from callbacks.statistics.calibration import adaptive_ece, ece, ece_interval
from callbacks.statistics.half_severity import half_severity
from callbacks.statistics.interval import (
    LEAST_ROWS,
    NOTHING,
    Interval,
    marks,
    mean_of,
    over_draws,
    without_ends,
)
from callbacks.statistics.means import UNBOUNDED, crossed_mean, mean, student
from callbacks.statistics.medians import median
from callbacks.statistics.one_sided import smallest_drop, worse_by
from callbacks.statistics.paired import crossed_difference, holm, mcnemar, paired_difference
from callbacks.statistics.ranking import auroc, auroc_interval, fpr95
from callbacks.statistics.rates import rate, score_ends, share_ends
from callbacks.statistics.ratios import ratio, worth_telling
from callbacks.statistics.risk_coverage import aurc, aurc_interval

__all__ = [
    "LEAST_ROWS",
    "NOTHING",
    "UNBOUNDED",
    "Interval",
    "adaptive_ece",
    "aurc",
    "aurc_interval",
    "auroc",
    "auroc_interval",
    "crossed_difference",
    "crossed_mean",
    "ece",
    "ece_interval",
    "fpr95",
    "half_severity",
    "holm",
    "marks",
    "mcnemar",
    "mean",
    "mean_of",
    "median",
    "over_draws",
    "paired_difference",
    "rate",
    "ratio",
    "score_ends",
    "share_ends",
    "smallest_drop",
    "student",
    "without_ends",
    "worse_by",
    "worth_telling",
]
