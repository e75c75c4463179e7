"""What an engine leaves, and what it is given of pieces that know nothing of each other."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine import Engine, Piece, Unit, filling, units_of
from pipelines.engine.work import TRIES, Done
from pipelines.report.result import load_result
from pipelines.study import Study
from pipelines.study.cells import Cell

Assay = Callable[..., tuple[int, str, str]]


def test_a_cell_is_lost_only_where_workers_died_of_it(
    home: Path, assay: Assay, here: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that ends without a word: one unit was begun three times, one twice, one never."""

    def working(_: Engine, order: Path, units: Sequence[Unit], *__: Any) -> Iterator[Done]:
        begun = {"full": TRIES, "probe": TRIES - 1, "untouched": 0}
        for unit in units:
            (order.parent / f"{unit.number}.tries").write_text("|" * begun[unit.name.split()[3]])
        yield from ()

    monkeypatch.setattr(filling, "_working", working)
    words = (
        "transfer --models lenet --data Digits --modes probe full --fractions 2/class --limit 40 "
        "--min_steps 2 --trainer.max_epochs 1 --trainer.accelerator cpu --tracking.enabled false "
        "--engine.kind ray --engine.threads 1"
    )
    code, out, _ = assay(*words.split())
    assert code == 0
    assert "what is left (2) is measured here" in out
    assert out.count("LOST") == 1
    (file,) = home.glob("mlruns/results/*/result.json")
    told = load_result(file.parent).tables()["cells"]
    assert dict(zip(told["mode"], told["status"], strict=True)) == {
        "untouched": "ok", "probe": "ok", "full": "failed",
    }  # fmt: skip


def test_what_is_missing_is_found_without_measuring(tmp_path: Path) -> None:
    study = Study("fine-tune", "training", {"root": tmp_path, "trainer": {"accelerator": "cpu"}})
    study.work_for("", tmp_path, None)
    done: list[str] = []

    def work(study: Study, name: str, parts: Sequence[str]) -> None:
        for part in parts:

            def measure(_: Path, part: str = part) -> Cell:
                done.append(f"{name} {part}")
                return Cell({})

            study.cells.measured({"name": name, "part": part}, measure)
            study.notes.append(part)

    pieces = [
        Piece(name, partial(work, name=name, parts=["train", "measure"])) for name in ("a", "b")
    ]
    keys = {
        (name, part): study.cells.key({"name": name, "part": part})
        for name in ("a", "b")
        for part in ("train", "measure")
    }
    first = [Unit(0, "a", [keys["a", "train"]]), Unit(1, "b", [keys["b", "train"]])]
    assert units_of(study, pieces) == first
    assert not done
    work(study, "a", ["train"])
    pieces[1].work(study)
    assert units_of(study, pieces) == [Unit(0, "a", [keys["a", "measure"]])]
    assert done == ["a train", "b train", "b measure"]
    assert study.notes == ["train", "train", "measure"], "looking takes no notes"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate --model lenet --data Digits", "`assay evaluate` has no cells"),
        ("federate --clients lenet lenet --data Digits", "`assay federate` has no cells"),
        ("fine-tune --model lenet --data Digits", "`engine.kind` without --sweep.lambdas"),
        (
            "distill --teacher lenet --student lenet --data Digits --auto.trials 2",
            "no `engine.kind` with `auto.trials`",
        ),
    ],
)
def test_an_engine_with_nothing_to_share_out_is_refused(
    assay: Assay, words: str, said: str
) -> None:
    code, _, error = assay(*words.split(), "--engine.kind", "ray")
    assert code == 2
    assert said in error
