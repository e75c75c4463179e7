"""`assay inspect FILE`: what is in a checkpoint, and the command to type for it."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from datamodules.errors import UserError
from lightning_modules.checkpoint_inspection import Inspection, inspect_checkpoint


def main(words: list[str]) -> int:
    """Runs the command line."""
    parser = ArgumentParser(
        prog="assay inspect",
        description="Looks into a checkpoint without executing anything in it.",
    )
    parser.add_argument("file", type=Path, help="a file or folder of weights")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--data",
        help="NAME or NAME:FOLDER: load the model and try how it wants to see these images",
    )
    parser.add_argument("--arch", help="with --data: the architecture, where it is not guessed")
    parser.add_argument("--weights", help="with --data: the set of weights to take, e.g. ema")
    parser.add_argument(
        "--trust_pickle", action="store_true", help="with --data: let the file execute code"
    )
    chosen = parser.parse_args(words)
    if not chosen.file.exists():
        raise UserError(f"There is no file {str(chosen.file)!r}.")
    _check_heeded(chosen)
    inspection = inspect_checkpoint(chosen.file)
    facts = inspection.facts() | (_tried(chosen, inspection) if chosen.data else {})
    print(json.dumps(facts, indent=2) if chosen.json else as_text(inspection, facts))
    return 0


def _check_heeded(chosen: Namespace) -> None:
    """Refuses what says how to load the model where it is not loaded."""
    said = [name for name in ("arch", "weights", "trust_pickle") if getattr(chosen, name)]
    if said and not chosen.data:
        raise UserError(
            f"Got --{said[0]} without --data, but the model is loaded only to try it on images: "
            "add --data NAME, or leave it out."
        )


def as_text(inspection: Inspection, facts: dict[str, Any] | None = None) -> str:
    """Lays an inspection out for a terminal, with what was tried on data where it was."""
    if not facts or "readings" not in facts:
        return str(inspection)
    lines = [f"  {line['accuracy']:>6.1%}  {_reading(line)}" for line in facts["readings"]]
    told = [f"note          {note}" for note in facts["told"]]
    told += [f"WARNING       {sentence}" for sentence in facts["sentences"]]
    return "\n".join([str(inspection), "", f"input         {facts['input']}", *lines, *told])


def _reading(line: dict[str, Any]) -> str:
    """A line of the table of readings: images, name, flag."""
    early = f"{line['n']} images"
    return f"{early:<10}  {line['reading']}" + (f"  {line['flag']}" if line["flag"] else "")


def _tried(chosen: Namespace, inspection: Inspection) -> dict[str, Any]:
    """Loads the model and answers some images under the usual readings."""
    from callbacks.door import door_check
    from datamodules import open_data
    from lightning_modules import load_classifier

    data = open_data(chosen.data)
    guessed = None if inspection.brings_network else inspection.architecture
    classifier = load_classifier(
        f"checkpoint:{chosen.file}",
        arch=chosen.arch or guessed,
        data_classes=data.classes,
        preprocessing=data.preprocessing,
        trust_pickle=chosen.trust_pickle,
        weights=chosen.weights,
    ).eval()
    data.adopt(classifier.preprocessing)
    checked = door_check(classifier, data)
    return {
        "input": classifier.input_line,
        "readings": checked.input.table.to_dict("records"),
        "told": classifier.notes,
        "sentences": checked.sentences,
    }
