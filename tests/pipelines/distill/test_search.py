"""The search: halving against a published rule, trials that go on, test images that stay unseen."""

import builtins
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from datamodules import Digits, UserError
from lightning_modules import Classifier
from lightning_modules.distillation import DistillationRecipe, Search
from pipelines import distill
from pipelines.distill import search as module
from pipelines.report.result import load_result

SMALL: dict[str, Any] = {"losses": ("kd",), "shares": (0.5,)}


def test_successive_halving_stops_the_worse_ones() -> None:
    """ASHA with reduction 2 and rungs at 1 and 2 epochs, by hand: the better half goes on."""
    optuna = module._optuna()
    tuner = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(1, 2)
    )
    # Final scores of trials that tell the same in every epoch.
    expected = {0.5: 3, 0.4: 1, 0.6: 3, 0.55: 2, 0.3: 1}
    for score, epochs in expected.items():
        halving = module.Halving(tuner.ask())
        trainer = SimpleNamespace(
            sanity_checking=False, callback_metrics={"val/acc": score}, should_stop=False
        )
        for _ in range(3):
            halving.on_validation_epoch_end(trainer, SimpleNamespace(monitor="val/acc"))  # type: ignore[arg-type]
            if trainer.should_stop:
                break
        assert len(halving.scores) == epochs, score
        assert halving.given_up == (epochs < 3)
        state = optuna.trial.TrialState.PRUNED if halving.given_up else None
        tuner.tell(halving.trial, None if halving.given_up else score, state)


def test_the_best_recipe_is_taught_and_told(
    teacher: Classifier, quiet: Any, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, auto = Digits(limit=60), Search(trials=3, reduction=2, **SMALL)
    quiet["trainer"] |= {"max_epochs": 2}
    looked: list[str] = []
    images = Digits.images
    train = module.train
    monkeypatch.setattr(Digits, "images", lambda self, s: (looked.append(s), images(self, s))[1])
    first_test: list[int] = []

    def counted(*args: Any, **more: Any) -> Any:
        first_test.append(looked.count("test"))
        return train(*args, **more)

    monkeypatch.setattr(module, "train", counted)
    result = distill([teacher], "lenet", data, auto=auto, **quiet)
    assert len(first_test) == 3
    assert len(set(first_test)) == 1, "no trial looks at the test images"
    trials = result.tables()["trials"]
    assert list(trials["loss"]) == ["kd"] * 3
    assert sum(trials["chosen"]) == 1
    best = trials.loc[trials["chosen"]].iloc[0]
    assert best["fate"] == "trained"
    assert best["score"] == trials.loc[trials["fate"] == "trained", "score"].max()
    assert result.parameters()["distillation.temperature"] == best["temperature"]
    assert any("is the best of 3 of 4 on the validation images" in n for n in result.about.notes)
    # The same again trains nothing, and one more trial trains one.
    again = distill([teacher], "lenet", data, auto=auto, **quiet)
    pd.testing.assert_frame_equal(again.trials, result.trials)
    assert len(first_test) == 3
    more = distill([teacher], "lenet", data, auto=Search(trials=4, reduction=2, **SMALL), **quiet)
    assert len(first_test) == 4
    pd.testing.assert_frame_equal(
        more.trials.drop(columns="chosen")[:3], result.trials.drop(columns="chosen")
    )
    folders = (home / "mlruns" / "results").iterdir()
    kept = [load_result(folder).tables()["trials"] for folder in folders]
    assert sorted(map(len, kept)) == [3, 4]


def test_without_optuna_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return whole(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs Optuna.*pip install 'assay\[tune\]'"):
        module._optuna()


def test_what_is_searched_cannot_be_given(teacher: Classifier, quiet: Any) -> None:
    recipe = DistillationRecipe(loss="dkd")
    with pytest.raises(UserError, match="leave one of them out"):
        distill([teacher], "lenet", Digits(limit=60), recipe, auto=Search(trials=1), **quiet)
