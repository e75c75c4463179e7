"""Every training that has a name: it parses, trains on some digits, and says what it does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.list import _recipes

NAMES = [name for name, _ in _recipes()]
QUICK = "--data.limit 60 --trainer.max_epochs 1 --trainer.limit_train_batches 1"


def trained(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(folder)
    rest = f"--model lenet --data Digits {QUICK} --tracking.enabled false --evaluation none"
    return main(["fine-tune", *words.split(), *rest.split()])


@pytest.mark.parametrize("name", NAMES)
def test_it_trains(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Callable
) -> None:
    assert trained(f"--config {name}", tmp_path, monkeypatch) == 0
    said = capsys.readouterr().out  # type: ignore[attr-defined]
    assert "perturb" in said
    if name not in (
        "noise",
        "corrupted",
        "augmix",
    ):  # the usual radius of digits, as nothing was given
        assert "0.2" in said.partition("perturb")[2].splitlines()[0]


def test_a_radius_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Callable
) -> None:
    words = "--config=free_at --perturb.init_args.epsilon 8/255 --perturb.init_args.replays 1"
    assert trained(words, tmp_path, monkeypatch) == 0
    said = capsys.readouterr().out  # type: ignore[attr-defined]
    assert "FreeTraining(epsilon=0.0313" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--config pgd_ta", "Did you mean 'pgd_at'?"),
        ("--config noise --robust.loss trades", "Expected `perturb` to be an attack"),
        (
            "--robust.images 3",
            "Expected `perturb` to be an attack for --robust options, but got none",
        ),
        ("--config trades --robust.loss mart", "AdversarialTraining for --robust.loss mart"),
    ],
)
def test_mistakes(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Callable
) -> None:
    assert trained(words, tmp_path, monkeypatch) == 2
    assert said in capsys.readouterr().err  # type: ignore[attr-defined]
