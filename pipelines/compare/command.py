"""`assay compare`: several runs on the same test images, with paired tests and a leaderboard."""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from callbacks.shards import fingerprint
from datamodules.disk import disk_errors
from datamodules.errors import UserError
from pipelines.cli import COMMANDS
from pipelines.compare.changed_sides import stored_files, with_files
from pipelines.compare.question import compared
from pipelines.compare.result import Comparison
from pipelines.report.about import About, now
from pipelines.report.command import load_run
from pipelines.report.figures import save_png
from pipelines.report.page import model_names, write_page
from pipelines.report.result import Result, save_result
from pipelines.report.terminal import print_result
from pipelines.study.arguments import typed_command
from pipelines.study.log import log_result, tags_of
from pipelines.study.names import slug
from pipelines.tracking import (
    NotLoggedError,
    Run,
    SchemaError,
    Tracking,
    UnreachableError,
    open_store,
    started,
)

_NEWEST = "newest"


def main(words: list[str]) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="assay compare",
        description="Says which of several models is better, at what, and how far that can be "
        "believed: tests paired by image and corrected for all comparisons, which images changed "
        "sides, curves over each other, and of three models or more a leaderboard with intervals "
        "of the ranks. Refuses runs that were not asked alike. `assay report RUN RUN` shows whole "
        "reports side by side, in pairs, and leaves out what is not alike.",
        epilog=f"example: {COMMANDS['compare'].example}",
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN",
        help="MLflow run id, folder of a result, or newest, newest~1, ...; default: the two newest",
    )  # fmt: skip
    parser.add_argument("--baseline", help="run the others stand against; default: the first")
    parser.add_argument(
        "--common", action="store_true", help="leave out what was not asked alike, and say what"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap of the ranks")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="page to write")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--tracking.uri", dest="uri", help="of the MLflow store")
    parser.add_argument(
        "--tracking.enabled", dest="enabled", choices=("true", "false"), default="true",
        help="false keeps the comparison on disk only",
    )  # fmt: skip
    chosen = parser.parse_args(words)
    runs = chosen.runs or [f"{_NEWEST}~1", _NEWEST]
    tracking = Tracking(chosen.uri, enabled=chosen.enabled == "true")
    compare(
        runs, chosen.baseline, chosen.common, chosen.out, chosen.root, tracking, chosen.seed,
        command=typed_command(),
    )  # fmt: skip
    return 0


def compare(
    runs: Sequence[str | Path | Result],
    baseline: str | None = None,
    common: bool = False,
    out: Path | None = None,
    root: Path = Path(),
    tracking: Tracking | None = None,
    seed: int = 0,
    command: str = "",
) -> Comparison:
    """Compares runs image by image, writes the page and logs a run of its own.

    Args:
        runs: MLflow run ids, folders with a `result.json`, `newest`, `newest~1`, or results.
        baseline: one of the runs, or a further one; default: the first.
        common: restrict to what all were asked alike, instead of refusing what was not.
        out: page to write besides that of the result.
        root: folder that holds `mlruns/`.
        tracking: where it is logged.
        seed: of the bootstrap.
        command: as typed; it is told on the terminal then.

    Raises:
        UserError: fewer than two runs, a run that is not there, runs that cannot be paired.
    """
    begun, tracking = time.perf_counter(), tracking or Tracking()
    asked = list(dict.fromkeys(runs)) if all(isinstance(run, str) for run in runs) else list(runs)
    if len(asked) < len(runs):
        raise UserError(f"Expected different runs, but got {', '.join(map(str, runs))}.")
    if baseline is not None:
        asked = [baseline, *(run for run in asked if run != baseline)]
    if len(asked) < 2:
        raise UserError("Expected at least two runs to compare; `assay report` shows a single one.")
    results, sources, files = _loaded(asked, root, tracking.uri)
    named = dict(zip(model_names(results), results, strict=True))
    questions = [
        replace(question, changed=with_files(question.changed, files))
        for question in (compared(group, common, seed) for group in by_question(named))
    ]
    about = _about(named, command, seed, time.perf_counter() - begun)
    notes = [note for question in questions for note in question.notes]
    runs_read = dict(zip(named, sources, strict=True))
    comparison = Comparison(about.with_notes(notes), runs_read, questions, common)
    return _finished(comparison, out, root.resolve(), tracking)


def by_question(results: Mapping[str, Result]) -> list[dict[str, Result]]:
    """The results of each question that all runs answered.

    A result that holds those of several questions gives them as `by_question`, a mapping from the
    room to the result; any other stands for itself.

    Args:
        results: by the name of their run.

    Raises:
        UserError: no question was answered by all.
    """
    held = {
        name: getattr(one, "by_question", None) or {one.room: one} for name, one in results.items()
    }
    rooms = [room for room in next(iter(held.values())) if all(room in h for h in held.values())]
    if not rooms:
        told = "; ".join(f"{name} of {', '.join(answered)}" for name, answered in held.items())
        raise UserError(f"Expected runs of one question, but got {told}.")
    return [{name: answered[room] for name, answered in held.items()} for room in rooms]


def _loaded(
    runs: Sequence[str | Path | Result], root: Path, uri: str | None
) -> tuple[list[Result], list[str], dict[int, str]]:
    """The results, what each was read from, and the names of the test images' files by index."""
    results: list[Result] = []
    files: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for i, run in enumerate(runs):
            if isinstance(run, str | Path):
                found = _meant(str(run), root)
                place = Path(found) if Path(found).is_dir() else Path(scratch) / str(i)
                results.append(load_run(found, root, uri, Path(scratch) / str(i)))
                files = files or stored_files(place, str(results[-1].about.dataset.get("title")))
            else:
                results.append(run)
    named = [str(run) if isinstance(run, str | Path) else run.title for run in runs]
    pairs = zip(results, named, strict=True)
    return results, [result.about.run_id or name for result, name in pairs], files


def _meant(run: str, root: Path) -> str:
    """The folder that `newest` or `newest~2` stands for; anything else as it is."""
    word, _, back = run.partition("~")
    if word != _NEWEST or not (back or "0").isdecimal() or Path(run).exists():
        return run
    files = (root / "mlruns" / "results").glob("*/result.json")
    found = sorted(
        (file for file in files if not file.parent.name.startswith(f"{Comparison.room}-")),
        key=lambda file: file.stat().st_mtime, reverse=True,
    )  # fmt: skip
    if int(back or 0) >= len(found):
        raise UserError(
            f"Expected {int(back or 0) + 1} results below {str((root / 'mlruns').resolve())!r} for "
            f"{run!r}, but there are {len(found)}."
        )
    return str(found[int(back or 0)].parent)


def _about(results: Mapping[str, Result], command: str, seed: int, seconds: float) -> About:
    first = next(iter(results.values())).about
    return About(
        command=command,
        seed=seed,
        models=[{**result.about.model, "name": name} for name, result in results.items()],
        data=[first.dataset],
        environment=first.environment,
        seconds=seconds,
        created=now(),
        interrupted=any(result.about.interrupted for result in results.values()),
    )


def _finished(
    comparison: Comparison, out: Path | None, root: Path, tracking: Tracking
) -> Comparison:
    """Writes everything to disk, tells it, then logs it."""
    told = bool(comparison.about.command)
    key = fingerprint({"runs": comparison.runs, "common": comparison.common})[:8]
    name = slug(f"{Comparison.room}-{'-'.join(comparison.models)}")[:100]
    folder, store, problem = root / "mlruns" / "results" / f"{name}-{key}", None, None
    with disk_errors(root / "mlruns"):
        if tracking.enabled:
            try:
                store = open_store(tracking.uri, root, tracking.experiment)
            except (UnreachableError, SchemaError) as error:
                problem = error
        tags = {"question": Comparison.room, "model": ", ".join(comparison.models)}
        tags["data"] = str(comparison.about.dataset.get("title", ""))
        with started(store, name, tags) as run:
            comparison = replace(comparison, about=replace(comparison.about, run_id=run.run_id))
            page = _written(comparison, folder, out)
            if told:
                print_result(comparison)
                print(f"\nreport   {page}")
            log_result(run, comparison, folder)
            _log_links(run, comparison)
    if problem:
        raise NotLoggedError(f"{problem} The comparison is in {str(folder)!r}.")
    if store and told:
        print(f"MLflow   {store.link}")
    return comparison


def _written(comparison: Comparison, folder: Path, out: Path | None) -> Path:
    save_result(comparison, folder)
    for name, figure in comparison.figures().items():
        save_png(figure, folder / "figures" / f"{name}.png")
    page = write_page([comparison], folder / "report.html")
    if out is None:
        return page
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    return out


def _log_links(run: Run, comparison: Comparison) -> None:
    """Tags with the ids of the compared runs, and links to them in the run's description."""
    if run.store is None:
        return
    home = f"#/experiments/{run.store.experiment_id}/runs"
    links = [f"- [{name}]({home}/{source})" for name, source in comparison.runs.items()]
    note = "\n".join([tags_of(comparison)["mlflow.note.content"], "", "Compared:", "", *links])
    tags = {f"compared.{i}": source for i, source in enumerate(comparison.runs.values())}
    run.log_batch(tags={**tags, "mlflow.note.content": note})
