"""The process that talks to Ray: a cluster that goes away takes it along, and not the command.

It is started as a file and knows nothing of Assay, whose import takes seconds. What it is to do it
reads from its input, and what it says are pickled pairs: of a kind, and a text or bytes.
"""

import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

_OBJECTS = 100 * 2**20
"""Bytes of Ray's object store: what is sent is small, and its default is 30 % of the memory."""


class Worker:
    """Keeps models and data open from unit to unit."""

    def measure(self, order: Path, number: int) -> bytes:
        """What is done of a unit, for the command, which alone has to know what that is."""
        import cloudpickle

        from pipelines.engine.work import measure

        return cloudpickle.dumps(measure(order, number))


def main() -> None:
    """Says `done` of every unit, or `mistake` of what the user can mend."""
    told = pickle.load(sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed

    def tell(kind: str, what: str | bytes) -> None:
        pickle.dump((kind, what), out)
        out.flush()

    import ray
    from ray.exceptions import RayError

    actors: list[Any] = []
    try:
        _start(ray, told)
        actors += _made(ray, told)
        for done in _done(ray, actors, told):
            tell("done", done)
    except RayError as error:  # the cluster is gone, or has no Assay
        print(f"Ray: {error}", file=sys.stderr)
    except (ConnectionError, ValueError, TypeError) as error:
        tell("mistake", f"{'options' if ray.is_initialized() else 'address'}: {error}")
    finally:
        for actor in actors:
            ray.kill(actor)
        ray.shutdown()


def _start(ray: Any, told: Mapping[str, Any]) -> None:
    """Joins the cluster of an address, else starts one for the workers, without a dashboard."""
    cpus = told["workers"] * told["threads"]
    own: dict[str, Any] = {"num_cpus": cpus, "object_store_memory": _OBJECTS}
    own |= {"address": "local", "include_dashboard": False}  # whatever RAY_ADDRESS says
    where = {"address": told["address"]} if told["address"] else own
    ray.init(**where, configure_logging=False, log_to_driver=False)


def _made(ray: Any, told: Mapping[str, Any]) -> list[Any]:
    """Actors that are started anew when they are lost, and whose units are tried again."""
    tries = {"max_restarts": -1, "max_task_retries": told["tries"] - 1}
    wanted = {**tries, "num_cpus": told["threads"], "num_gpus": told["gpus"], **told["parameters"]}
    kind = ray.remote(Worker).options(**wanted)
    return [kind.remote() for _ in range(told["workers"])]


def _done(ray: Any, actors: list[Any], told: Mapping[str, Any]) -> Iterator[bytes]:
    """What is finished; nothing of a unit whose worker was lost each time."""
    from ray.util import ActorPool

    pool = ActorPool(actors)
    for number in told["numbers"]:
        pool.submit(lambda actor, number: actor.measure.remote(told["order"], number), number)
    while pool.has_next():
        with suppress(ray.exceptions.RayActorError):
            yield cast("bytes", pool.get_next_unordered())


if __name__ == "__main__":
    main()
