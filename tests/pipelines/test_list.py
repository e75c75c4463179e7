"""`assay list` reads the sources; what it says is what the program knows."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from callbacks import FAMILIES, preset_probes, probe_entries
from callbacks.adversarial import ATTACKS, MINIMUM_NORM
from callbacks.camera import CAMERAS
from callbacks.corruption import CORRUPTIONS
from callbacks.damage import DAMAGES
from callbacks.foreign import LIBRARIES
from callbacks.interpretability import EXPLAINERS, METRICS
from datamodules import DATA
from lightning_modules import ARCHITECTURES, SOURCES
from pipelines import list as listing
from pipelines.recover.strategies import STRATEGIES

Assay = Callable[..., tuple[int, str, str]]
TABLES = {
    "data": DATA, "models": SOURCES, "architectures": ARCHITECTURES, "damages": DAMAGES,
    "attacks": ATTACKS, "minimum_norm": MINIMUM_NORM,
    "corruptions": CORRUPTIONS, "cameras": CAMERAS, "foreign": LIBRARIES,
    "explainers": EXPLAINERS, "explanation_metrics": METRICS, "strategies": STRATEGIES,
}  # fmt: skip


def test_probes_and_their_descriptions() -> None:
    told = dict(listing.entries("probes"))
    assert told == {name: entry.description for name, entry in probe_entries().items()}
    assert all(told.values())


@pytest.mark.parametrize("section", TABLES)
def test_every_name_has_a_line(section: str) -> None:
    told = dict(listing.entries(section))
    assert list(told) == list(TABLES[section])


@pytest.mark.parametrize("preset", ["quick", "regular", "full"])
def test_presets(preset: str) -> None:
    assert listing.preset_probes(preset) == preset_probes(preset)
    known = {name for family in FAMILIES.values() for name in family.probes}
    assert set(preset_probes(preset)) <= known


@pytest.mark.parametrize("words", [[], ["probes", "presets"], ["--help"]])
def test_no_heavy_import(words: list[str]) -> None:
    code = f"import sys; from pipelines.cli import main; main(['list', *{words!r}])"
    check = "\nassert not {'torch', 'lightning', 'mlflow', 'numpy'} & set(sys.modules)"
    start = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", code + check], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in answer.stderr, answer.stderr
    assert time.perf_counter() - start < 30, "hangs"


def test_nobody_reads_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "list"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (141, b""), "as a shell counts SIGPIPE"
