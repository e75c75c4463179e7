"""How the pages are built: `make docs`."""

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

project = "Assay"
author = "the developers of Assay"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "kept", "**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = "Assay"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # what a notebook shows is what is kept in it; a test runs them anew
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say shapes and ranges; the signature has the types
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# `Args: x: tensor` of a docstring is prose here, never a name to look up.
napoleon_preprocess_types = False
# Names of other projects: the pages are built offline, without their inventories.
nitpick_ignore_regex = [(r"py:.*", r".*")]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
default_role = "code"  # docstrings have names between single backticks
_CODE = re.compile(r"(`[^`]*`)")


def plain_docstring(_: Any, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    """Takes the signs of reStructuredText that docstrings mean as they are: `|x|`, `*`, `x_`."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((".. ", ">>>")):
            parts = _CODE.split(line)
            parts[::2] = [
                re.sub(r"(?<!\\)([|*]|(?<=\w)_(?=\W|$))", r"\\\1", part) for part in parts[::2]
            ]
            lines[i] = "".join(parts)


def write_names(_: Any, __: Any = None, ___: Sequence[str] = ()) -> None:
    """Keeps what `assay list` prints for the page of names."""
    from pipelines.list import main

    file = HERE / "_build" / "names.txt"
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as out, contextlib.redirect_stdout(out):
        main([])


def setup(app: Any) -> None:
    """Registers the two."""
    app.connect("autodoc-process-docstring", plain_docstring, priority=900)
    app.connect("builder-inited", write_names)
