"""Objects of the user's own modules."""

import importlib
import sys
from pathlib import Path
from typing import Any

from datamodules.errors import UserError


def python_object(name: str, kind: str = "python") -> Any:
    """Imports `MODULE:NAME`; the current folder comes last on the path, so it hides nothing.

    Args:
        name: of the module and of what is in it.
        kind: that stands before it on the command line.

    Raises:
        UserError: there is no such module, or nothing of that name in it.
    """
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"Cannot import {kind}:{name}: {error}. Expected {kind}:MODULE:CALLABLE, the module in "
            f"{str(Path.cwd())!r} or installed."
        ) from error
