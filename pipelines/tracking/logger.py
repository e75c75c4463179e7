"""Training curves on their way into a run."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from pipelines.tracking.run import Run
from pipelines.tracking.trouble import TrackingError


class RunLogger(Logger):
    """Lightning's logger over a run whose beginning and end are ours.

    Lightning's own one marks the run FINISHED or FAILED by itself, logs keys that the UI cannot
    group, and ends a training whose server is gone; this one says so once and lets it go on.

    Args:
        run: to log to; one without a store logs nothing.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.points: list[tuple[str, float, int]] = []
        """All that was logged, for a run that takes the curves of an earlier training."""

    @property
    def name(self) -> str:
        """What Lightning calls it."""
        return "mlflow"

    @property
    def version(self) -> None:
        """None: the progress bar has better things to show than a run id."""
        return

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the pipeline logs what matters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs finite numbers with a key like `train/loss`; `epoch` has none and is left out."""
        points = [
            (key, float(value), step or 0)
            for key, value in metrics.items()
            if key.count("/") == 1 and math.isfinite(value)
        ]
        self.points += points
        self._log(points)

    def go_on(self, points: Sequence[tuple[str, float, int]]) -> None:
        """Takes the curve of a training up to where it was stopped; a reopened run has it."""
        self.points = [(key, value, step) for key, value, step in points]
        self._log(self.points)

    @rank_zero_only
    def _log(self, points: list[tuple[str, float, int]]) -> None:
        try:
            self.run.log_batch(points)
        except TrackingError as error:
            self.run = Run(board=self.run.board)  # TensorBoard's curves, if any, go on
            print(f"assay: {error} The training goes on without curves.", file=sys.stderr)
