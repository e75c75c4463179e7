"""Files of options, before the parser reads them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from datamodules.errors import UserError
from datamodules.strict_yaml import read_yaml, yaml_problem

_FLAG = "--config"


def check_keys_once(words: Sequence[str]) -> None:
    """Refuses a file in which an option stands twice: the parser would keep the last in silence.

    Args:
        words: of the command line.

    Raises:
        UserError: the option and its line.
    """
    for name in _named(words):
        _check_file(name)


def _check_file(name: str) -> None:
    try:
        read_yaml(Path(name).read_text(encoding="utf-8"))
    except yaml.constructor.ConstructorError as error:
        raise UserError(f"`{_FLAG}` {name!r}: {yaml_problem(error)}.") from error
    except (OSError, ValueError, yaml.YAMLError):
        return  # the parser says what is wrong


def _named(words: Sequence[str]) -> Iterator[str]:
    yield from (word.removeprefix(f"{_FLAG}=") for word in words if word.startswith(f"{_FLAG}="))
    yield from (word for flag, word in pairwise(words) if flag == _FLAG)
