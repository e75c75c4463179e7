"""Options of several data sets as flags: `--data MNIST CIFAR10 --data.MNIST.resize 32`."""

import json
from collections.abc import Sequence
from inspect import signature
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from datamodules import DATA, ImageDataModule
from datamodules.errors import UserError, suggestion
from datamodules.opening import known_name

_FLAG = "--data"


def with_data_options(words: Sequence[str]) -> list[str]:
    """Moves the options of single data sets into the list of them, as YAML has them.

    Args:
        words: with `--data A B:FOLDER`, and `--data.A.option VALUE` for one of them, by its name or
            that of its folder, or `--data.option VALUE` for all.

    Returns:
        The other words, and one list of data sets behind `--data`, where any has options.

    Raises:
        UserError: no data set of the list has that name or that option.
    """
    given, named, others = _sorted_out(words)
    if not given:
        return list(words)
    if not named:
        raise UserError(
            f"Got {next(iter(given))} without {_FLAG}: name the data sets there, or give their "
            "options in YAML as init_args."
        )
    items: list[Any] = yaml.safe_load(named[0]) if named[0].startswith("[") else named
    options: list[dict[str, Any]] = [{} for _ in items]
    for flag, value in given.items():
        name, _, option = flag.removeprefix(f"{_FLAG}.").rpartition(".")
        rows = [i for i, item in enumerate(items) if not name or name in _names(item)]
        if not rows:
            known = dict.fromkeys(known for item in items for known in _names(item))
            raise UserError(f"Got {flag}, but {_FLAG} has no {name!r}.{suggestion(name, known)}")
        for row in rows:
            options[row][option] = _read(flag, option, value, items[row])
    made = [_with(item, more) if more else item for item, more in zip(items, options, strict=True)]
    return [*others, _FLAG, json.dumps(made)]


def _sorted_out(words: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Options by flag, the data sets, and all other words."""
    given: dict[str, str] = {}
    named: list[str] = []
    others: list[str] = []
    rest = [*words]
    while rest:
        flag, sign, value = rest.pop(0).partition("=")
        if flag.startswith(f"{_FLAG}."):
            given[flag] = value if sign or not rest else rest.pop(0)
        elif flag == _FLAG:
            named = [value] if sign else []
            while rest and not rest[0].startswith("--"):
                named.append(rest.pop(0))
        else:
            others.append(flag + sign + value)
    return given, named, others


def _names(item: Any) -> tuple[str, ...]:
    """By which an item of the list is called: its kind, and what the matrix calls it."""
    if isinstance(item, dict):
        return (str(item.get("class_path", "")).rpartition(".")[2],)
    kind, _, folder = str(item).partition(":")
    return (kind, folder.rstrip("/").rpartition("/")[2]) if folder else (kind,)


def _read(flag: str, option: str, value: str, item: Any) -> Any:
    """The value as the data set takes it: in a list the parser would take a mistake for a name."""
    kind = known_name(_names(item)[0], DATA)
    known = [*signature(DATA[kind].__init__).parameters, *signature(ImageDataModule).parameters]
    if option not in known:
        raise UserError(f"Got {flag}, but {kind} has no such option.{suggestion(option, known)}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DATA[kind], fail_untyped=False)
    read = yaml.safe_load(value)
    try:
        parser.parse_object({**_init_args(item), option: read})
    except ArgumentError as error:
        raise UserError(f"Got {flag} {value}: {' '.join(str(error).split())}") from None
    return read


def _with(item: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A data set with further options."""
    made = item if isinstance(item, dict) else {"class_path": known_name(_names(item)[0], DATA)}
    return {**made, "init_args": {**_init_args(item), **options}}


def _init_args(item: Any) -> dict[str, Any]:
    """What a data set of the list is made with."""
    if isinstance(item, dict):
        return dict(item.get("init_args", {}))
    _, _, root = str(item).partition(":")
    return {"root": root} if root else {}
