"""`assay`: finds the command, and only then imports what the command needs."""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = {
    "evaluate": "measure a model in one pass over test data: clean, attacked, ...",
    "recover": "damage a model, repair it in several ways, and measure what came back",
    "fine-tune": "train a model on your data (full, linear probe, adversarial), then evaluate it",
    "transfer": "move models to other data sets in several modes: gained, lost, moved, predicted",
    "explain": "explain a model, watch it, and score how far either can be believed",
    "distill": "teach a smaller model what a model says, and audit what it kept",
    "list": "name every data set, model source, probe and preset",
    "inspect": "look into a checkpoint file and propose the command to type",
    "report": "write the HTML report of one or more runs, side by side",
    "ui": "open the MLflow pages on the runs of this folder",
}
_LIGHT = {"list"}  # commands that never import torch

USAGE = "usage: assay COMMAND [options]        assay COMMAND --help shows the options"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, 1 on a defect, 2 on a user's mistake.

    Args:
        argv: the words after `assay`; None takes them from the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"assay {version('assay')}")
        return 0
    if words[0] not in COMMANDS:
        return _mistake(
            f"There is no command {words[0]!r}.{suggestion(words[0], COMMANDS)}\n{USAGE}"
        )
    if stranger := _stranger():
        return _mistake(stranger)
    return _run(words[0], words[1:])


def suggestion(word: str, known: Sequence[str] | dict) -> str:
    """Returns " Did you mean 'x'?" for the closest known word, else the known words."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."


def _run(command: str, words: list[str]) -> int:
    """Imports the command's pipeline and turns a user's mistake into one line and exit code 2."""
    if command not in _LIGHT and {"-h", "--help"} & set(words):
        print("Reading the options (this imports torch and Lightning) ...", flush=True)
    module = importlib.import_module(_module_of(command))
    if command in _LIGHT:
        return module.main(words)

    from datamodules.errors import UserError

    try:
        return module.main(words)
    except UserError as mistake:
        return _mistake(str(mistake))
    except SystemExit as stop:  # --help and --print_config end the parser like this
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("assay: interrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130


def _module_of(command: str) -> str:
    """A command's file, or `command.py` of its room."""
    name = f"pipelines.{command.replace('-', '_')}"
    spec = importlib.util.find_spec(name)
    return f"{name}.command" if spec and spec.submodule_search_locations else name


def _mistake(message: str) -> int:
    print(f"assay: {message}", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "assay: find out what a pre-trained image classifier is made of",
            "",
            USAGE,
            "",
            *lines,
            "",
            "  assay evaluate --model torchvision:resnet18 --data ImageFolder --data.root photos",
        ]
    )


def _stranger() -> str | None:
    """Other projects own folders named like ours; says so when one of them would be imported."""
    home = Path(__file__).resolve().parents[1]
    for name in ("datamodules", "lightning_modules", "callbacks"):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        if not any(Path(place).resolve().parent == home for place in places):
            return (
                f"The package {name!r} that Python finds is not Assay's ({', '.join(places)}): "
                "start the program from another folder."
            )
    return None


if __name__ == "__main__":
    sys.exit(main())
