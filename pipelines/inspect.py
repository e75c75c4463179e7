"""`assay inspect FILE`: what is in a checkpoint, and the command to type for it."""

import json
from pathlib import Path

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
    chosen = parser.parse_args(words)
    if not chosen.file.exists():
        raise UserError(f"There is no file {str(chosen.file)!r}.")
    inspection = inspect_checkpoint(chosen.file)
    print(json.dumps(inspection.facts(), indent=2) if chosen.json else as_text(inspection))
    return 0


def as_text(inspection: Inspection) -> str:
    """Lays an inspection out for a terminal."""
    return str(inspection)
