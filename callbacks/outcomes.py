"""The rows of a probe as the state of one metric, exact for any number of processes."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from callbacks.measurement import Setting
from callbacks.rows import COST_COLUMNS, DISCRETE_COLUMNS, OUTCOME_COLUMNS


class Outcomes(Metric):
    """Collects one row per sample and setting; `compute` returns them as one sorted table.

    Rows are kept on the CPU in float64, which holds every float32 and every integer below 2^53
    exactly. Ranks exchange them once, over `process_group` (give a gloo group, so that nothing is
    gathered onto a GPU), and duplicates by index are dropped: a padding sampler does no harm.

    Args:
        settings: what the probe measures; rows name one by its position.
        extras: names of the probe's own columns.
        process_group: passed to `torchmetrics.Metric`.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    rows: list[Tensor]

    def __init__(
        self,
        settings: Sequence[Setting],
        extras: Sequence[str] = (),
        process_group: object | None = None,
    ) -> None:
        super().__init__(process_group=process_group)
        self.settings = tuple(settings)
        self.columns = ("setting", "index", *OUTCOME_COLUMNS, *COST_COLUMNS, *extras)
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, setting: Setting, columns: dict[str, Tensor]) -> None:
        """Adds the rows of one setting.

        Args:
            setting: one of `settings`.
            columns: a `(N,)` tensor for `index`, every outcome column and every extra.
        """
        position = torch.full_like(columns["index"], self.settings.index(setting))
        columns = {**columns, "setting": position}
        self.rows.append(
            torch.stack([columns[name].detach().double().cpu() for name in self.columns], 1)
        )

    def compute(self) -> pd.DataFrame:
        """Returns the distinct rows sorted by setting and index, discrete columns as integers."""
        self.prepare_to_sync()  # `cat` needs at least one table; after a sync there is one tensor
        rows = dim_zero_cat(self.rows)
        frame = pd.DataFrame(rows.numpy(), columns=list(self.columns))
        frame = frame.drop_duplicates(["setting", "index"]).sort_values(["setting", "index"])
        return self._named(frame.reset_index(drop=True))

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        position = frame["setting"].astype(int)
        named = {
            "setting": position.map(lambda i: self.settings[i].name),
            "severity": position.map(lambda i: self.settings[i].severity),
            "value": position.map(lambda i: self.settings[i].value),
        }
        discrete = {name: "int64" for name in self.columns if name in DISCRETE_COLUMNS}
        return pd.concat(
            [pd.DataFrame(named), frame.drop(columns="setting").astype(discrete)], axis=1
        )

    def prepare_to_sync(self) -> None:
        """Gives a rank that saw no sample an empty table, which a gather needs and a list lacks."""
        if len(self.rows) == 0 and isinstance(self.rows, list):
            self.rows.append(torch.empty(0, len(self.columns), dtype=torch.float64))
