"""What a store may refuse, each kind by its name."""

from datamodules.errors import UserError


class TrackingError(UserError):
    """The store does not take what was measured; the results are on disk."""


class UnreachableError(TrackingError):
    """No tracking server answers, which may pass."""


class NotLoggedError(TrackingError):
    """Everything was measured and is on disk, but the store did not take it."""

    exit_code = 1


def innermost(error: BaseException) -> str:
    """The innermost cause in one line, without SQLAlchemy's statements."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
