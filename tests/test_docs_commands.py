"""Every command line of the pages is one that the command's own parser takes, values and all."""

import argparse
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonargparse
import pytest

from datamodules.errors import UserError
from pipelines.cli import COMMANDS, _module_of, _with_recipes
from pipelines.study import arguments

HOME = Path(__file__).resolve().parents[1]
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md"] + [
    page for page in sorted((HOME / "docs").rglob("*.md")) if "_build" not in page.parts
]
TYPED = re.compile(r"^(?:\.venv/bin/)?assay ((?:.*\\\n)*.*)", re.MULTILINE)
NAMED = re.compile(r"`assay ([a-z-]+ [^`|]*--[^`|]*)`")
FORMS = {"gate RUN --policy FILE", "fine-tune --tasks FILE"}
"""By which a sentence names an option; they are not meant to be typed."""


def lines_of(page: Path) -> list[str]:
    """The commands of a page: whole lines, and those within a sentence that have an option."""
    text = page.read_text()
    found = [line.replace("\\\n", " ") for line in (*TYPED.findall(text), *NAMED.findall(text))]
    return [" ".join(line.split()) for line in found]


WRITTEN = {line: page.relative_to(HOME).as_posix() for page in PAGES for line in lines_of(page)}
EXAMPLES = {one.example.removeprefix("assay "): "pipelines/cli.py" for one in COMMANDS.values()}
LINES = {line: page for line, page in (WRITTEN | EXAMPLES).items() if line not in FORMS}


class TakenError(Exception):
    """The parser took the words; nothing is run."""


def taken(parse: Callable[..., Any]) -> Callable[..., None]:
    def parsed(*given: Any) -> None:
        parse(*given)
        raise TakenError

    return parsed


@pytest.fixture(scope="module", autouse=True)
def parsers() -> Iterator[None]:
    """Parsers stop where they took the words, and a command's is made once: that takes long."""
    with pytest.MonkeyPatch.context() as patch:
        made = cache(lambda pipeline, make=arguments._parser: make(pipeline, {}))
        patch.setattr(arguments, "_parser", lambda pipeline, _: made(pipeline))
        for kind in (argparse.ArgumentParser, jsonargparse.ArgumentParser):
            patch.setattr(kind, "parse_args", taken(kind.parse_args))
        yield


def run(line: str) -> None:
    command, *words = _with_recipes(shlex.split(line, comments=True))
    importlib.import_module(_module_of(command)).main(words)


@pytest.mark.parametrize(
    "line", LINES, ids=[f"{page}: {line[:60]}" for line, page in LINES.items()]
)
def test_the_parser_takes_the_line(line: str) -> None:
    with pytest.raises((TakenError, SystemExit)) as caught:
        run(line)
    assert not getattr(caught.value, "code", 0), "0 is that of --help"


@pytest.mark.parametrize("wrong", ["--modle lenet", "--steps many", "--data Digitz"])
def test_a_wrong_line_is_found(wrong: str) -> None:
    with pytest.raises(UserError, match=wrong.split()[0].strip("-")):
        run(f"evaluate --model lenet --data Digits {wrong}")


def test_lines_are_found() -> None:
    assert len(WRITTEN) > 40  # else the pages are written in another way than is looked for
    assert any(page == "docs/recipes.md" and "--optimizer.lr" in x for x, page in WRITTEN.items())
