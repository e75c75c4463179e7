"""Whether a store's tables are those of the MLflow that is installed."""

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.tracking.location import database_of
from pipelines.tracking.trouble import TrackingError


class SchemaError(TrackingError):
    """The store was made by an older or a newer MLflow."""

    exit_code = 1


def check_schema(uri: str) -> None:
    """Refuses an SQLite store of another MLflow, before MLflow looks at it.

    MLflow itself migrates some old stores without a word, though others may still use them, and
    tells to upgrade those that are too new.

    Args:
        uri: from `resolved_uri`.

    Raises:
        SchemaError: with the one thing that helps.
    """
    database = database_of(uri)
    version = _version(database) if database is not None else None
    if version is None:
        return
    import mlflow
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    scripts = ScriptDirectory(str(migrations))
    if version in scripts.get_heads():
        return
    try:
        scripts.get_revision(version)
    except CommandError as error:
        raise SchemaError(
            f"The store {str(database)!r} was made by a newer MLflow than the installed "
            f"{mlflow.__version__} (schema {version}): install a newer one with `pip "
            "install --upgrade mlflow`."
        ) from error
    raise SchemaError(
        f"The store {str(database)!r} was made by an older MLflow than the installed "
        f"{mlflow.__version__} (schema {version}): copy the file, then bring it up to date with "
        f"`mlflow db upgrade {shlex.quote(uri)}`."
    )


def _version(database: Path) -> str | None:
    """The revision of a database; None where there is none, or it cannot be read."""
    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:  # locked, empty or no database: MLflow says which
        return None
    return str(found[0]) if found else None
