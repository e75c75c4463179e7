"""SIGTERM to a whole job: dead workers of a loader do not make a failure of an interruption."""

import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import NoReturn

import pytest

from lightning_modules.trainer import uninterrupted
from pipelines.tracking.lifecycle import started, terminable
from pipelines.tracking.run import Run

# As torch words it, with the blank at the end.
DEAD = "DataLoader worker (pid 7) is killed by signal: {}. "


def complain(*_: object) -> NoReturn:
    raise RuntimeError(DEAD.format("Terminated"))


@pytest.fixture
def watched() -> Iterator[None]:
    """Complains of dead children wherever the program is, as torch does."""
    before = signal.signal(signal.SIGCHLD, complain)
    yield
    signal.signal(signal.SIGCHLD, before)


def interrupted(tidied: list[str]) -> None:
    """Gets both signals at once, as after a long call of torch."""
    both = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, both)
    for one in both:
        signal.raise_signal(one)  # to this thread: others block nothing
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        sum(range(1000))
    finally:
        sum(range(1000))
        tidied.append("all")


@pytest.mark.usefixtures("watched")
def test_what_is_tidied_up_is_not_disturbed() -> None:
    tidied: list[str] = []
    with pytest.raises(KeyboardInterrupt), terminable():
        interrupted(tidied)
    assert tidied == ["all"]


@pytest.mark.parametrize(("word", "status"), [("Terminated", "KILLED"), ("Killed", "FAILED")])
def test_a_worker_that_was_told_to_end(
    word: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []
    monkeypatch.setattr(Run, "end", lambda _, status: ended.append(status))
    expected = KeyboardInterrupt if status == "KILLED" else RuntimeError
    with pytest.raises(expected), started(None, "name", {}):
        raise RuntimeError(DEAD.format(word))
    assert ended == [status]

    def work() -> None:
        raise RuntimeError(DEAD.format(word))

    trainer = SimpleNamespace(interrupted=True)
    if status == "KILLED":
        assert not uninterrupted(trainer, work)  # type: ignore[arg-type]
    else:  # by the system, for its memory: no wish of the user's
        with pytest.raises(RuntimeError, match="Killed"):
            uninterrupted(trainer, work)  # type: ignore[arg-type]
