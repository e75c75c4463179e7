"""Stores that an older or a newer MLflow made: one true sentence, and the results are on disk."""

import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.report.result import load_result
from pipelines.tracking.schema import SchemaError
from pipelines.tracking.store import open_store

Assay = Callable[..., tuple[int, str, str]]
_OLD = "cfd24bdc0731"
"""MLflow 1.x: half of today's tables are missing."""


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A store as MLflow's own migrations left it years ago, in a folder that needs quotes."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    database = tmp_path / "it's old?" / "mlflow.db"
    database.parent.mkdir()
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(database))
    Base.metadata.create_all(engine)
    config = _get_alembic_config("")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, _OLD)
    return f"sqlite:///{database}"


def version(database: Path, changed: str | None = None) -> str:
    with closing(sqlite3.connect(database)) as connection:
        if changed:
            connection.execute("UPDATE alembic_version SET version_num = ?", [changed])
            connection.commit()
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


@pytest.mark.slow
def test_an_older_store_is_left_alone_until_its_command_is_typed(old: str, home: Path) -> None:
    database = Path(old.removeprefix("sqlite:///"))
    with pytest.raises(SchemaError, match="made by an older MLflow") as caught:
        open_store(old, home, "assay")
    assert version(database) == _OLD
    command = shlex.split(str(caught.value).split("`")[1])
    assert command[:3] == ["mlflow", "db", "upgrade"]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    assert open_store(old, home, "assay").experiment_id.isdigit()


@pytest.mark.parametrize(
    ("revision", "advice"),
    [
        ("acf3f17fdcc7", "`mlflow db upgrade sqlite:///{}`"),
        ("ffffffffffff", "`pip install --upgrade mlflow`"),
    ],
    ids=["older", "newer"],
)
def test_everything_is_measured_and_kept(
    assay: Assay, home: Path, lenet: Path, revision: str, advice: str
) -> None:
    database = home / "mlruns" / "mlflow.db"
    right = version(database)
    version(database, revision)
    words = [
        *("evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet"),
        *("--data", "Digits", "--data.limit", "12", "--probes", "clean"),
    ]
    code, out, err = assay(*words)
    assert code == 1
    assert err.count("assay: ") == 1
    assert advice.format(database) in err
    assert err.count("upgrade") == advice.count("upgrade")
    assert "Traceback" not in err
    (folder,) = (home / "mlruns" / "results").iterdir()
    assert len(load_result(folder).parts().rows["clean"]) == 12
    code, _, err = assay("report", "0" * 32)
    assert code == 1
    assert advice.format(database) in err
    code, _, err = assay("ui", "--port", "0")
    assert code == 1
    assert advice.format(database) in err
    version(database, right)
    code, out, err = assay(*words)
    assert code == 0, err
    assert "Rows from an earlier run" in out
