"""`assay`: finds the command, and only then imports what the command needs."""

import difflib
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """A line of the help.

    Args:
        purpose: one sentence.
        example: a command line.
    """

    purpose: str
    example: str


_RECIPES = Path(__file__).parent / "configs"
"""Trainings by name, for `--config`."""
_PHOTOS = "--data ImageFolder:photos"
COMMANDS = {
    "assess": Command(
        "ask all five questions about a model, and tell what it is made of",
        f"assay assess --model torchvision:resnet18 {_PHOTOS} --preset quick",
    ),
    "evaluate": Command(
        "measure a model in one pass over test data: clean, attacked, damaged, ...",
        f"assay evaluate --model torchvision:resnet18 {_PHOTOS} --probes clean pgd",
    ),
    "recover": Command(
        "damage a model, repair it in several ways, and measure what came back",
        "assay recover --model checkpoint:model.pt --arch lenet --data MNIST --damage zero "
        "--severities 0.1 0.3",
    ),
    "fine-tune": Command(
        "train a model on your data (full, linear probe, adversarial), then evaluate it",
        f"assay fine-tune --model torchvision:resnet18 {_PHOTOS} --tuning.mode linear_probe",
    ),
    "transfer": Command(
        "move models to other data sets in several modes: gained, lost, moved, predicted",
        "assay transfer --models checkpoint:a.pt checkpoint:b.pt --arch lenet --data Digits "
        "ImageFolder:photos",
    ),
    "explain": Command(
        "explain a model, watch it, and score how far either can be believed",
        "assay explain --model checkpoint:model.pt --arch lenet --data MNIST --limit 256",
    ),
    "distill": Command(
        "teach a smaller model what a model says, and measure what it kept",
        "assay distill --teacher checkpoint:FOLDER --student lenet --data MNIST --seeds 0 1 2",
    ),
    "federate": Command(
        "let clients with images of their own teach each other by answers to public images",
        "assay federate --clients lenet lenet lenet_wide lenet_wide --data MNIST",
    ),
    "audit": Command(
        "look at the data first: duplicates, wrong labels, imbalance, shift between splits",
        f"assay audit {_PHOTOS} --model torchvision:resnet18",
    ),
    "compare": Command(
        "say which of several models is better, at what, beyond chance; three and more are ranked",
        "assay compare RUN_ID OTHER_ID --baseline RUN_ID",
    ),
    "gate": Command(
        "pass or fail a run by a policy: thresholds, a baseline, conditions; JUnit, alias",
        "assay gate RUN_ID --policy policy.yaml --baseline models:/digits@champion "
        "--junit gate.xml --alias champion",
    ),
    "list": Command("name every data set, model source, probe and preset", "assay list probes"),
    "inspect": Command(
        "look into a checkpoint file and propose the command to type", "assay inspect model.pt"
    ),
    "report": Command(
        "write the HTML report of one or more runs, side by side", "assay report RUN_ID OTHER_ID"
    ),
    "ui": Command("open the MLflow pages on the runs of this folder", "assay ui"),
}
_LIGHT = {"list"}
"""Commands that never import torch."""

USAGE = "usage: assay COMMAND [options]        assay COMMAND --help shows the options"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code.

    0: done. 1: a defect, or a machine or store that does not take the results. 2: a user's mistake.
    130: interrupted by Ctrl-C or SIGTERM; the same command goes on. 141: nobody reads on, as after
    `| head`; what is measured is kept as ever.

    Args:
        argv: the words after `assay`; None takes them from the process.
    """
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        return 141
    return code


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"assay {version('assay')}")
        return 0
    if words[0] not in COMMANDS:
        return mistake(
            f"There is no command {words[0]!r}.{suggestion(words[0], COMMANDS)}\n{USAGE}"
        )
    words = _with_recipes(words)
    if problem := other_project() or _missing_file(words):
        return mistake(problem)
    return _run(words[0], words[1:])


def _run(command: str, words: list[str]) -> int:
    """Imports the command's pipeline and turns a user's mistake into one line and exit code 2."""
    _quiet()
    if command not in _LIGHT and any(word.startswith(("-h", "--help")) for word in words):
        print("Reading the options (this imports torch and Lightning) ...", flush=True)
    module = importlib.import_module(_module_of(command))
    if command in _LIGHT:
        return module.main(words)

    from datamodules.disk import disk_errors
    from datamodules.errors import UserError

    try:
        with disk_errors():
            return module.main(words)
    except UserError as error:
        return mistake(str(error), error.exit_code)
    except SystemExit as stop:  # --help and --print_config end the parser like this
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("assay: interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130


def _module_of(command: str) -> str:
    """A command's file, or `command.py` of its room."""
    name = command.replace("-", "_")
    room = (Path(__file__).parent / name).is_dir()
    return f"pipelines.{name}.command" if room else f"pipelines.{name}"


def _quiet() -> None:
    """Keeps what other packages say at import, and a user cannot act on, off the terminal."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # "No CUDA runtime is found", profiler
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if not os.environ.get(name, "0").isdecimal():
            del os.environ[name]  # Lightning reads them at import, and stumbles over an empty one
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="torch.utils.cpp_extension")


def mistake(message: str, code: int = 2) -> int:
    """Prints a user's mistake and returns the exit code."""
    print(f"assay: {message}", file=sys.stderr)
    return code


def suggestion(word: str, known: Iterable[str]) -> str:
    """`datamodules.errors.suggestion` before any heavy import."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "assay: find out what a pre-trained image classifier is made of",
            "",
            USAGE,
            "",
            *(f"  {name:<{width}}  {command.purpose}" for name, command in COMMANDS.items()),
            "",
            f"  {COMMANDS['evaluate'].example}",
        ]
    )


def _with_recipes(words: Sequence[str]) -> list[str]:
    """Turns `--config pgd_at`, where there is no such file, into the recipe of that name."""
    named: list[str] = []
    for word in words:
        flag, _, name = word.rpartition("=")
        recipe = _RECIPES / f"{name}.yaml"
        asked = flag == "--config" or (not flag and named[-1:] == ["--config"])
        known = asked and not Path(name).exists() and recipe.is_file()
        named.append(word.removesuffix(name) + str(recipe) if known else word)
    return named


def _parts(word: str) -> list[str]:
    """`--flag` and its value; a value alone may hold an equals sign."""
    return word.split("=", 1) if word.startswith("--") else [word]


def _missing_file(words: Sequence[str]) -> str:
    """A file or folder that was named and is not there: told before seconds of imports."""
    flag = ""
    for word in (part for given in words for part in _parts(given)):
        if word.startswith("--"):
            flag = word
            continue
        kind, _, rest = word.partition(":")
        if flag == "--config" and not Path(word).is_file():
            recipes = [file.stem for file in _RECIPES.glob("*.yaml")]
            return f"There is no file {word!r} for `--config`.{suggestion(word, recipes)}"
        if kind == "checkpoint" and not Path(rest).expanduser().exists():
            return f"There is no file {rest!r} (`{flag}`, checkpoint:FILE or FOLDER)."
        if kind == "ImageFolder" and rest and not Path(rest).expanduser().is_dir():
            return f"There is no folder {rest!r} (`{flag}`, ImageFolder:FOLDER)."
    return ""


def other_project() -> str:
    """Other projects own folders named like ours; says so when one of them would be imported."""
    home = Path(__file__).resolve().parents[1]
    for name in ("datamodules", "lightning_modules", "callbacks"):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        if not any(Path(place).resolve().parent == home for place in places):
            return (
                f"The package {name!r} that Python finds is not Assay's ({', '.join(places)}): "
                "start from another folder, or import Assay before it."
            )
    return ""


if __name__ == "__main__":
    sys.exit(main())
