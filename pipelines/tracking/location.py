"""Which file a tracking URI means, and the URI of a file whatever signs its path holds."""

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

_SQLITE = "sqlite:///"
_ENCODED = "sqlite+pysqlite:///"
"""MLflow makes a folder of what follows `sqlite:///`, also of one that is percent-encoded; what
follows this it leaves to SQLAlchemy."""
_OPTIONS = re.compile(r"\?\w+=[^/?&=]*(&\w+=[^/?&=]*)*$")


def resolved_uri(uri: str | None, root: Path) -> str:
    """Returns the given URI, else `MLFLOW_TRACKING_URI`, else the SQLite file below `root`.

    What follows `sqlite:///` is a path as it is on disk, though a URI gives `?` and `%` a meaning.
    `?timeout=5` stays an option, and `%20` a blank, where only that file or its folder is there.
    """
    given = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not given:
        return _uri_of(str((root / "mlruns" / "mlflow.db").resolve()))
    path = given.removeprefix(_SQLITE)
    if path == given or path.startswith("file:"):  # SQLite's own form says what it means
        return given
    found = None if Path(path).exists() else _OPTIONS.search(path)
    options = found.group() if found else ""
    return _uri_of(_named(path.removesuffix(options)), options)


def database_of(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other.

    Args:
        uri: from `resolved_uri`.
    """
    if not uri.startswith((_SQLITE, _ENCODED)):
        return None
    if uri.startswith(_SQLITE) and not {"?", "%"} & set(uri):
        return Path(uri.removeprefix(_SQLITE)).resolve()
    from sqlalchemy import make_url

    path = make_url(uri).database or ""
    if path.startswith("file:"):
        path = unquote(path.removeprefix("file:"))
    return Path(path).resolve()


def _uri_of(path: str, options: str = "") -> str:
    """A URI that SQLAlchemy reads as that path; version 2.1 decodes it, earlier ones do not."""
    if not {"?", "%"} & set(path):
        return f"{_SQLITE}{path}{options}"
    from sqlalchemy import make_url

    for text in (path, quote(path)):
        if make_url(f"{_ENCODED}{text}").database == path:
            return f"{_ENCODED}{text}{options}"
    return f"{_ENCODED}file:{quote(path)}?uri=true{options.replace('?', '&')}"


def _named(path: str) -> str:
    """The path as it is written, unless only the decoded one is there, or at least its folder."""
    for is_there in (os.path.exists, lambda one: os.path.isdir(os.path.dirname(one) or ".")):
        for meant in (path, unquote(path)):
            if is_there(meant):
                return meant
    return path
