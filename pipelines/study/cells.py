"""Finished pieces of work on disk: key → rows and facts, there whole or not at all."""

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from filelock import FileLock

from callbacks.shards import fingerprint


@dataclass(frozen=True)
class Cell:
    """What one piece of work came to.

    Args:
        facts: JSON-able; what is not a finite number comes back as it was.
        rows: a table, empty where there is none.
        folder: of further files, such as weights; None before it is stored.
        measured: ISO time at which it was.
    """

    facts: Mapping[str, Any]
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    folder: Path | None = None
    measured: str = ""


_LOCK = ".alive"
_FRESH = 60.0
"""Seconds for which a folder may lack the lock of its process, which has just made it."""


class MissingCellError(LookupError):
    """A cell that is not there, where nothing is to be measured.

    Args:
        key: its key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


Work = Callable[[Path], Cell]
"""Does the work; further files go into the folder that it is given."""


class Cells:
    """The cells below one folder, shared by all commands and processes that use it.

    Args:
        folder: `mlruns/cells`.
        fresh: do the work again, and replace what is stored.
    """

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh
        self.reused: list[str] = []
        """When each cell was measured that was there already."""
        self.mine: set[str] = set()
        """Keys of the cells that were measured by this process or for it."""
        self.errors: dict[str, Exception] = {}
        """Why cells could not be measured, by key."""
        self._hopeless: dict[str, Exception] = {}
        self._tidied = self._reading = False

    @staticmethod
    def key(facts: Mapping[str, Any]) -> str:
        """The key of a cell.

        Args:
            facts: everything that may change its rows.
        """
        return fingerprint(dict(facts))

    def adopt(self, measured: Iterable[str], errors: Mapping[str, Exception]) -> None:
        """Takes over what workers have measured for this process.

        Args:
            measured: keys of cells that are stored.
            errors: of those that could not be, which are raised instead of trying again.
        """
        self.mine.update(measured)
        self._hopeless.update(errors)

    def only_read(self) -> "Cells":
        """The same cells, of which a missing one is an error, and which nothing is counted of."""
        other = copy.copy(self)
        other.reused, other._reading = [], True
        return other

    def known(self, key: str) -> bool:
        """Whether a cell would be read instead of measured."""
        return (self._place(key) / "cell.json").is_file() and not self._renewed(key)

    def get(self, key: str) -> Cell | None:
        """The stored cell; None where there is none, or it is spoiled."""
        if not self.known(key):
            return None
        place = self._place(key)
        try:
            stored = json.loads((place / "cell.json").read_text())
            rows = pd.read_parquet(place / "rows.parquet")
            return Cell(stored["facts"], rows, place, stored["measured"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def measured(self, facts: Mapping[str, Any], work: Work, again: bool = False) -> Cell:
        """The stored cell of some facts, else what `work` makes, stored.

        Args:
            facts: everything that may change the rows.
            work: is done if there is no such cell.
            again: do it anyway, because something that the cell speaks of is gone.

        Raises:
            MissingCellError: it is not there, and these cells are only read.
            Exception: what `work` raises, here or in a worker.
        """
        key = self.key(facts)
        stored = None if again else self.get(key)
        if stored is not None:
            if key not in self.mine:
                self.reused.append(stored.measured)
            return stored
        if key in self._hopeless:
            raise self._hopeless[key]
        if self._reading:
            raise MissingCellError(key)
        if again:
            shutil.rmtree(self._place(key), ignore_errors=True)
        return self._stored(key, facts, work)

    def _stored(self, key: str, facts: Mapping[str, Any], work: Work) -> Cell:
        """Does the work in a folder of its own, which takes its place at once."""
        self._tidy()
        unfinished = self.folder / f"{key}.{os.getpid()}-{uuid4().hex[:8]}.part"
        unfinished.mkdir(parents=True)
        alive = _held(unfinished)
        try:
            cell = work(unfinished)
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            about = {"of": facts, "facts": dict(cell.facts), "measured": now}
            cell.rows.to_parquet(unfinished / "rows.parquet", index=False)
            (unfinished / "cell.json").write_text(json.dumps(about, indent=1, default=str))
            alive.release()
            (unfinished / _LOCK).unlink(missing_ok=True)
            self._take_place(key, unfinished)
        except Exception as error:
            self.errors[key] = error
            raise
        finally:
            alive.release()
            shutil.rmtree(unfinished, ignore_errors=True)
        self.mine.add(key)
        return Cell(cell.facts, cell.rows, self._place(key), now)

    def _tidy(self) -> None:
        """Deletes, once, what killed processes have left; the lock of one that lives is held."""
        if self._tidied:
            return
        self._tidied = True
        for left in self.folder.glob("*.part"):
            _delete_if_dead(left)

    def _take_place(self, key: str, finished: Path) -> None:
        """Renames a finished cell; of two processes that did the same work one wins."""
        place = self._place(key)
        if self._renewed(key) or not (place / "cell.json").is_file():
            shutil.rmtree(place, ignore_errors=True)
        try:
            finished.rename(place)
        except OSError:
            if not (place / "cell.json").is_file():
                raise

    def _renewed(self, key: str) -> bool:
        """Whether a stored cell is to be replaced; what this process has measured is not."""
        return self.fresh and key not in self.mine

    def _place(self, key: str) -> Path:
        return self.folder / key


def _held(unfinished: Path) -> FileLock:
    """A lock that says as long as this process lives that it works in a folder.

    The system lets go of it when the process is killed, whatever machine or container it is in.
    """
    lock = FileLock(unfinished / _LOCK, timeout=0)
    try:
        lock.acquire()
    # Nobody else knows this folder, so that there is no one to wait for: the file system has no
    # locks (for `flock` filelock says NotImplementedError). Nobody will tidy up, and work goes on.
    except (OSError, NotImplementedError):
        (unfinished / _LOCK).unlink(missing_ok=True)
    return lock


def _delete_if_dead(left: Path) -> None:
    """Deletes the folder of a killed process."""
    try:
        old = time.time() - left.stat().st_mtime > _FRESH
        if old and (left / _LOCK).is_file():
            with FileLock(left / _LOCK, timeout=0):
                shutil.rmtree(left, ignore_errors=True)
    # A lock that is held (filelock's Timeout is an OSError): its process lives. A folder that is
    # gone: another process tidies up. No locks on this file system: nobody can tell, so it stays.
    except (OSError, NotImplementedError):
        return
