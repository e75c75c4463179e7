"""Refuses counts that leave nothing to do."""

from datamodules.errors import UserError


def at_least(least: int, **counts: int) -> None:
    """Refuses too small counts.

    Args:
        least: that each must be.
        **counts: by the name of the argument.

    Raises:
        UserError: one is smaller.
    """
    for name, count in counts.items():
        if count < least:
            raise UserError(
                f"Expected `{name}` to be at least {least}, but got {count}: choose a larger one."
            )
