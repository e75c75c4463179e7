"""Units on the actors of Ray, which starts lost ones anew and tries their units again."""

import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import cloudpickle

from datamodules.errors import UserError
from pipelines.engine.engine import Engine
from pipelines.engine.work import TRIES, Done, Unit, python_path

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of a default that will change
    "RAY_worker_niceness": "0",  # else 15: workers do the work of this process, not some beside it
}
_SIDE = Path(__file__).with_name("ray_side.py")
_RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
"""A file, without its folder on Python's path."""
_GRACE = 30.0
"""Seconds in which a cluster may end."""


def on_ray(
    engine: Engine, order: Path, units: Sequence[Unit], threads: int, gpu: bool
) -> Generator[Done, None, None]:
    """Yields units as they are finished; not those whose worker is lost each time.

    Args:
        engine: with the number of workers and the address of a cluster.
        order: file that every worker can read.
        units: in the order in which they are begun.
        threads: of each worker.
        gpu: a GPU for each worker.

    Raises:
        UserError: the address does not answer, or Ray's actors do not take the parameters.
    """
    told = {
        "order": order, "numbers": [unit.number for unit in units], "tries": TRIES,
        "workers": engine.workers, "threads": threads, "gpus": int(gpu),
        "address": engine.address or _joined(), "parameters": dict(engine.parameters),
    }  # fmt: skip
    environment = {**_SETTINGS, **os.environ, "PYTHONPATH": python_path()}
    side = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(_SIDE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment, start_new_session=True,  # this process alone tells it of Ctrl-C
    )  # fmt: skip
    try:
        yield from _said(engine, side, told)
    finally:
        _end(side)


def _said(
    engine: Engine, side: "subprocess.Popen[bytes]", told: dict[str, object]
) -> Generator[Done, None, None]:
    """What the process at Ray's side says until it ends, in whatever way."""
    assert side.stdin is not None
    assert side.stdout is not None
    side.stdin.write(cloudpickle.dumps(told))
    side.stdin.close()
    while True:
        try:
            kind, what = pickle.load(side.stdout)
        except (EOFError, pickle.UnpicklingError):
            return
        if kind == "mistake":
            raise _mistake(engine, what)
        yield cloudpickle.loads(what)


def _mistake(engine: Engine, what: str) -> UserError:
    about, _, error = what.partition(": ")
    if about == "options":
        return UserError(f"Ray's actors do not take `engine.parameters`: {error}")
    return UserError(
        f"`engine.address` {engine.address!r} does not answer: {error}. A cluster with tokens that "
        "is named by its host also wants RAY_AUTH_MODE=token in the environment."
    )


def _end(side: "subprocess.Popen[bytes]") -> None:
    """Ends a process that has not ended, and with it the workers and a cluster of its own."""
    if side.poll() is None:
        side.terminate()
    try:
        side.wait(_GRACE)
    except subprocess.TimeoutExpired:
        side.kill()
        side.wait()


def _joined() -> str | None:
    """The cluster that the caller in Python has joined already."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    return str(ray.get_runtime_context().gcs_address)
