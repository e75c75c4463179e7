"""`assay gate`: passes or fails a run by a policy, for a build server and the model registry."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from datamodules.errors import UserError
from pipelines.cli import COMMANDS
from pipelines.gate.junit import write_junit
from pipelines.gate.policy import Policy, policy_of, read_policy
from pipelines.gate.registry import mark, run_of_model, version_of_run
from pipelines.gate.verdict import Verdict, judged
from pipelines.report.command import load_run
from pipelines.report.result import Result
from pipelines.report.terminal import plain_console, print_sheet
from pipelines.tracking import NotLoggedError, TrackingError
from pipelines.tracking.location import database_of, resolved_uri
from pipelines.tracking.store import connected, store_errors
from pipelines.tracking.trouble import innermost

_PROSE = 110
_MOST = 4900
"""Letters of a tag; MLflow takes 5,000 at least."""


def main(words: list[str]) -> int:
    """Runs the command line: 0 the run passes, 1 it fails, 2 a mistake of the user."""
    parser = argparse.ArgumentParser(
        prog="assay gate",
        description="Holds a run against a policy: thresholds by the end of the interval that is "
        "worse, a baseline that it must not be worse than beyond chance, and conditions. Exit code "
        "0: it passes; 1: it fails; 2: something has to be typed otherwise. What was not measured "
        "fails.",
        epilog=f"example: {COMMANDS['gate'].example}",
    )
    parser.add_argument("run", metavar="RUN", help="MLflow run id, or folder of a result")
    parser.add_argument("--policy", type=Path, required=True, help="YAML file")
    parser.add_argument(
        "--baseline", help="run id, folder, models:/NAME@ALIAS; default: that of the policy"
    )
    parser.add_argument("--junit", type=Path, help="JUnit XML to write, a test case a rule")
    parser.add_argument("--alias", help="that the registered model version gets if it passes")
    parser.add_argument("--tag", metavar="NAME=VALUE", help="that it gets if it passes")
    parser.add_argument(
        "--model_version", metavar="NAME/VERSION", help="default: that of the run's model"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--tracking.uri", dest="uri", help="of the MLflow store")
    chosen = parser.parse_args(words)
    verdict = gate(
        chosen.run, chosen.policy, chosen.baseline, chosen.junit, chosen.alias, chosen.tag,
        chosen.model_version, chosen.root, chosen.uri, tell=True,
    )  # fmt: skip
    return 0 if verdict.passed else 1


def gate(
    run: str | Path | Result,
    policy: Path | str | dict[str, Any] | Policy,
    baseline: str | Path | Result | None = None,
    junit: Path | None = None,
    alias: str | None = None,
    tag: str | None = None,
    model_version: str | None = None,
    root: Path = Path(),
    uri: str | None = None,
    tell: bool = False,
) -> Verdict:
    """Holds a run against a policy and logs the verdict to the run.

    Args:
        run: MLflow run id, folder with a `result.json`, or a result, of any question.
        policy: YAML file, what one holds, or a policy.
        baseline: the same as `run`, or `models:/NAME@ALIAS`; default: that of the policy.
        junit: file to write.
        alias: that the registered version of the run's model gets if the run passes.
        tag: `NAME=VALUE` that it gets.
        model_version: `NAME/VERSION`; default: the version that the run is the source of.
        root: folder that holds `mlruns/`.
        uri: of the MLflow store; see `resolved_uri`.
        tell: print the table and what it means.

    Raises:
        UserError: a policy that means nothing, a run or version that is not there.
        NotLoggedError: the store does not take the verdict, which was told before.
    """
    begun, store = time.perf_counter(), resolved_uri(uri, root)
    asked = _asked(policy)
    against = baseline if baseline is not None else asked.baseline and asked.baseline.run
    if (asked.baseline is None) != (against is None):
        there = "`baseline` in the policy" if asked.baseline is None else "a baseline run"
        raise UserError(f"Expected {there} as well: `--baseline RUN` is judged by its rules.")
    if model_version and not (alias or tag):
        raise UserError("Expected `--alias` or `--tag` to set on `--model_version`.")
    pair = _pair(tag)
    result, base = _loaded(run, against, root, store)
    run_id = result.about.run_id
    version = version_of_run(run_id, model_version, store) if alias or pair else None
    names = {"run": run_id or _name(run), "baseline": _name(against) if against else ""}
    verdict = judged(asked, result, base, names)
    if tell:
        _tell(verdict)
    if junit is not None:
        write_junit(verdict, junit, time.perf_counter() - begun)
    _log(verdict, run_id, store, tell)
    if version is not None and verdict.passed and run_id is not None:
        done = mark(version, store, run_id, alias, pair)
        if tell:
            print(f"set      {done}")
    elif version is not None and tell:
        print(f"not set  version {version.version} of {version.name} stays as it was")
    return verdict


def _asked(policy: Path | str | dict[str, Any] | Policy) -> Policy:
    if isinstance(policy, Policy):
        return policy
    return policy_of(policy) if isinstance(policy, dict) else read_policy(Path(policy))


def _loaded(
    run: str | Path | Result, against: str | Path | Result | None, root: Path, store: str
) -> tuple[Result, Result | None]:
    results: list[Result | None] = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, one in enumerate((run, against)):
            if isinstance(one, str | Path):
                meant = run_of_model(str(one), store)
                results.append(load_run(meant, root, store, Path(scratch) / str(i)))
            else:
                results.append(one)
    result, base = results
    assert result is not None
    return result, base


def _name(run: str | Path | Result) -> str:
    return str(run) if isinstance(run, str | Path) else run.about.run_id or run.title


def _pair(tag: str | None) -> tuple[str, str] | None:
    if tag is None:
        return None
    name, equals, value = tag.partition("=")
    if not name or not equals:
        raise UserError(f"Expected `--tag` as NAME=VALUE, but got {tag!r}.")
    return name, value


def _tell(verdict: Verdict) -> None:
    print_sheet(verdict.sheet)
    console = plain_console()
    for sentence in verdict.sentences():
        console.print(sentence, highlight=False, markup=False, width=min(console.width, _PROSE))


def _knows(store: str, run_id: str) -> bool:
    """Whether the store has the run: a folder may have come from another machine."""
    from mlflow.exceptions import MlflowException

    database = database_of(store)
    if database is not None and not database.is_file():  # opening it would make an empty one
        return False
    try:
        connected(store).get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise NotLoggedError(f"The verdict cannot be logged ({innermost(error)}).") from error
        return False
    return True


def _log(verdict: Verdict, run_id: str | None, store: str, tell: bool) -> None:
    """Tags the judged run and keeps all rules beside its result, where the store knows it."""
    if run_id is None or not _knows(store, run_id):
        if tell:
            print(f"not logged: the store {store} does not know the run")
        return
    from mlflow.entities import RunTag

    word = "passed" if verdict.passed else "failed"
    tags = {"gate": word, "gate.failed": "; ".join(one.name for one in verdict.failed)[:_MOST]}
    tags["gate.baseline"] = verdict.baseline
    try:
        with store_errors(f"The verdict cannot be logged to run {run_id!r}"):
            client = connected(store)
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            client.log_text(run_id, json.dumps(verdict.as_dict(), indent=1), "gate/gate.json")
    except TrackingError as error:
        raise NotLoggedError(f"{error} It {word}.") from error
