"""From the command line to the verdict; what is private, what is paired, what goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from torch import Tensor, nn

from datamodules import Digits
from lightning_modules import load_classifier
from lightning_modules.distillation import FederatedRecipe
from pipelines import federate
from pipelines.distill.answers import answer_test
from pipelines.distill.plan import adopted
from pipelines.federate import rounds
from pipelines.federate.rounds import ARMS
from pipelines.report.result import load_result
from pipelines.tracking import Tracking

Assay = Callable[..., tuple[int, str, str]]
FEW = {"private_steps": 2, "public_steps": 2, "rounds": 1}


@pytest.fixture
def quiet(home: Path) -> dict[str, Any]:
    trainer = {"accelerator": "cpu", "enable_progress_bar": False}
    return {"tracking": Tracking(enabled=False), "trainer": trainer}


def test_everything_from_the_command_line(assay: Assay, home: Path) -> None:
    words = (
        "federate --clients lenet lenet lenet_wide --data Digits --data.limit 120 --chunk 32 "
        "--trainer.accelerator cpu --trainer.enable_progress_bar false --federated.rounds 2 "
        "--federated.private_steps 2 --federated.public_steps 2"
    ).split()
    code, out, err = assay(*words)
    assert code == 0, err
    assert "over each alone, which is" in out
    assert "to all data in one place" in out
    (folder,) = (home / "mlruns" / "results").iterdir()
    result: Any = load_result(folder)
    table = result.tables()["clients"]
    assert list(table["client"]) == ["1 lenet", "2 lenet", "3 lenet_wide", "mean of all"]
    pd.testing.assert_frame_equal(table, load_result(folder).tables()["clients"])
    own = result.numbers.correct("federated")
    assert table["federated"].iloc[0] == pytest.approx(own[0].mean())
    assert table["gain"].iloc[-1] == pytest.approx(np.mean([own - result.numbers.correct("alone")]))
    page = (folder / "report.html").read_text()
    assert page.count("<svg") >= 2
    assert "nan" not in page.lower().replace("finance", "")
    store = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = store.search_runs([store.get_experiment_by_name("assay").experiment_id])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert {"summary/federated_acc", "summary/federated_gain"} <= set(parent.data.metrics)
    assert all(key.count("/") == 1 for key in parent.data.metrics)
    assert parent.info.status == "FINISHED"
    assert sum(bool(run.outputs and run.outputs.model_outputs) for run in runs) == 2, (
        "the two that one server trains are one network"
    )
    # The networks that are kept are those that were measured.
    weights = next((home / "mlruns" / "checkpoints").glob("federate-1-lenet-*"))
    data = Digits(limit=120)
    kept = load_classifier(f"checkpoint:{weights}", preprocessing=Digits.native)
    _, label, logits = answer_test([kept], data)
    assert float((logits.argmax(1) == label).float().mean()) == pytest.approx(own[0].mean())


def test_what_is_done_is_not_done_again(quiet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rounds go on after the last one, and equal networks of one server end as one."""
    made: list[str] = []
    whole = rounds._turn
    monkeypatch.setattr(rounds, "_turn", lambda *a: (made.append(f"{a[2]} {a[4]}"), whole(*a))[1])
    given = (["lenet", "lenet"], Digits(limit=80))
    first = federate(*given, federated=FederatedRecipe(**FEW), **quiet)
    assert made == [f"{arm} 1" for arm in ARMS]
    again = federate(*given, federated=FederatedRecipe(**FEW), **quiet)
    assert len(made) == 3
    for arm in ARMS:
        pd.testing.assert_frame_equal(first.rows[arm], again.rows[arm])
    one, other = (first.rows["federated"].query(f"client == '{i} lenet'") for i in (1, 2))
    assert one["loss"].tolist() == other["loss"].tolist()
    assert first.numbers.correct("alone").shape == (2, 80)


def test_a_killed_round_ends_with_the_same_weights(
    quiet: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learning rate follows from how a client starts, not from what this process trained."""
    recipe = FederatedRecipe(**{**FEW, "rounds": 2})
    given: dict[str, Any] = {"federated": recipe, **quiet}
    whole = rounds._turn

    def killed(*of: Any) -> None:
        if of[4] == 2:
            raise KeyboardInterrupt
        whole(*of)

    once = federate(["lenet", "lenet"], Digits(limit=80), **given)
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "_turn", killed)
        with pytest.raises(KeyboardInterrupt):
            federate(["lenet", "lenet"], Digits(limit=80), root=home / "again", **given)
    again = federate(["lenet", "lenet"], Digits(limit=80), root=home / "again", **given)
    for arm in ARMS:
        pd.testing.assert_frame_equal(once.rows[arm], again.rows[arm])


def test_what_is_kept_of_odd_networks_is_what_was_trained(quiet: Any) -> None:
    """Tied weights share memory, and a state may hold what is no tensor."""
    clients = [f"python:odd_networks:{name}" for name in ("tied", "extra_state")]
    given: Any = (clients, Digits(limit=40))
    first = federate(*given, federated=FederatedRecipe(**FEW), **quiet)
    again = federate(*given, federated=FederatedRecipe(**FEW), **quiet)
    for arm in ARMS:
        pd.testing.assert_frame_equal(first.rows[arm], again.rows[arm])
    kept = load_classifier(f"checkpoint:{first.about.models[0]['source'].partition(':')[2]}")
    with adopted(given[1], kept.preprocessing):
        _, label, logits = answer_test([kept], given[1])
    rows = first.rows["federated"].query("client.str.startswith('1')")
    loss = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    assert rows["loss"].to_numpy() == pytest.approx(loss.numpy(), abs=1e-6)


def test_how_public_images_are_shown_is_another_federation(quiet: Any) -> None:
    data, recipe = Digits(limit=80), FederatedRecipe(**FEW)
    losses = [
        federate(["lenet", "lenet"], data, public, recipe, **quiet).rows["federated"]["loss"].sum()
        for public in (Digits(limit=60, seed=1), Digits(limit=60, seed=1, augment="crop"))
    ]
    assert losses[0] != losses[1]


def test_public_images_of_another_set_give_no_label(quiet: Any) -> None:
    data, public = Digits(limit=80), Digits(limit=60, seed=1)
    recipe = FederatedRecipe(**FEW, method="fedmd", split="even")
    first = federate(["lenet", "lenet_wide"], data, public, recipe, **quiet)
    images = public.images("train")
    assert sum(map(sum, first.counts)) == len(data.images("train")), "nothing is held back"
    images.label = torch.zeros_like(images.label)
    second = federate(["lenet", "lenet_wide"], data, public, recipe, fresh=True, **quiet)
    assert first.rows["federated"]["loss"].tolist() == second.rows["federated"]["loss"].tolist()
    assert sorted(first.rows["federated"]["round"].unique()) == [0, 1]


class Odd(nn.Module):
    """One convolution under two names, called twice, views of one tensor, and extra state."""

    def __init__(self, fill: float) -> None:
        super().__init__()
        self.conv = self.again = nn.Conv2d(1, 1, 3, padding=1)
        self.head = nn.Linear(64, 10)
        both = torch.full((2, 64), fill)
        self.scale, self.shift = nn.Parameter(both[0]), nn.Parameter(both[:].view(-1)[32:96])

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.again(self.conv(x)).flatten(1)
        return self.head(hidden * self.scale + self.shift)

    def get_extra_state(self) -> str:
        return "kept"

    def set_extra_state(self, state: str) -> None:
        assert state == "kept"


@pytest.mark.parametrize("method", ["feddf", "fedmd"])
def test_shared_weights_go_through_and_replaced_ones_are_told(quiet: Any, method: str) -> None:
    recipe = FederatedRecipe(**FEW, method=method)
    result = federate([Odd(1.0), Odd(0.5)], Digits(limit=80), federated=recipe, **quiet)
    assert len(result.rows["pooled"]["client"].unique()) == 2
    told = [note for note in result.about.notes if "not its own" in note]
    assert len(told) == (method == "feddf")


def test_public_images_that_are_test_images_are_left_out(quiet: Any) -> None:
    data, public = Digits(), Digits(seed=1)  # other splits of the same pictures
    test = {tuple(image.flatten().tolist()) for image in data.images("test").image}
    shared = [tuple(x.flatten().tolist()) in test for x in public.images("train").image]
    recipe = FederatedRecipe(**FEW, split="even")
    result = federate(["lenet", "lenet"], data, public, recipe, **quiet)
    assert sum(shared) > 0
    assert f"{sum(shared)} public images are test images too" in " ".join(result.about.notes)
    assert f"Public are {len(shared) - sum(shared):,} images" in " ".join(result.about.notes)


MISTAKES = {
    "one client": ("--clients lenet", "at least two `clients`, but got 1"),
    "epochs": ("--trainer.max_epochs 3", "Got `trainer.max_epochs`, but a round is as long as"),
    "mode": ("--tuning.mode lp_ft", "Expected `tuning.mode` full or linear_probe"),
    "mixup": ("--tuning.mixup 0.2", "which a federation has not"),
    "method": ("--federated.method fedavg", "federated.method"),
    "unknown network": ("--clients lenet lenett", "There is no built-in model 'lenett'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, assay: Assay) -> None:
    flags, expected = MISTAKES[case]
    clients = () if "--clients" in flags else ("--clients", "lenet", "lenet")
    code, _, err = assay(
        "federate", *clients, *"--data Digits --data.limit 60".split(), *flags.split(),
        "--tracking.enabled", "false",
    )  # fmt: skip
    assert code == 2, err
    assert expected in err
    assert "Traceback" not in err
