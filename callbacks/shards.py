"""Rows on disk while they are measured, so that a killed run loses at most one pool of images."""

import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa


def fingerprint(facts: dict[str, Any]) -> str:
    """Hashes everything that may change a row to 32 hexadecimal digits.

    Args:
        facts: JSON-able facts: digests of weights and data, setting, seed, chunk shape, ...
    """
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Shards:
    """The rows of one probe and setting, as Parquet files that appear whole or not at all.

    Args:
        folder: `mlruns/resume/<fingerprint>`; made when the first row is written.
        facts: what they are rows of; written beside them for the reader of a crowded folder.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts

    def load(self) -> pd.DataFrame:
        """Returns the rows measured so far, one per index; none when there are none."""
        files = sorted(self.folder.glob("*.parquet")) if self.folder.is_dir() else []
        frames = [frame for file in files if (frame := _read(file)) is not None]
        if not frames:
            return pd.DataFrame(columns=["index"])
        return pd.concat(frames).drop_duplicates("index").reset_index(drop=True)

    def written(self) -> str:
        """The day on which the newest rows were written; nothing where there are none."""
        times = [file.stat().st_mtime for file in self.folder.glob("*.parquet")]
        return f"{datetime.fromtimestamp(max(times)):%Y-%m-%d %H:%M}" if times else ""

    def append(self, frame: pd.DataFrame) -> None:
        """Writes rows under a temporary name, then renames: readers never see half a file.

        Args:
            frame: at least one row, with a column `index`.
        """
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.facts, indent=1, default=str)
            (self.folder / "facts.json").write_text(text)
        final = self.folder / f"{int(frame['index'].min()):012d}.parquet"
        temporary = final.with_suffix(f".{os.getpid()}.tmp")
        try:
            frame.to_parquet(temporary, index=False)
            temporary.replace(final)
        except OSError as error:  # Arrow's names no file
            temporary.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror or str(error), str(final)) from error


def _read(file: Path) -> pd.DataFrame | None:
    """Reads a shard; one that the disk spoiled is measured again rather than believed."""
    try:
        return pd.read_parquet(file)
    except (OSError, pa.ArrowInvalid):
        return None
