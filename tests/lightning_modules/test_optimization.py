import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
)

from datamodules import UserError
from lightning_modules import FineTuning, Tuning, load_classifier, save_classifier
from lightning_modules.dropout import set_dropout
from lightning_modules.optimization import make_optimizer, make_schedule


def rates(steps: int = 100, **recipe: object) -> list[float]:
    """The learning rate of each step."""
    tuning = Tuning(lr=1.0, **recipe)  # type: ignore[arg-type]
    optimizer = make_optimizer(nn.Linear(2, 2), tuning)
    schedule = make_schedule(optimizer, tuning, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def of_torch(steps: int, make: Callable[[Optimizer], LRScheduler]) -> list[float]:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 1.0)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("steps", [4, 100])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("constant", lambda optimizer, steps: MultiStepLR(optimizer, [])),
        ("cosine", CosineAnnealingLR),
        ("step", lambda optimizer, steps: MultiStepLR(optimizer, [steps // 2, steps * 3 // 4])),
        (
            "onecycle",
            lambda optimizer, steps: OneCycleLR(
                optimizer, 1.0, total_steps=steps + 1, cycle_momentum=False
            ),
        ),
    ],
)
def test_schedules_are_torchs(name: str, make: Callable[..., LRScheduler], steps: int) -> None:
    expected = of_torch(steps, lambda optimizer: make(optimizer, steps))
    assert rates(steps, schedule=name, warmup=0.0) == pytest.approx(expected, abs=1e-9)


def test_warm_up_is_torchs() -> None:
    expected = of_torch(100, lambda optimizer: LinearLR(optimizer, 1 / 11, total_iters=10))
    assert rates(schedule="constant", warmup=0.1) == pytest.approx(expected)
    assert max(rates(schedule="cosine", warmup=0.2)) == 1.0


def test_a_longer_training_is_planned_anew() -> None:
    tuning = Tuning(lr=1.0, warmup=0.0)
    optimizer = make_optimizer(nn.Linear(2, 2), tuning)
    short, long = (make_schedule(optimizer, tuning, steps) for steps in (10, 20))
    for _ in range(10):
        optimizer.step()
        short.step()
    long.load_state_dict(short.state_dict())
    optimizer.step()
    long.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx((1 + math.cos(math.pi * 11 / 20)) / 2)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "onecycle"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_trainings(schedule: str, steps: int) -> None:
    assert all(rate >= 0 for rate in rates(steps, schedule=schedule))


def test_endless_training() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), Tuning(lr=1.0))
    with pytest.raises(UserError, match=r"set --trainer\.max_epochs"):
        make_schedule(optimizer, Tuning(), math.inf)
    make_schedule(optimizer, Tuning(schedule="constant", warmup=0.0), math.inf)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_norms_and_biases_do_not_decay(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    optimizer = make_optimizer(model, Tuning(optimizer=name, lr=1.0, weight_decay=0.1))  # type: ignore[arg-type]
    assert type(optimizer).__name__.lower() == name
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert id(model[0].weight) not in decay, "frozen"
    assert decay.pop(id(model[3].weight)) == 0.1
    assert set(decay.values()) == {0.0}
    assert len(decay) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.0}, "Expected `tuning.lr` to be positive, but got 0.0."),
        ({"lr": math.nan}, "Expected `tuning.lr` to be positive, but got nan."),
        ({"weight_decay": -0.1}, "Expected `tuning.weight_decay` in [0, inf), but got -0.1."),
        ({"label_smoothing": 1.0}, "Expected `tuning.label_smoothing` in [0, 1), but got 1.0."),
        ({"ema": 1.0}, "Expected `tuning.ema` in [0, 1), but got 1.0."),
        ({"mixup": -1.0}, "Expected `tuning.mixup` in [0, inf), but got -1.0."),
        ({"dropout": 0.5, "mode": "linear_probe"}, "Got `tuning.dropout` with a linear probe"),
    ],
)
def test_recipes_that_make_no_sense(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Tuning(**values)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "pretrained", "lr"),
    [
        ({}, False, 3e-3),
        ({}, True, 3e-4),
        ({"mode": "linear_probe"}, True, 3e-3),
        ({"optimizer": "sgd"}, True, 3e-3),
        ({"optimizer": "sgd", "mode": "linear_probe"}, True, 3e-2),
        ({"lr": 0.5, "optimizer": "sgd"}, False, 0.5),
    ],
)
def test_a_usual_rate(recipe: dict[str, str], pretrained: bool, lr: float) -> None:
    assert Tuning(**recipe).filled(pretrained).lr == pytest.approx(lr)  # type: ignore[arg-type]


def test_weights_that_were_loaded_are_told_from_random_ones(tmp_path: Path) -> None:
    """By what happened to them, not by the name of the source."""
    fresh = load_classifier("lenet", data_classes=[*"0123456789"])
    random = load_classifier("torchvision:resnet18@none", data_classes=["a", "b"])
    assert (fresh.pretrained, random.pretrained) == (False, False)
    saved = load_classifier(f"checkpoint:{save_classifier(fresh, tmp_path / 'random')}")
    assert FineTuning(saved).tuning.lr == FineTuning(fresh).tuning.lr == 3e-3
    torch.save(fresh.model.state_dict(), tmp_path / "lenet.pt")  # of somebody, who trained it
    loaded = load_classifier(f"checkpoint:{tmp_path / 'lenet.pt'}", arch="lenet")
    assert FineTuning(loaded).tuning.lr == 3e-4


def test_dropout_is_set_where_there_is_one() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout2d(0.1)))
    set_dropout(model, 0.2)
    assert [part.p for part in model.modules() if hasattr(part, "p")] == [0.2, 0.2]
    with pytest.raises(UserError, match="Sequential has no dropout layer: leave the option out"):
        set_dropout(nn.Sequential(nn.Linear(2, 2)), 0.2)
    assert torch.equal(nn.Dropout(0.0)(torch.ones(3)), torch.ones(3))
