"""How long the page of 10,000 images and 20 probes takes, and how large it is.

`python tests/benchmarks/report_speed.py`. The bars: 10 s of CPU time and 5 MB.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.evaluate.result import Evaluation
from pipelines.report.document import as_json
from pipelines.report.markdown import as_markdown
from pipelines.report.page import write_page

_IMAGES = 10_000
_CONFTEST = Path(__file__).parents[1] / "pipelines" / "conftest.py"
_PROBES = tuple(
    f"{name}{i}_{norm}" for i in range(5) for name in ("fgsm", "pgd") for norm in ("linf", "l2")
)


def main() -> None:
    """Prints a line for every form of the report."""
    evaluation = made()(n=_IMAGES, probes=_PROBES)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        size = write_page([evaluation], Path(folder) / "report.html").stat().st_size
        told("report.html", begun, size)
    for name, form in (("report.md", as_markdown), ("report.json", as_json)):
        begun = time.process_time()
        told(f"{name}, after it", begun, len(form([evaluation]).encode()))


def made() -> Callable[..., Evaluation]:
    """The maker of evaluations that the tests have."""
    spec = importlib.util.spec_from_file_location("conftest_of_pipelines", _CONFTEST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made_evaluation.__wrapped__()


def told(name: str, begun: float, size: int) -> None:
    """Prints CPU seconds since `begun`, and megabytes."""
    print(f"{name:24} {time.process_time() - begun:6.2f} s CPU  {size / 1e6:6.3f} MB", flush=True)


if __name__ == "__main__":
    main()
