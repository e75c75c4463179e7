"""Units on the actors of Ray, which starts lost ones anew and tries their units again."""

import os
import signal
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

from datamodules.errors import UserError
from pipelines.engine.engine import Engine
from pipelines.engine.work import TRIES, Done, Unit, measure

_OBJECTS = 100 * 2**20
"""Bytes of Ray's object store: what is sent is small, and its default is 30 % of the memory."""


_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of a default that will change
    "RAY_worker_niceness": "0",  # else 15: workers do the work of this process, not some beside it
}


class _Worker:
    """Keeps models and data open from unit to unit."""

    def measure(self, order: Path, number: int) -> Done:
        return measure(order, number)


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
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.exceptions import RayActorError, RayError
    from ray.util import ActorPool

    is_mine = not ray.is_initialized()
    if is_mine:
        _start(ray, engine, threads)
    actors: list[Any] = []
    try:
        kind = _kind(ray, {"num_cpus": threads, "num_gpus": int(gpu), **engine.parameters})
        actors = [kind.remote() for _ in range(engine.workers)]
        pool = ActorPool(actors)
        for unit in units:
            pool.submit(lambda actor, number: actor.measure.remote(order, number), unit.number)
        while pool.has_next():
            try:
                done = cast("Done", pool.get_next_unordered())
            except RayActorError:  # of a unit whose worker was lost each time
                continue
            except RayError:  # the cluster itself is gone
                break
            yield done
    finally:
        for actor in actors:
            ray.kill(actor)
        if is_mine:
            ray.shutdown()


def _kind(ray: Any, wanted: dict[str, Any]) -> Any:
    """Actors that are started anew when they are lost, and whose units are tried again."""
    tries = {"max_restarts": -1, "max_task_retries": TRIES - 1}
    try:
        return ray.remote(_Worker).options(**{**tries, **wanted})
    except (ValueError, TypeError) as error:
        raise UserError(f"Ray's actors do not take `engine.parameters`: {error}") from None


def _start(ray: Any, engine: Engine, threads: int) -> None:
    """Joins the cluster of an address, else starts one for the workers, without a dashboard."""
    own: dict[str, Any] = {"num_cpus": engine.workers * threads, "object_store_memory": _OBJECTS}
    own |= {"address": "local", "include_dashboard": False}  # whatever RAY_ADDRESS says
    where = {"address": engine.address} if engine.address else own
    interrupt = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**where, configure_logging=False, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"`engine.address` {engine.address!r} does not answer: {error}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, interrupt)  # Ray's handler would end without a word
