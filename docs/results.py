"""Writes the tables of `results.md` from stored runs: `python docs/results.py [--root FOLDER]`.

`results.yaml` names for each table the folders of its runs below `mlruns/results/` (of several
that a pattern fits the newest) and the headline numbers to show. A run that is not on this machine
leaves its table as it stands, and that is said: a table is never typed.
"""

import argparse
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
BLOCK = "<!-- written: {name} -->\n{text}\n<!-- end: {name} -->"


def main() -> None:
    """Writes the page anew and says which tables were written and which were left."""
    parser = argparse.ArgumentParser(description="Writes docs/results.md from stored runs.")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--page", type=Path, default=HERE / "results.md", help="page to write")
    chosen = parser.parse_args()
    tables = yaml.safe_load((HERE / "results.yaml").read_text())
    page = written(chosen.page.read_text(), tables, chosen.root / "mlruns" / "results")
    chosen.page.write_text(page)


def written(page: str, tables: Mapping[str, Any], results: Path) -> str:
    """Returns the page with the tables of those runs that there are.

    Args:
        page: with a pair of comments round each table.
        tables: what `results.yaml` says.
        results: folder of the runs' folders.

    Raises:
        ValueError: the page has no place for a table.
    """
    for name, table in tables.items():
        place = re.compile(
            re.escape(BLOCK).replace(r"\{name\}", name).replace(r"\{text\}", "(.*?)"), re.DOTALL
        )
        if not place.search(page):
            raise ValueError(f"{name}: expected its pair of comments in the page.")
        files = {label: newest(results, run) for label, run in table["runs"].items()}
        missing = [table["runs"][label] for label, file in files.items() if file is None]
        if missing:
            print(f"left     {name}: there is no {results / missing[0] / 'result.json'}")
            continue
        read = {label: json.loads(file.read_text()) for label, file in files.items() if file}
        text = as_markdown(read, table["numbers"], table.get("across", False))
        block = BLOCK.format(name=name, text=text)
        page = place.sub(lambda _, block=block: block, page)
        print(f"written  {name}")
    return page


def newest(results: Path, run: str) -> Path | None:
    """The `result.json` of the newest folder that a pattern fits; None where there is none."""
    files = results.glob(f"{run}/result.json")
    return max(files, key=lambda file: file.stat().st_mtime, default=None)


def as_markdown(
    runs: Mapping[str, Mapping[str, Any]], numbers: Mapping[str, str], across: bool = False
) -> str:
    """Lays results out: a line a run, a column a number, then what each was made by.

    Args:
        runs: `result.json` by label.
        numbers: title of each column by the key of its headline number.
        across: a line a number and a column a run, where there are many numbers.
    """
    lines = [["", *numbers.values()]]
    lines += [
        [label, *(cell(run["headline"].get(key)) for key in numbers)] for label, run in runs.items()
    ]
    lines = [list(line) for line in zip(*lines, strict=True)] if across else lines
    lines.insert(1, ["---"] * len(lines[0]))
    made = [
        f"{label}: `{run['about']['command']}`, {run['about']['created'][:10]}, seed "
        f"{run['about']['seed']}, torch {run['about']['environment']['torch']} on "
        f"{run['about']['environment']['device']}."
        for label, run in runs.items()
    ]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *made])


def cell(number: Mapping[str, Any] | None) -> str:
    """`94.4 [92.2, 96.1]` of a share in per cent, three decimals of any other; a dash for none."""
    if number is None:
        return "-"
    share = number["unit"] == "%"
    ends = [number["interval"][end] for end in ("value", "low", "high")]
    shown = [_text(end, share) for end in ends]
    if shown[0] is None:
        return "-"
    known = shown[1] is not None and shown[2] is not None
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if known else str(shown[0])


def _text(value: float | None, share: bool) -> str | None:
    if value is None or not math.isfinite(value):
        return None
    return f"{100 * value:.1f}" if share else f"{value:.3f}"


if __name__ == "__main__":
    main()
