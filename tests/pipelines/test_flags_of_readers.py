"""No flag of a command that reads results does nothing, over a few runs that are made once."""

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from datamodules import Digits
from lightning_modules import build
from pipelines.cli import main
from pipelines.evaluate.command import evaluate
from pipelines.tracking.store import open_store

table, readers = sys.modules["flag_lines"], sys.modules["flag_lines_of_readers"]
LINES = [(base, name, line) for base, lines in readers.WALKED for name, line in lines.items()]
GIVEN = {
    "policy.yaml": "thresholds: {test/clean: {at_least: 0.01}}\n",
    "strict.yaml": "thresholds: {test/clean: {at_least: 0.999}}\n",
    "against.yaml": "thresholds: {test/clean: {at_least: 0.01}}\nbaseline: {probes: [clean]}\n",
    "card.yaml": "developed_by: somebody\n",
}
_TIMES = r"[\d.]+ (s|min)\b|\d{4}-\d\d-\d\d\S*|\d\d:\d\d(:\d\d)?"
_STEADY = re.compile(rf"{_TIMES}|[0-9a-f]{{32}}|-[0-9a-f]{{8}}\b")
"""Times and ids, which differ between two runs of one command."""


class Room(NamedTuple):
    """A working folder, and its runs by the names in the lines."""

    home: Path
    runs: Mapping[str, str]


@pytest.fixture(scope="module")
def room(template: Path, lenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Room:
    home = tmp_path_factory.mktemp("readers")
    (home / "mlruns").mkdir()
    shutil.copy(template / "mlruns" / "mlflow.db", home / "mlruns" / "mlflow.db")
    shutil.copy(lenet, home / "lenet.pt")
    (home / "given").mkdir()
    for name, text in GIVEN.items():
        (home / "given" / name).write_text(text)
    model = build("lenet", 10, 1)
    model.load_state_dict(torch.load(lenet))
    torch.jit.trace(model.eval(), torch.zeros(1, 1, 28, 28)).save(home / "given" / "scripted.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(home)
        _without_drawing(patch)
        return Room(home, _made(home))


def _made(home: Path) -> dict[str, str]:
    """Three models on the same images, and one of them asked less."""
    runs, quiet = {}, {"accelerator": "cpu"}
    asked: dict[str, tuple[str, list[Any]]] = {
        "a": ("checkpoint:lenet.pt", ["clean", "fog"]), "b": ("lenet", ["clean", "fog"]),
        "c": ("lenet_wide", ["clean", "fog"]), "less": ("lenet", ["clean"]),
    }  # fmt: skip
    for name, (model, probes) in asked.items():
        more: dict[str, Any] = {"arch": "lenet"} if model.startswith("checkpoint") else {}
        about = evaluate(model, Digits(limit=60), probes=probes, trainer=quiet, **more).about
        runs[name] = str(about.run_id)
        folders = (home / "mlruns" / "results").glob("*/result.json")
        (folder,) = [file.parent for file in folders if runs[name] in file.read_text()]
        runs[f"f{name}"] = str(folder.relative_to(home))
    client = open_store(None, home, "assay").client
    client.create_registered_model("digits")
    for _ in range(2):
        client.create_model_version("digits", "file:///none", runs["a"])
    return runs


def _without_drawing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("pipelines.study.study.save_png", lambda figure, file: None)
    patch.setattr("pipelines.study.study.write_page", lambda results, file: file)


class Served:
    """Stands in for the server of `assay ui`, and is stopped at once."""

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self) -> None:
        raise KeyboardInterrupt


def left(room: Room, words: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Runs a command: what is said with the exit code, written, and found; then clears it away.

    Found are tables and texts, but no settings, as one that is only written down changes nothing.
    """
    before = {file for file in room.home.rglob("*") if file.is_file()}
    capsys.readouterr()
    code = main(words.format(**room.runs).split())
    said = capsys.readouterr()
    new = sorted({file for file in room.home.rglob("*") if file.is_file()} - before)
    own = [file for file in new if "artifacts" not in file.parts]
    told = [file for file in own if file.suffix == ".md" or file.parent.name == "tables"]
    found = {
        table.MESSAGE: f"{code} {_STEADY.sub('', said.out)} {_STEADY.sub('', said.err)}",
        table.FILES: [str(file.relative_to(room.home)) for file in own],
        table.RESULT: [_STEADY.sub("", text) for text in map(Path.read_text, told)],
    }
    for file in new:
        file.unlink()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "name", "line"), LINES, ids=[f"{base.split()[0]}: {n}" for base, n, _ in LINES]
)
def test_a_flag_acts(
    base: str, name: str, line: Any, room: Room,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(room.home)
    monkeypatch.setattr("pipelines.ui._server", lambda *_: Served())
    monkeypatch.setattr("pipelines.ui._await", lambda *_: None)
    beside = f"{base} {line.beside}"
    without, same = (left(room, beside, capsys) for _ in range(2))
    found = left(room, f"{beside} {line.words}", capsys)
    assert without[line.changes] == same[line.changes], "else any flag would seem to act"
    assert found[line.changes] != without[line.changes], f"--{name} changes nothing"
