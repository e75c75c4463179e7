"""No flag of a training's recipe does nothing: it changes what is learnt, or is refused truly.

The flags are those of the real parser of `fine-tune`; one without a line here fails.
"""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from pipelines.cli import main
from pipelines.fine_tune.command import fine_tune
from pipelines.study.arguments import _parser
from pipelines.study.trainer_flags import TRAINER

BASE = (
    "fine-tune --model lenet --data Digits --data.limit 40 --data.batch_size 8 --evaluation none "
    "--trainer.max_epochs 2 --trainer.accelerator cpu --trainer.enable_progress_bar false "
    "--tracking.enabled false"
)
SGD, LORA = "--tuning.optimizer sgd", "--tuning.mode lora"
ACTS = {
    "mode": ("linear_probe", ""),
    "loss": ("mse", ""),
    "optimizer": ("sgd", ""),
    "lr": ("0.01", ""),
    "weight_decay": ("0.5", ""),
    "momentum": ("0.5", SGD),
    "nesterov": ("false", SGD),
    "schedule": ("constant", ""),
    "warmup": ("0.5", ""),
    "label_smoothing": ("0.2", ""),
    "mixup": ("0.5", ""),
    "cutmix": ("0.5", ""),
    "dropout": ("0.3", ""),
    "ema": ("0.9", ""),
    "last_k": ("2", "--tuning.mode last_k"),
    "alpha": ("5", "--tuning.mode l2_sp"),
    "lora_rank": ("2", LORA),
    "lora_alpha": ("3", LORA),
}
"""Of each option of `--tuning`: a value unlike its default, and what it needs beside it."""
REFUSED = {
    "momentum": ("0.5", ""),
    "nesterov": ("false", ""),
    "warmup": ("0.5", "--tuning.schedule onecycle"),
    "dropout": ("0.3", "--tuning.mode linear_probe"),
    "weight_decay": ("0.5", "--tuning.mode l2_sp"),
    "last_k": ("2", ""),
    "alpha": ("5", ""),
    "lora_rank": ("2", ""),
    "lora_alpha": ("3", ""),
}
"""Where the same value would do nothing."""
Learnt = dict[str, Tensor]


def test_every_option_of_a_recipe_has_a_line() -> None:
    options = _parser(fine_tune, TRAINER).options()
    flags = {option.removeprefix("--tuning.") for option in options if "--tuning." in option}
    assert flags - {"help"} == ACTS.keys()
    assert REFUSED.keys() <= ACTS.keys(), "what is refused acts elsewhere"


def learnt(home: Path, words: str) -> Learnt:
    """The weights of a training in an empty folder."""
    shutil.rmtree(home / "mlruns" / "checkpoints", ignore_errors=True)
    assert main([*BASE.split(), *words.split()]) == 0
    (file,) = (home / "mlruns" / "checkpoints").glob("*/model.safetensors")
    return safetensors.torch.load_file(file)


@pytest.fixture(scope="module")
def without() -> dict[str, Learnt]:
    """What was learnt without a flag, by what is beside it."""
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTS)
def test_an_option_acts(name: str, home: Path, without: dict[str, Learnt]) -> None:
    value, beside = ACTS[name]
    if beside not in without:
        without[beside] = learnt(home, beside)
    changed = learnt(home, f"{beside} --tuning.{name} {value}")
    assert any(not torch.equal(changed[k], v) for k, v in without[beside].items())


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_is_refused_where_it_would_do_nothing(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value, beside = REFUSED[name]
    assert main([*BASE.split(), *f"{beside} --tuning.{name} {value}".split()]) == 2
    assert f"`tuning.{name}`" in capsys.readouterr().err
