"""A pipeline's typed signature as a command line: flags, YAML, `--print_config`, short errors."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Optional, Union

import lightning as L
from jsonargparse import ArgumentParser, Namespace

from callbacks import Probe
from datamodules import DATA
from datamodules.errors import UserError, suggestion

_PROBES_HELP = "Names, see `assay list probes`; objects in YAML. Default: those of the preset."

_PERTURB_HELP = "Disturbs training images: callbacks.AdversarialTraining or GaussianNoise, in YAML."


class _ShortParser(ArgumentParser):
    """Says what is wrong without printing hundreds of lines of usage first."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raises one short sentence instead of exiting."""
        text = message.replace("Parser key", "Option").strip()
        raise UserError(f"{text}{self._hint(text)}\nSee: {self.prog} --help") from None

    def _hint(self, message: str) -> str:
        """Looks the misspelt option up among the real ones."""
        words = [word.strip("'\".,:").split("=")[0] for word in message.split()]
        known = [option for action in self._actions for option in action.option_strings]
        strangers = [word for word in words if word.startswith("--") and word not in known]
        return suggestion(strangers[0], known) if strangers else ""


def parse(
    pipeline: Callable[..., Any], words: Sequence[str], defaults: dict[str, Any]
) -> dict[str, Any]:
    """Parses the command line of a pipeline into the arguments of its function.

    Args:
        pipeline: a function with a parameter `trainer: dict`; the others become flags by their
            types and docstring.
        words: after the command.
        defaults: of the Trainer, where they differ from Lightning's.
    """
    _check_names(words)
    command = pipeline.__name__.replace("_", "-")
    parser = _ShortParser(
        prog=f"assay {command}",
        usage=f"assay {command} [--config FILE] [--print_config] [options]",
        description=(pipeline.__doc__ or "").split("\n")[0],
        env_prefix="ASSAY",
    )
    parser.add_argument("--config", action="config", help="YAML file; later flags override it.")
    # What only Python callers give.
    own = set(inspect.signature(pipeline).parameters)
    apart = ("trainer", "config", "parent", "probes", "perturb", "stage")
    hidden: set[str | int] = {name for name in apart if name in own}
    parser.add_function_arguments(pipeline, skip=hidden, fail_untyped=False)
    if "probes" in own:  # names on the command line, parameterised objects in YAML
        parser.add_argument("--probes", nargs="+", type=Union[Probe, str], help=_PROBES_HELP)  # noqa: UP007
    if "perturb" in own:  # by its return type the parser would take `Perturb` for a factory
        parser.add_argument("--perturb", type=Optional[Callable[..., Any]], help=_PERTURB_HELP)  # noqa: UP045
    parser.add_class_arguments(L.Trainer, "trainer", instantiate=False, fail_untyped=False)
    parser.set_defaults({f"trainer.{name}": value for name, value in defaults.items()})
    parsed = parser.parse_args(list(words))
    config = parser.dump(parsed, skip_unset=True)
    made = _instantiated(parser, parsed)
    made.pop("config", None)
    arguments = {name: _plain(value) for name, value in vars(made).items()}
    _check_seeds(arguments)
    return {**arguments, "config": config}


def _instantiated(parser: ArgumentParser, parsed: Namespace) -> Namespace:
    """Makes the objects; a mistake in their arguments is told without the parser's wrapping."""
    try:
        return parser.instantiate(parsed)
    except (ValueError, TypeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _check_names(words: Sequence[str]) -> None:
    """Answers a misspelt data set before the parser does, which would speak of paths."""
    for flag, word in pairwise(words):
        named = flag in ("--data", "--outliers") and "." not in word and "{" not in word
        if named and word not in DATA:
            raise UserError(f"There is no data set {word!r}.{suggestion(word, DATA)}")


def _check_seeds(arguments: dict[str, Any]) -> None:
    """Refuses what numpy takes for no seed."""
    for name in ("seed", "seeds"):
        given = arguments.get(name)
        for seed in given if isinstance(given, list | tuple) else [given]:
            if seed is not None and not 0 <= seed < 2**32:
                raise UserError(f"Expected `{name}` between 0 and 2**32 - 1, but got {seed}.")


def typed_command() -> str:
    """The command as the user typed it, for reports and for running it again."""
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    return " ".join(f"'{word}'" if " " in word else word for word in words)
