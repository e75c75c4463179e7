"""Where a process runs: ranks of somebody else's job, no home, no user, the C locale."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

Assay = Callable[..., tuple[int, str, str]]
_REPOSITORY = Path(__file__).resolve().parents[3]
_RANKS = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "SLURM_PROCID": "3"}
_HOSTILE = """
import pwd, sys
def nobody(uid): raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
from pipelines.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""What `docker run --user 12345` gives: a number that the password database does not know."""


def words(lenet: Path, *more: str) -> list[str]:
    return [
        *("evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"),
        *("--data.limit", "12", "--probes", "clean", "--tracking.tensorboard", "true", *more),
    ]


def told(out: str) -> list[str]:
    """What a run prints, without what differs from one folder and process to the other."""
    return [re.sub(r"(root|board|report|data|MLflow) .*", r"\1", line) for line in out.splitlines()]


def logged(root: Path) -> tuple[list[str], int, int, set[str]]:
    """Status of the runs, how many metrics and event files, and the names of the artifacts."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("assay")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    metrics = sum(len(run.data.metrics) for run in runs)
    events = len(list((root / "mlruns" / "tensorboard").rglob("events.*")))
    files = {file.path for run in runs for file in client.list_artifacts(run.info.run_id)}
    return [run.info.status for run in runs], metrics, events, files


def test_a_single_process_is_rank_0_whatever_the_environment_says(
    assay: Assay, home: Path, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, expected, err = assay(*words(lenet))
    assert code == 0, err
    everything = logged(home)
    assert everything[0] == ["FINISHED"]
    assert everything[2] == 1
    for name, value in _RANKS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 3)  # as at import
    code, out, err = assay(*words(lenet, "--root", "other", "--fresh", "true"))
    assert code == 0, err
    assert told(out) == told(expected)
    assert logged(home / "other") == everything
    shards = [len(list(root.glob("mlruns/resume/*/*.parquet"))) for root in (home, home / "other")]
    assert shards[0] == shards[1] > 0


def test_a_job_that_contradicts_the_flags(
    assay: Assay, lenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "3")
    code, _, err = assay(*words(lenet))
    assert code == 2
    assert "The Trainer refuses its flags: You set `--ntasks=4`" in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("surroundings", [{}, {"HOME": "/proc/none/home"}], ids=["no", "closed"])
def test_no_home_no_user_no_locale_and_a_rank(
    home: Path, lenet: Path, surroundings: dict[str, str]
) -> None:
    names = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment |= {**_RANKS, **locale, **surroundings, "JSM_NAMESPACE_RANK": ""}
    environment["PYTHONPATH"] = str(_REPOSITORY)
    command = [sys.executable, "-c", _HOSTILE, *words(lenet)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, err
    assert "Traceback" not in err
    assert "MLflow   assay ui" in out
    status, metrics, events, files = logged(home)
    assert (status, events) == (["FINISHED"], 1)
    assert metrics > 5
    assert "report.html" in files
