"""How much faster two workers of Ray finish a transfer matrix than one, with the same tables.

`python tests/benchmarks/engine_speed.py [steps] [kind]` moves two built-in networks to the digits
of scikit-learn in several modes: 2 x (1 + 4 modes x 3 seeds) cells, with at least so many steps in
each training. Everything is counted: start of the engine and import by the workers, too. One thread
each; two cores must be free. The bar is a ratio of 0.65.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pipelines.report.result import load_result

BAR = 0.65
COMMAND = (
    "-m pipelines.cli transfer --models lenet cifar_resnet20 --data Digits --seeds 0 1 2 "
    "--modes full last_k l2_sp staged --trainer.max_epochs 1 --trainer.accelerator cpu "
    "--tracking.enabled false --engine.threads 1"
)
OF_KIND = {"ray": "", "submitit": "--engine.cluster local"}


def seconds(home: Path, steps: int, kind: str, workers: int) -> float:
    """How long the command takes in an empty folder."""
    home.mkdir()
    more = f"--min_steps {steps} --engine.kind {kind} --engine.workers {workers} {OF_KIND[kind]}"
    words = [sys.executable, *COMMAND.split(), *more.split()]
    start = time.perf_counter()
    with (home / "log.txt").open("w") as log:
        subprocess.run(words, cwd=home, stdout=log, stderr=log, check=True)
    return time.perf_counter() - start


def tables(home: Path) -> dict[str, pd.DataFrame]:
    """Every number but times."""
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    made = load_result(file.parent).tables()
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in made.items()}


def main(steps: int, kind: str) -> None:
    """Prints times, ratio and load."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with TemporaryDirectory() as folder:
        homes = {workers: Path(folder) / str(workers) for workers in (1, 2)}
        taken = {}
        for workers, home in homes.items():
            taken[workers] = seconds(home, steps, kind, workers)
            load = os.getloadavg()[0]
            print(f"{workers} {kind}: {taken[workers]:6.1f} s   load {load:.1f}", flush=True)
        one, two = (tables(home) for home in homes.values())
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, two[name], check_exact=True)
    ratio = taken[2] / taken[1]
    print(f"tables are the same; ratio {ratio:.2f} (bar: at most {BAR})")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    main(int(given.get(1, 600)), given.get(2, "ray"))
