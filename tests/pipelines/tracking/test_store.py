"""Opening a store: where it is, who may race for it, and what each trouble is called."""

import multiprocessing
import socket
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.tracking.store import (
    Store,
    TrackingError,
    UnreachableError,
    open_store,
    resolved_uri,
)


@pytest.fixture
def store(home: Path) -> Store:
    return open_store(None, home, "assay")


def test_flag_before_environment_before_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolved_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert resolved_uri(None, tmp_path) == "http://server"
    assert resolved_uri("sqlite:///other.db", tmp_path) == "sqlite:///other.db"


def test_artifacts_lie_beside_the_database(store: Store, home: Path) -> None:
    experiment = store.client.get_experiment(store.experiment_id)
    assert experiment.artifact_location == (home / "mlruns" / "artifacts").as_uri()
    assert open_store(None, home, "assay").experiment_id == store.experiment_id


def test_the_link_opens_the_curves(store: Store) -> None:
    page = f"/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning"
    assert store.link == f"assay ui  ->  http://127.0.0.1:5000{page}&compareRunsMode=CHART"
    assert Store(store.client, "http://host:80/", "7").link.startswith("http://host:80/#/exper")


def opened(root: Path, answers: "multiprocessing.Queue[str]") -> None:
    try:
        answers.put(open_store(None, root, "assay").experiment_id)
    except Exception as error:
        answers.put(f"{type(error).__name__} {error}")


@pytest.mark.slow
@pytest.mark.ddp
def test_four_processes_may_make_the_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=opened, args=(tmp_path, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=200) for _ in processes]
    for process in processes:
        process.join()
    assert found == [found[0]] * 4
    assert found[0].isdigit()
    assert open_store(None, tmp_path, "assay").experiment_id == found[0]


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with 404, as a web server that is no MLflow does."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("uri", "kind", "expected"),
    [
        (
            "http://127.0.0.1:9",
            UnreachableError,
            "does not answer ([Errno 111] Connection refused)",
        ),
        ("http://no.such.host.invalid", UnreachableError, "'http://no.such.host.invalid' does not"),
        ("/some/folder", TrackingError, "no longer keeps runs in plain folders"),
        ("file:///some/folder", TrackingError, "Expected a tracking URI like sqlite:///FILE.db"),
        ("sqlite:///file/in/the/way.db", TrackingError, "cannot be written (Not a directory)"),
        ("sqlite:///nonsense.db", TrackingError, "file is not a database"),
    ],
)
def test_troubles_have_names(
    home: Path, uri: str, kind: type[TrackingError], expected: str
) -> None:
    (home / "file").write_text("")
    (home / "nonsense.db").write_text("nonsense " * 500)
    with pytest.raises(TrackingError) as caught:
        open_store(uri, home, "assay")
    assert type(caught.value) is kind
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_no_mlflow(home: Path, stranger: str) -> None:
    with pytest.raises(TrackingError, match="404"):
        open_store(stranger, home, "assay")


def test_a_server_that_never_answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.tracking.store._BRIEF", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UnreachableError, match="timed out"):
            open_store(f"http://127.0.0.1:{silent.getsockname()[1]}", home, "assay")


def test_a_deleted_experiment_says_how_to_restore_it(store: Store, home: Path) -> None:
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(TrackingError, match=f"experiments restore -x {store.experiment_id}"):
        open_store(None, home, "assay")
    assert open_store(None, home, "another").experiment_id != store.experiment_id


@pytest.mark.slow
def test_a_locked_database(store: Store, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = sqlite3.connect(home / "mlruns" / "mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingError, match="database is locked"):
        open_store(None, home, "assay")
    lock.close()
    assert "Traceback" not in capfd.readouterr().err
