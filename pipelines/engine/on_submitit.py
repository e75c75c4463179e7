"""Units in jobs of submitit: a job for each worker; units of a lost job go into further ones."""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudpickle
from submitit import AutoExecutor
from submitit.helpers import Checkpointable

from datamodules.errors import UserError
from pipelines.engine.engine import Engine
from pipelines.engine.work import TRIES, Done, Unit, measure, python_path, tries

_ROUNDS = 3
"""Of jobs, one after the other, in which nothing is begun; then the engine is lost."""
_HOUR = 60
"""Minutes that a job may take where nothing else is said; submitit's own 5 are too few."""
_SECONDS = 0.5
"""Between two looks at the folder."""
_GRACE = 10.0
"""Seconds in which cancelled jobs may end."""


class _Job(Checkpointable):
    """A worker; submitit starts it again where SLURM preempts it, and cells that are there stay."""

    def __call__(self, order: Path, numbers: Sequence[int]) -> None:
        for number in numbers:
            file = _told(order, number)
            if file.exists():
                continue
            unfinished = file.with_suffix(".part")
            unfinished.write_bytes(cloudpickle.dumps(measure(order, number)))
            unfinished.replace(file)


def on_submitit(
    engine: Engine, order: Path, units: Sequence[Unit], threads: int, gpu: bool
) -> Generator[Done, None, None]:
    """Yields units as they are finished; not those whose job is lost each time.

    Args:
        engine: with the number of jobs, the cluster and its parameters.
        order: file in a folder that every job can read and write.
        units: in the order in which they are begun.
        threads: of each job.
        gpu: a GPU for each job.
    """
    executor = _executor(engine, order.parent / "jobs", threads, gpu)
    left = [unit.number for unit in units]
    rounds = begun = 0
    while left and rounds < _ROUNDS:
        shares = [left[i :: engine.workers] for i in range(min(engine.workers, len(left)))]
        finished: set[int] = set()
        with closing(_round(executor, order, shares)) as working:
            for done in working:
                finished.add(done.number)
                yield done
        before, begun = begun, sum(tries(order, unit.number) for unit in units)
        rounds = 0 if begun > before else rounds + 1
        left = [n for n in _last_those_it_was_at(shares, finished) if tries(order, n) < TRIES]


def _round(
    executor: AutoExecutor, order: Path, shares: Sequence[Sequence[int]]
) -> Generator[Done, None, None]:
    """Starts jobs and yields what they finish until all have ended."""
    jobs: list[Any] = []
    waiting = [number for share in shares for number in share]
    try:
        for share in shares:
            jobs.append(executor.submit(_Job(), order, share))  # noqa: PERF401  (Ctrl-C between)
        ended = False
        while not ended:
            ended = all(job.done() for job in jobs)  # before the last look
            for number in [n for n in waiting if _told(order, n).exists()]:
                waiting.remove(number)
                yield cloudpickle.loads(_told(order, number).read_bytes())
            time.sleep(0 if ended else _SECONDS)
    finally:
        _cancel(jobs)


def _cancel(jobs: Sequence[Any]) -> None:
    """Ends what has not ended; processes of this machine are gone afterwards."""
    for job in jobs:
        if not job.done():
            job.cancel()
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and not all(job.done() for job in jobs):
        time.sleep(0.1)


def _last_those_it_was_at(shares: Sequence[Sequence[int]], finished: set[int]) -> list[int]:
    """What is left, at the end what jobs have died of: the others are measured before it again."""
    missing = [[number for number in share if number not in finished] for share in shares]
    died_of = [numbers[0] for numbers in missing if numbers]
    return [number for numbers in missing for number in numbers[1:]] + died_of


def _told(order: Path, number: int) -> Path:
    """Where a job says how a unit went."""
    return order.parent / f"{number}.done"


def _executor(engine: Engine, folder: Path, threads: int, gpu: bool) -> AutoExecutor:
    """The user's parameters above ours; jobs find this checkout."""
    usual: dict[str, Any] = {
        "name": "assay", "cpus_per_task": threads, "gpus_per_node": int(gpu), "timeout_min": _HOUR
    }  # fmt: skip
    os.environ["PYTHONPATH"] = python_path()
    try:
        executor = AutoExecutor(folder, cluster=engine.cluster)
        executor.update_parameters(**{**usual, **engine.parameters})
    except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
        said = str(error).partition("\n")[0]
        raise UserError(
            f"Got `engine.parameters` or `engine.cluster` {engine.cluster} that submitit does not "
            f"take here: {said}"
        ) from None
    return executor
