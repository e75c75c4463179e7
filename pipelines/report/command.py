"""`assay report`: the report of one run, or of several side by side."""

import tempfile
from pathlib import Path

from jsonargparse import ArgumentParser

from datamodules.errors import UserError
from pipelines.evaluate.page import write_report
from pipelines.evaluate.result import Evaluation
from pipelines.evaluate.terminal import print_summary
from pipelines.tracking.store import resolved_uri


def main(words: list[str]) -> int:
    """Runs the command line."""
    parser = ArgumentParser(
        prog="assay report",
        description="Writes one HTML file about one evaluation, or several side by side.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=str,
        help="MLflow run ids or folders; default: the newest evaluation",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--tracking.uri", dest="uri", type=str, help="of the MLflow store")
    chosen = parser.parse_args(words)
    report(chosen.runs or [newest(chosen.root)], chosen.out, chosen.root, chosen.uri)
    return 0


def report(runs: list[str], out: Path, root: Path = Path(), uri: str | None = None) -> Path:
    """Writes the report of evaluations and returns the file.

    Args:
        runs: MLflow run ids, or folders with an `evaluation.json`.
        out: file to write.
        root: folder that holds `mlruns/`.
        uri: of the MLflow store; see `resolved_uri`.

    Raises:
        UserError: a run is not there or holds no evaluation.
    """
    with tempfile.TemporaryDirectory() as scratch:
        evaluations = [
            _loaded(run, root, uri, Path(scratch) / str(i)) for i, run in enumerate(runs)
        ]
    for evaluation in evaluations:
        print_summary(evaluation)
    file = write_report(evaluations, out)
    print(f"\nreport   {file}")
    return file


def newest(root: Path) -> str:
    """Returns the folder of the evaluation written last.

    Raises:
        UserError: there is none.
    """
    found = list((root / "mlruns" / "evaluations").glob("*/evaluation.json"))
    if not found:
        raise UserError(
            f"There is no evaluation below {str((root / 'mlruns').resolve())!r}: run "
            "`assay evaluate` there, or name a run."
        )
    return str(max(found, key=lambda file: file.stat().st_mtime).parent)


def _loaded(run: str, root: Path, uri: str | None, scratch: Path) -> Evaluation:
    """Reads a folder, or downloads a run; of a pipeline's run its child is meant."""
    if Path(run).is_dir():
        return Evaluation.load(Path(run))
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(resolved_uri(uri, root))
    try:
        found = client.get_run(run)
        children = client.search_runs(
            [found.info.experiment_id], f"tags.mlflow.parentRunId = '{run}'"
        )
        for one in (found, *children):
            if any(f.path == "evaluation.json" for f in client.list_artifacts(one.info.run_id)):
                scratch.mkdir(parents=True)
                client.download_artifacts(one.info.run_id, "", str(scratch))
                return Evaluation.load(scratch)
    except MlflowException as error:
        raise UserError(
            f"There is no run {run!r} in {resolved_uri(uri, root)}: "
            f"{str(error).splitlines()[0][:160]}"
        ) from error
    raise UserError(f"Run {run!r} holds no evaluation: name one that `assay evaluate` made.")
