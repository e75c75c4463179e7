"""Stores in folders of any name: the file that was named, found again by every command."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.report.result import load_result
from pipelines.tracking.location import database_of, resolved_uri
from pipelines.tracking.store import open_store

Assay = Callable[..., tuple[int, str, str]]

NAMES = [
    "plain", "what?", "a#b", "50%20off", "100%", "my folder", "grün", "it's \"so\"", "a%2520b",
    "?#%20 %41ü&x=1;", "x?timeout=5", "@:[1]",
]  # fmt: skip


def runs_in(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]


@pytest.mark.parametrize("given", ["root", "uri", "relative uri", "environment"])
def test_runs_land_in_the_file_that_was_named(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        database = tmp_path / name / "mlruns" / "mlflow.db"
        database.parent.mkdir(parents=True)
        shutil.copy(template / "mlruns" / "mlflow.db", database)
        shown = database.relative_to(tmp_path) if given == "relative uri" else database
        uri = None if given == "root" else f"sqlite:///{shown}"
        if given == "environment":
            monkeypatch.setenv("MLFLOW_TRACKING_URI", str(uri))
            uri = None
        before = runs_in(database)
        store = open_store(uri, tmp_path / name, "assay")
        run = store.client.create_run(store.experiment_id)
        store.client.log_text(run.info.run_id, "text", "folder/file.txt")
        assert runs_in(database) == before + 1, name
        assert list((database.parent / "artifacts").rglob("file.txt")), name
        assert store.client.list_artifacts(run.info.run_id, "folder")[0].path == "folder/file.txt"
        assert database_of(store.uri) == database
        assert resolved_uri(store.uri, Path()) == store.uri  # what a message shows can be typed
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)  # nothing beside them


@pytest.mark.parametrize(
    ("there", "uri", "meant"),
    [
        ("my folder/", "sqlite:///my%20folder/m.db", "my folder/m.db"),  # a URI after all
        ("my%20folder/", "sqlite:///my%20folder/m.db", "my%20folder/m.db"),
        ("a b.db", "sqlite:///a%20b.db", "a b.db"),
        ("", "sqlite:///a%20b.db", "a%20b.db"),
        ("", "sqlite:///m.db?timeout=5", "m.db"),
        ("m.db?timeout=5", "sqlite:///m.db?timeout=5", "m.db?timeout=5"),
        ("", "sqlite:///file:m%20m.db?uri=true", "m m.db"),
        ("", "sqlite:///what?", "what?"),
    ],
)
def test_paths_before_escapes_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, uri: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (Path(there) / "x").parent.mkdir(exist_ok=True) if there.endswith("/") else None
    if there and not there.endswith("/"):
        Path(there).touch()
    assert database_of(resolved_uri(uri, Path())) == tmp_path / meant


def test_other_stores_have_no_file() -> None:
    uri = "postgresql://user:pa%20ss@host/db?sslmode=require"
    assert resolved_uri(uri, Path()) == uri
    assert database_of(uri) is None


def test_sqlalchemy_before_2_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It does not decode, so that only SQLite's own form can hold a question mark."""
    from types import SimpleNamespace

    def old(uri: str) -> SimpleNamespace:
        return SimpleNamespace(database=uri.partition("///")[2].partition("?")[0])

    monkeypatch.setattr("sqlalchemy.make_url", old)
    for name, expected in (
        ("50%20off", f"sqlite+pysqlite:///{tmp_path}/50%20off"),
        ("what?%", f"sqlite+pysqlite:///file:{tmp_path}/what%3F%25?uri=true"),
    ):
        uri = resolved_uri(f"sqlite:///{tmp_path}/{name}", Path())
        assert uri == expected
        assert database_of(uri) == tmp_path / name


def test_commands_find_the_run_again(
    assay: Assay, template: Path, tmp_path: Path, lenet: Path
) -> None:
    root = tmp_path / "?#%20 %41ü"
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(template / "mlruns" / "mlflow.db", root / "mlruns" / "mlflow.db")
    words = ["--data", "Digits", "--data.limit", "12", "--probes", "clean", "--root", str(root)]
    code, _, err = assay("evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet", *words)
    assert code == 0, err
    (folder,) = (root / "mlruns" / "results").iterdir()
    run_id = load_result(folder).about.run_id
    assert run_id is not None
    code, out, err = assay("report", run_id, "--root", str(root))
    assert code == 0, err
    assert "Clean images" in out
    code, out, err = assay("evaluate", "--model", f"mlflow:runs:/{run_id}", *words)
    assert code == 0, err
    assert runs_in(root / "mlruns" / "mlflow.db") == 2
