"""How long a comparison of twenty runs of 10,000 images takes, from folders to a page and a log.

`python tests/benchmarks/compare_speed.py`. The bar: 15 s. Each run has clean images, FGSM and PGD
at three radii; the worst case of the two is made by the comparison.
"""

import tempfile
import time
from pathlib import Path

from report_speed import made

from pipelines.compare.command import compare
from pipelines.report.result import save_result
from pipelines.tracking import Tracking, open_store

_RUNS = 20
_IMAGES = 10_000


def main() -> None:
    """Prints seconds of CPU time and by the clock, with the store made before."""
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        folders = [str(root / "runs" / f"{i:02}") for i in range(_RUNS)]
        for i, folder in enumerate(folders):
            evaluation = made()(f"lenet {i}", 1 - 0.02 * i, _IMAGES, run_id=str(i))
            save_result(evaluation, Path(folder))
        open_store(None, root, Tracking().experiment)
        begun, clock = time.process_time(), time.perf_counter()
        compare(folders, out=root / "compare.html", root=root)
        spent, passed = time.process_time() - begun, time.perf_counter() - clock
        size = (root / "compare.html").stat().st_size / 1e6
    print(f"{_RUNS} runs: {spent:.1f} s CPU, {passed:.1f} s by the clock, page {size:.2f} MB")


if __name__ == "__main__":
    main()
