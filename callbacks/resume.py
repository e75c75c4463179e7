"""What was measured before is not measured again."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from callbacks.measurement import Setting
from callbacks.shards import Shards, fingerprint


def forget(folder: Path, settings: Sequence[Setting], facts: dict[str, Any]) -> None:
    """Deletes the stored rows of a probe, so that they are measured again."""
    for setting in settings:
        shutil.rmtree(folder / fingerprint(_about(facts, setting)), ignore_errors=True)


class Resume:
    """The stored rows of one probe, setting by setting.

    Args:
        folder: where rows are kept, a folder per fingerprint; None keeps nothing.
        settings: of the probe.
        facts: everything else that may change a row; a change of any makes old rows unknown.
    """

    def __init__(
        self, folder: Path | None, settings: Sequence[Setting], facts: dict[str, Any]
    ) -> None:
        self.settings = tuple(settings)
        self._shards: dict[Setting, Shards] = {}
        self._known: dict[Setting, pd.DataFrame] = {}
        if folder is None:
            return
        for setting in self.settings:
            about = _about(facts, setting)
            self._shards[setting] = Shards(folder / fingerprint(about), about)
            self._known[setting] = self._shards[setting].load().set_index("index", drop=False)

    def folder(self, setting: Setting) -> Path | None:
        """Where the rows of a setting are, which may have no rows yet; None keeps nothing."""
        return self._shards[setting].folder if setting in self._shards else None

    def told(self, index: Tensor) -> str:
        """Says how many of the rows of some samples are stored, and since when; else nothing."""
        wanted = index.tolist()
        n = sum(int(rows.index.isin(wanted).sum()) for rows in self._known.values())
        dates = [shards.written() for shards in self._shards.values()]
        return f"{n:,} rows are from an earlier run of {max(dates)}" if n else ""

    def known(self, setting: Setting, index: Tensor) -> dict[str, Tensor]:
        """Returns the stored columns of those of the samples that have them; {} when none has."""
        rows = self._known.get(setting)
        if rows is None or rows.empty:
            return {}
        rows = rows[rows.index.isin(index.tolist())]
        if rows.empty:
            return {}
        return {str(name): torch.tensor(column.to_numpy()) for name, column in rows.items()}

    def unfinished(self, index: Tensor) -> Tensor:
        """`(N,)` bool: some setting still lacks a row of the sample."""
        return self._missing(index).any(0)

    def groups(self, index: Tensor) -> Iterator[tuple[list[Setting], Tensor]]:
        """Yields settings that lack rows of the same samples, with the mask `(N,)` of those."""
        missing = self._missing(index)
        for mask in missing.unique(dim=0):
            if mask.any():
                same = (missing == mask).all(1).tolist()
                yield [s for s, wanted in zip(self.settings, same, strict=True) if wanted], mask

    def keep(self, setting: Setting, columns: dict[str, Tensor]) -> None:
        """Writes new rows to disk."""
        if setting in self._shards:
            self._shards[setting].append(
                pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
            )

    def _missing(self, index: Tensor) -> Tensor:
        """`(settings, N)` bool."""
        missing = torch.ones(len(self.settings), len(index), dtype=torch.bool, device=index.device)
        for row, setting in zip(missing, self.settings, strict=True):
            if setting in self._known and len(stored := self._known[setting]):
                stored_index = torch.tensor(stored.index.to_numpy(dtype="int64"))
                row &= ~torch.isin(index, stored_index.to(index.device))
        return missing


def _about(facts: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Everything that may change a row of a setting."""
    about = {**facts, "setting": setting.name, "value": repr(setting.value)}
    return {**about, "draw": setting.draw} if setting.draw else about
