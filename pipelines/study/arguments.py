"""A pipeline's typed signature as a command line: flags, YAML, `--print_config`, short errors."""

import inspect
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Optional, Union, get_args, get_origin

import lightning as L
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser, Namespace

from datamodules import DATA, ImageDataModule
from datamodules.errors import UserError, suggestion
from datamodules.opening import known_name
from pipelines.study.config_files import check_keys_once
from pipelines.study.data_options import with_data_options

# What only Python callers give, or what is added under another type below.
_APART = ("trainer", "config", "options", "parent")
_MODELS = ("model", "student", "models", "teacher", "clients")
_DATA_SETS = ("data", "outliers", "public")
_FACTORIES = ("optimizer", "scheduler")
"""What is a class with options here, and in Python anything that makes one."""
_PERTURB_HELP = "Disturbs training images: callbacks.AdversarialTraining or GaussianNoise, in YAML."


class CommandParser(ArgumentParser):
    """Says what is wrong in one sentence, and keeps the Trainer's hundreds of lines apart."""

    example = ""
    """Under the usage of the help."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raises one short sentence instead of exiting."""
        text = _first_mistake(message.replace("Parser key", "Option").strip())
        raise UserError(f"{text}{self._hint(text)}\nSee: {self.prog} --help") from None

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Own options first, then those of data; the Trainer's are in `--help.trainer`."""
        groups = self._action_groups
        self._action_groups = [g for g in groups if not _of_trainer(g)]
        try:
            text = super().format_help(*args, **kwargs)
        finally:
            self._action_groups = groups
        example = f"Example:\n  {self.example}\n" if self.example else ""
        more = (
            "\n--help.trainer lists the flags of Lightning's Trainer (--trainer.devices 2, ...).\n"
        )
        return f"{text}\n{_data_options(self)}\n{example}{more}"

    def trainer_help(self) -> str:
        """The Trainer's flags alone."""
        groups = self._action_groups
        self._action_groups = [group for group in groups if _of_trainer(group)]
        try:
            return super().format_help()
        finally:
            self._action_groups = groups

    def options(self) -> set[str]:
        """Every option, those of the data sets included."""
        known = {option for action in self._actions for option in action.option_strings}
        nested = _parameters(ImageDataModule.__init__)
        return known | {f"--{name}.{option}" for name in _DATA_SETS for option in nested}

    def _hint(self, message: str) -> str:
        """Looks the misspelt option up among the real ones."""
        words = [word.strip("'\".,:").split("=")[0] for word in message.split()]
        known = self.options()
        strange = [word for word in words if word.startswith("--") and word not in known]
        nested = [f"--{word}" for word in words if "." in word and f"--{word}" not in known]
        candidates = strange or [word for word in nested if word.partition(".")[0] in _roots(known)]
        return suggestion(candidates[0], known) if candidates else ""


def parse(
    pipeline: Callable[..., Any],
    words: Sequence[str],
    trainer: Mapping[str, Any],
    example: str = "",
) -> dict[str, Any]:
    """Parses the command line of a pipeline into the arguments of its function.

    Args:
        pipeline: a function; its parameters become flags by their types and docstring, and those of
            its `**options` too.
        words: after the command.
        trainer: defaults of the Trainer, where they differ from Lightning's.
        example: a command line for the help.
    """
    parser = _parser(pipeline, trainer)
    parser.example = example
    if "--help.trainer" in words:
        print(parser.trainer_help())
        raise SystemExit(0)
    check_keys_once(words)
    _check_engine(pipeline, words)
    _check_factories(words)
    _check_named(pipeline, words)
    if _has_several(pipeline):
        words = with_data_options(words)
    words = _with_lists(parser, _with_folders(pipeline, words))
    parsed = parser.parse_args(words)
    config = parser.dump(parsed, skip_unset=True)
    objects = _instantiated(parser, parsed)
    objects.pop("config", None)
    arguments = {name: _plain(value) for name, value in vars(objects).items()}
    for name in set(_FACTORIES) & set(arguments):
        arguments[name] = _as_partial(arguments[name])
    _check_seeds(arguments)
    return {**arguments, "config": config}


def typed_command() -> str:
    """The command as the user typed it, for reports and for running it again."""
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    words[0] = "assay" if words[0] == "cli.py" else words[0]  # `python -m pipelines.cli`
    return shlex.join(words)


def _parser(pipeline: Callable[..., Any], trainer: Mapping[str, Any]) -> CommandParser:
    command = pipeline.__name__.replace("_", "-")
    parser = CommandParser(
        prog=f"assay {command}",
        usage=f"assay {command} [--config FILE] [--print_config] [options]",
        description=(pipeline.__doc__ or "").split("\n")[0],
        env_prefix="ASSAY",
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file, or a recipe by name (assay list recipes); later flags override it.",
    )
    own, told = inspect.signature(pipeline).parameters, _told(pipeline)
    kinds = {name: _kind(name, own[name]) for name in (*_MODELS, *_DATA_SETS) if name in own}
    special = {*_APART, *kinds, "perturb"} & set(own)
    for name, kind in kinds.items():
        required = own[name].default is inspect.Parameter.empty
        parser.add_argument(
            f"--{name}", type=kind if required else Optional[kind], required=required,  # noqa: UP045
            help=told.get(name, ""),
        )  # fmt: skip
    skip: set[str | int] = {*special, *_APART, "tracking"}
    parser.add_function_arguments(pipeline, skip=skip, fail_untyped=False)
    if "perturb" in own:  # by its return type the parser would take `Perturb` for a factory
        parser.add_argument("--perturb", type=Optional[Callable[..., Any]], help=_PERTURB_HELP)  # noqa: UP045
    parser.add_class_arguments(L.Trainer, "trainer", instantiate=False, fail_untyped=False)
    _whole_numbers_first(parser)
    parser.set_defaults({f"trainer.{name}": value for name, value in trainer.items()})
    if "options" in own:
        from pipelines.study.options import DEFAULTS, Tracking

        plain = {k: v for k, v in DEFAULTS.items() if k not in (*_APART, "tracking")}
        parser.set_defaults(plain)
        parser.add_class_arguments(Tracking, "tracking")
    return parser


def _whole_numbers_first(parser: CommandParser) -> None:
    """`--trainer.limit_train_batches 1` is one batch, and 1.0 is all of them.

    Python keeps one of `Optional[Union[int, float]]` and `Optional[Union[float, int]]` for both,
    that which was written first in any library, and the parser tries its types in their order.
    """
    for action in parser._actions:
        kinds = get_args(getattr(action, "_typehint", None))
        if {int, float} <= {*kinds} and get_origin(action._typehint) is Union:  # type: ignore[attr-defined]
            first = tuple(dict.fromkeys([int, *kinds]))
            action._typehint = Union[first]  # type: ignore[attr-defined]  # noqa: UP007


def _kind(name: str, parameter: inspect.Parameter) -> Any:
    """What of a model or data set the command line can say: a name, or data with options."""
    several = "list" in str(parameter.annotation)
    if name == "teacher":
        return Union[str, list[str]]  # noqa: UP007  # the parser wants a type of Python 3.10
    if name in _MODELS:
        return list[str] if several else str
    return list[str | ImageDataModule] if several else ImageDataModule


def _told(pipeline: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each parameter."""
    documented = parse_docstring(pipeline.__doc__ or "")
    return {
        param.arg_name: (param.description or "").replace("\n", " ") for param in documented.params
    }


def _with_folders(pipeline: Callable[..., Any], words: Sequence[str]) -> list[str]:
    """Turns `--data ImageFolder:photos` into `--data ImageFolder --data.root photos`.

    A misspelt data set is answered here, before the parser would speak of paths.
    """
    own = inspect.signature(pipeline).parameters
    single = [n for n in _DATA_SETS if n in own and "list" not in str(own[n].annotation)]
    flags = {f"--{name}" for name in single}
    joined = [part for word in words for part in _split(word, flags)]
    parsed_words: list[str] = []
    for before, word in pairwise(["", *joined]):
        if before not in flags or word.startswith("{") or "." in word.partition(":")[0]:
            parsed_words.append(word)
            continue
        name, _, root = word.partition(":")
        name = known_name(name, DATA)
        parsed_words += [name, f"{before}.root", root] if root else [name]
    return parsed_words


def _split(word: str, flags: set[str]) -> list[str]:
    """`--data=MNIST` as two words."""
    flag, sign, value = word.partition("=")
    return [flag, value] if sign and flag in flags else [word]


def _has_several(pipeline: Callable[..., Any]) -> bool:
    """Whether its `data` is a list of data sets."""
    data = inspect.signature(pipeline).parameters.get("data")
    return data is not None and "list" in str(data.annotation)


def _with_lists(parser: CommandParser, words: Sequence[str]) -> list[str]:
    """Takes both forms of a list: `--probes clean fgsm` and `--probes [clean, fgsm]`."""
    kinds = {
        option: kind
        for action in parser._actions
        for option in action.option_strings
        if (kind := _item_type(getattr(action, "_typehint", None))) is not None
    }
    parsed_words: list[str] = []
    rest = [*words]
    while rest:
        word = rest.pop(0)
        if word not in kinds:
            parsed_words.append(word)
            continue
        values = []
        while rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        parsed_words.append(f"{word}={_as_list(values, *kinds[word])}")
    return parsed_words


def _item_type(hint: Any) -> tuple[bool, bool] | None:
    """Of a list: whether its items are numbers, and whether a single word may stand for itself."""
    options = (hint,) if _is_list(hint) else get_args(hint)
    lists = [option for option in options if _is_list(option)]
    if not lists:
        return None
    return get_args(lists[0])[0] in (int, float), str in options


def _is_list(hint: Any) -> bool:
    """`list[X]`, or what frozen options have instead: `tuple[X, ...]`."""
    return get_origin(hint) is list or (get_origin(hint) is tuple and Ellipsis in get_args(hint))


def _as_list(values: Sequence[str], numbers: bool, single: bool) -> str:
    if len(values) == 1 and (single or values[0].startswith("[") or values[0] == "null"):
        return values[0]
    return f"[{', '.join(values)}]" if numbers else json.dumps(list(values))


def _instantiated(parser: ArgumentParser, parsed: Namespace) -> Namespace:
    """Makes the objects; a mistake in their arguments is told without the parser's wrapping."""
    try:
        return parser.instantiate(parsed)
    except (ValueError, TypeError) as error:
        mistakes = [cause for cause in _causes(error) if isinstance(cause, UserError)]
        raise mistakes[0] if mistakes else UserError(str(error)) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it was raised from or beside."""
    if error is not None:
        yield error
        yield from _causes(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from _causes(error.__context__)


def _first_mistake(message: str) -> str:
    """The first of the lines that the parser writes about a class of the user's, else all of it."""
    head, found, rest = message.partition("Errors:\n")
    about = [name for name in _FACTORIES if f'"{name}"' in head or f"'{name}" in head]
    if not found or not about:
        return message
    first = rest.strip().removeprefix("- ").splitlines()[0]
    return f"--{about[0]} does not fit: {first}."


def _as_partial(made: Any) -> Any:
    """`partial(SGD, lr=0.01)`, which says what it is, of the parser's wrapping of it."""
    if not isinstance(made, partial) or not made.args:
        return made
    return partial(made.args[-1], **made.keywords)


def _check_engine(pipeline: Callable[..., Any], words: Sequence[str]) -> None:
    """Refuses an engine where there is nothing to share out."""
    asked = any(word.startswith("--engine") for word in words)
    if asked and "engine" not in inspect.signature(pipeline).parameters:
        name = pipeline.__name__.replace("_", "-")
        raise UserError(
            f"`assay {name}` has no cells that workers could share out, so it takes no --engine; "
            "assess, transfer, recover, distill and the sweeps of fine-tune do."
        )


def _check_factories(words: Sequence[str]) -> None:
    """Refuses a class that `torch.optim` has not, with a suggestion."""
    parts = [part for word in words for part in word.split("=", 1)]
    for flag, value in pairwise(parts):
        name = flag.removeprefix("--")
        if name not in _FACTORIES or flag == name or "." in value or value == "null":
            continue
        if value not in (known := _classes_for(name)):
            raise UserError(
                f"There is no {name} {value!r} in torch.{suggestion(value, known)} Others are "
                "named whole, like package.module.Class."
            )


def _check_named(pipeline: Callable[..., Any], words: Sequence[str]) -> None:
    """Options of data that nobody named are told so, before the parser would speak of types."""
    own = inspect.signature(pipeline).parameters
    flags = [word.partition("=")[0] for word in words]
    for name in (name for name in _DATA_SETS if name in own):
        options = [flag for flag in flags if flag.startswith(f"--{name}.")]
        if options and not {f"--{name}", "--config"} & {*flags}:
            raise UserError(
                f"Got `{options[0][2:]}` without `{name}`: name the data whose option it is, e.g. "
                f"--{name} Digits {options[0]} ..."
            )


def _classes_for(name: str) -> set[str]:
    """The optimizers or schedulers of torch."""
    import torch

    room = torch.optim if name == "optimizer" else torch.optim.lr_scheduler
    base = torch.optim.Optimizer if name == "optimizer" else torch.optim.lr_scheduler.LRScheduler
    return {
        key
        for key, one in vars(room).items()
        if isinstance(one, type) and issubclass(one, base) and one is not base and key[0] != "_"
    }


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _check_seeds(arguments: dict[str, Any]) -> None:
    """Refuses what numpy takes for no seed."""
    for name in ("seed", "seeds"):
        given = arguments.get(name)
        for seed in given if isinstance(given, list | tuple) else [given]:
            if seed is not None and not 0 <= seed < 2**32:
                raise UserError(f"Expected `{name}` between 0 and 2**32 - 1, but got {seed}.")


def _of_trainer(group: Any) -> bool:
    """Whether a group of the help is the Trainer's."""
    return any(action.dest.startswith("trainer") for action in group._group_actions)


def _roots(options: set[str]) -> set[str]:
    """`--data` of `--data.root`."""
    return {option.partition(".")[0] for option in options if "." in option}


def _parameters(function: Callable[..., Any]) -> Iterator[str]:
    return (name for name in inspect.signature(function).parameters if name != "self")


def _data_options(parser: CommandParser) -> str:
    """The options that every data set has, which the parser knows only once one is named."""
    hints = [a for a in parser._actions if "--data" in a.option_strings]
    if not hints:
        return ""
    several = _item_type(getattr(hints[0], "_typehint", None)) is not None
    told = _told(ImageDataModule)
    names = _parameters(ImageDataModule.__init__)
    lines = [f"  --data.{name:<14} {told.get(name, '')}" for name in names]
    one = (
        "--data.NAME.resize 32: of one of them"
        if several
        else "--data.help NAME lists those of one"
    )
    return "\n".join([f"Options of every data set ({one}):", *lines, ""])
