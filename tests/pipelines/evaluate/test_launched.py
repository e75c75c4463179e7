"""`assay evaluate` as clusters start it: by torchrun, and as one process on each of two nodes."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from killing import finished_runs

from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result

CHECKOUT = Path(__file__).resolve().parents[3]
COMMAND = (
    "-m pipelines.cli evaluate --model lenet --data Digits --data.limit 101 --probes clean fgsm "
    "--trainer.accelerator cpu"
).split()  # an odd number of images: one rank has one more
DDP = "--trainer.strategy ddp --trainer.devices".split()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(home: Path, words: Sequence[str], **more: str) -> subprocess.Popen[str]:
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(
        [sys.executable, *words], cwd=home, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(*processes: subprocess.Popen[str]) -> list[str]:
    """What each of them said; all must succeed."""
    outputs = [process.communicate(timeout=250)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(outputs), outputs
    return outputs


def torchrun(home: Path) -> list[str]:
    run = "-m torch.distributed.run --standalone --nproc-per-node 2".split()
    return ended(started(home, [*run, *COMMAND, *DDP, "2"]))


def two_nodes(home: Path) -> list[str]:
    """What a launcher sets on each node, see Lightning's LightningEnvironment."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    words = [*COMMAND, *DDP, "1", "--trainer.num_nodes", "2"]
    return ended(*(started(home, words, NODE_RANK=str(rank), **where) for rank in range(2)))


def rows(home: Path) -> dict[str, pd.DataFrame]:
    """Of every probe, without times."""
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    result = load_result(file.parent)
    assert isinstance(result, Evaluation)
    return {probe.name: probe.rows.drop(columns="seconds") for probe in result.results}


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("launched", [torchrun, two_nodes])
def test_the_rows_of_one_process_in_one_run(launched: object, tmp_path: Path) -> None:
    ended(started(tmp_path / "alone", COMMAND))
    outputs = launched(tmp_path / "several")  # type: ignore[operator]
    alone, several = rows(tmp_path / "alone"), rows(tmp_path / "several")
    assert alone.keys() == several.keys()
    assert {"clean", "fgsm_linf"} < alone.keys(), "what they say of masking has rows, too"
    for name, table in alone.items():
        assert len(table) > 0
        pd.testing.assert_frame_equal(table, several[name], check_exact=True)
    assert len(finished_runs(tmp_path / "several")) == 1
    assert "".join(outputs).count("\nreport   ") == 1
    assert len(list(tmp_path.glob("several/mlruns/results/*/report.html"))) == 1
