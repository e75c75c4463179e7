"""No flag of a command does nothing: it changes numbers, files or words, or is refused by name.

The flags are those of the real parsers; one without a line in `flag_lines` fails here.
"""

import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from pipelines.cli import COMMANDS, main

table, left = sys.modules["flag_lines"], sys.modules["flags_not_walked"]
TABLES = [table, *(sys.modules[f"flag_lines_of_{of}"] for of in ("trainings", "questions"))]
outcome = sys.modules["flag_outcome"].outcome
READERS = sys.modules["flag_lines_of_readers"].WALKED
"""Walked by `test_flags_of_readers`."""
WALKS = [
    (base, name, line)
    for one in TABLES
    for base, lines in one.WALKED
    for name, line in lines.items()
]
IDLE = [
    (base, name, line) for one in TABLES for base, lines in one.IDLE for name, line in lines.items()
]
SLOW = [one for one in WALKS if one[2].changes != table.REFUSED]
TELLING = sorted(
    {f"{base} {line.beside}" for base, _, line in SLOW if line.changes == table.MESSAGE}  # type: ignore[attr-defined]
)
BASES = sorted({base for base, _, _ in SLOW}) + TELLING
REFUSALS = [one for one in WALKS if one[2].changes == table.REFUSED] + IDLE


def names(cases: list[tuple[str, str, object]]) -> list[str]:
    """`transfer: --last_k 2` of each case."""
    return [f"{base.split()[0]}: {line.words}" for base, _, line in cases]  # type: ignore[attr-defined]


def flags_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The flags in the help of a command, without those of the Trainer and of asking for help."""
    capsys.readouterr()
    with suppress(SystemExit):  # argparse, where no torch is imported
        assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    found = set(re.findall(r"^\s+(?:-h, )?--([a-z_][\w.]*)", printed, re.MULTILINE))
    return {one for one in found if not one.endswith("help") and not one.startswith("help.")}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = flags_of(command, capsys)
    walked = {name for base, name, _ in WALKS if base.split()[0] == command}
    walked |= {name for base, lines in READERS if base.split()[0] == command for name in lines}
    if command == "fine-tune":
        walked |= left.RECIPE  # by `test_every_flag`
    apart = left.NOT_WALKED.get(command, set())
    assert apart <= flags - walked, "not there, or walked after all"
    groups = {flag for flag in flags if any(one.startswith(f"{flag}.") for one in flags)}
    shared = (
        {*table.SHARED, *table.TRACKING, *left.INPUTS, *left.NEEDS_FILES, *left.SHARED_NOT_WALKED}
        if "fresh" in flags
        else set()
    )
    missing = sorted(flags - walked - apart - shared - groups)
    assert not missing, f"flags without a line in flag_lines.py: {missing}"


@pytest.fixture(scope="module")
def room(template: Path, lenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder for all commands, with a model."""
    home = tmp_path_factory.mktemp("flags")
    (home / "mlruns").mkdir()
    shutil.copy(template / "mlruns" / "mlflow.db", home / "mlruns" / "mlflow.db")
    shutil.copy(lenet, home / "lenet.pt")
    (home / "given").mkdir()
    (home / "given" / "tasks.yaml").write_text("digit: same\nends: {low: 0, high: 9}\n")
    Image.radial_gradient("L").resize((28, 28)).save(home / "given" / "a.png")
    Image.linear_gradient("L").resize((28, 28)).save(home / "given" / "b.png")
    return home


@pytest.fixture(scope="module")
def without() -> dict[str, dict[str, str]]:
    """What commands leave without the flag."""
    return {}


def ran(
    words: str, room: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, str], str]:
    """Runs a command; its exit code, what it left, and its errors."""
    capsys.readouterr()
    code = main(words.split())
    printed = capsys.readouterr()
    return code, outcome(room, printed.out), printed.err


@pytest.mark.slow
@pytest.mark.parametrize(("base", "name", "line"), SLOW, ids=names(SLOW))
def test_a_flag_acts(
    base: str, name: str, line: object, room: Path, without: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(room)
    # Drawing takes longer than measuring, and pages are not compared.
    monkeypatch.setattr("pipelines.study.study.write_page", lambda results, file: file)
    monkeypatch.setattr("pipelines.study.study.save_png", lambda figure, file: None)
    beside = f"{base} {line.beside}"  # type: ignore[attr-defined]
    if beside not in without:
        code, without[beside], err = ran(beside, room, capsys)
        assert code == 0, err
    code, found, err = ran(f"{beside} {line.words}", room, capsys)  # type: ignore[attr-defined]
    assert code == 0, err
    part = line.changes  # type: ignore[attr-defined]
    assert found[part] != without[beside][part], f"--{name} changes nothing of {part}"


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_a_command_leaves_the_same_twice(
    base: str, room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else any flag would seem to act."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(room)
    monkeypatch.setattr("pipelines.study.study.write_page", lambda results, file: file)
    monkeypatch.setattr("pipelines.study.study.save_png", lambda figure, file: None)
    (_, one, _), (_, other, _) = (ran(base, room, capsys) for _ in range(2))
    assert one["result"] == other["result"]
    assert one["files"] == other["files"]
    if base in TELLING:
        assert one["message"] == other["message"]


@pytest.mark.parametrize(("base", "name", "line"), REFUSALS, ids=names(REFUSALS))
def test_a_flag_is_refused_where_nothing_would_heed_it(
    base: str, name: str, line: object, room: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(room)
    words = f"{base} {line.beside} {line.words}"  # type: ignore[attr-defined]
    code, _, err = ran(words, room, capsys)
    assert code == 2, f"--{name} is not refused"
    group, _, own = name.rpartition(".")
    value = line.words.split()[-1]  # type: ignore[attr-defined]
    named = (f"`{name}`", f"--{name}", f"`{group or name}", f"--{group or name} ", f".{own}`")
    assert any(word in err for word in (*named, f"'{value}'")), err
