"""`assay report`: the page of one run of any question, or of several side by side."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import UserError
from pipelines.report.forms import form_of
from pipelines.report.model_card import STATABLE, read_stated
from pipelines.report.result import Result, load_result
from pipelines.report.terminal import print_result
from pipelines.tracking.location import database_of, resolved_uri
from pipelines.tracking.store import connected


def main(words: list[str]) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="assay report",
        description="Writes a report about one run of any question, or several side by side. "
        "`assay compare` tests which is better, and refuses what was not asked alike.",
    )
    parser.add_argument("runs", nargs="*", help="run ids or folders; default: the newest result")
    parser.add_argument(
        "--out",
        type=Path,
        action="extend",
        nargs="+",
        help="files to write: .html (default: report.html), .md (with figures/ beside it), .json, "
        ".pdf (needs Chromium or Chrome), or MODEL_CARD.md",
    )
    parser.add_argument(
        "--model_card",
        type=Path,
        help=f"YAML file of what only you can state about the model: {', '.join(STATABLE)}",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--tracking.uri", dest="uri", help="of the MLflow store")
    chosen = parser.parse_args(words)
    runs = chosen.runs or [str(newest(chosen.root))]
    files = chosen.out or [Path("report.html")]
    report(runs, files, chosen.root, chosen.uri, chosen.model_card)
    return 0


def report(
    runs: Sequence[str],
    out: Path | Sequence[Path],
    root: Path = Path(),
    uri: str | None = None,
    model_card: Path | None = None,
) -> list[Result]:
    """Writes the report of results in every form asked for, and returns them.

    Args:
        runs: MLflow run ids, or folders with a `result.json`.
        out: files to write; the form is told by the ending, see `form_of`.
        root: folder that holds `mlruns/`.
        uri: of the MLflow store; see `resolved_uri`.
        model_card: file of what the user states; see `read_stated`.

    Raises:
        UserError: a run is not there or holds no result, or a file cannot be written like that.
    """
    files = [out] if isinstance(out, Path) else list(out)
    writers = [form_of(file) for file in files]
    stated = read_stated(model_card) if model_card else None
    with tempfile.TemporaryDirectory() as scratch:
        results = [load_run(run, root, uri, Path(scratch) / str(i)) for i, run in enumerate(runs)]
    for result in results:
        print_result(result)
    print()
    for file, write in zip(files, writers, strict=True):
        print(f"report   {write(results, file, stated)}")
    return results


def newest(root: Path) -> Path:
    """Returns the folder of the result written last.

    Raises:
        UserError: there is none.
    """
    files = list((root / "mlruns" / "results").glob("*/result.json"))
    if not files:
        raise UserError(
            f"There is no result below {str((root / 'mlruns').resolve())!r}: run `assay evaluate` "
            "there, or name a run."
        )
    return max(files, key=lambda file: file.stat().st_mtime).parent


def load_run(run: str, root: Path, uri: str | None, scratch: Path) -> Result:
    """Reads a folder, or downloads a run; of a run without a result its child is meant.

    Args:
        run: folder with a `result.json`, or MLflow run id.
        root: folder that holds `mlruns/`.
        uri: of the MLflow store; see `resolved_uri`.
        scratch: folder to download to, which is not there yet.

    Raises:
        UserError: the run is not there or holds no result.
    """
    if Path(run).is_dir():
        return load_result(Path(run))
    where = resolved_uri(uri, root)
    database = database_of(where)
    if database is not None and not database.is_file():  # opening it would make an empty one
        raise UserError(
            f"There is no folder {run!r}, and no run of that id, as {str(database)!r} does not "
            "exist: name a folder with a result, or `--root` or `--tracking.uri`."
        )
    return _downloaded(run, where, scratch)


def _downloaded(run: str, uri: str, scratch: Path) -> Result:
    from mlflow.exceptions import MlflowException

    client = connected(uri)
    try:
        run_info = client.get_run(run)
        children = client.search_runs(
            [run_info.info.experiment_id], f"tags.mlflow.parentRunId = '{run}'"
        )
        for candidate in (run_info, *children):
            files = client.list_artifacts(candidate.info.run_id)
            if any(file.path == "result.json" for file in files):
                scratch.mkdir(parents=True)
                client.download_artifacts(candidate.info.run_id, "", str(scratch))
                return load_result(scratch)
    except MlflowException as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"There is no run {run!r} in {uri}: {reason}") from error
    raise UserError(f"Run {run!r} holds no result: name one that an Assay command made.")
