"""No flag of Lightning's Trainer is swallowed: the Trainer that runs gets it, or it is refused.

The flags are those of the Trainer's own signature; one without a value here fails. Whether they act
on weights and rows is Lightning's matter, once they have arrived.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Union

import lightning as L
import pytest
from lightning.pytorch.callbacks import LearningRateMonitor, Timer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import TorchSyncBatchNorm
from lightning.pytorch.profilers import PassThroughProfiler
from torch import nn

from datamodules import Digits, UserError
from pipelines.assess.command import assess
from pipelines.audit.command import audit
from pipelines.cli import COMMANDS
from pipelines.distill.command import distill
from pipelines.evaluate.command import evaluate
from pipelines.explain.command import explain
from pipelines.federate.command import federate
from pipelines.fine_tune.command import fine_tune
from pipelines.recover.command import recover
from pipelines.study.arguments import _parser, parse
from pipelines.tracking import Tracking
from pipelines.transfer.command import transfer
from pipelines.transfer.result import Matrix

VALUES: dict[str, Any] = {
    "accelerator": "cpu", "strategy": "ddp", "devices": 1, "num_nodes": 2,
    "precision": "bf16-mixed", "logger": [CSVLogger("logs")], "callbacks": [Timer()],
    "fast_dev_run": True, "max_epochs": 300, "min_epochs": 2, "max_steps": 7, "min_steps": 3,
    "max_time": timedelta(minutes=5), "limit_train_batches": 0.5, "limit_val_batches": 0.6,
    "limit_test_batches": 0.7, "limit_predict_batches": 0.8, "overfit_batches": 0.9,
    "val_check_interval": 0.25, "check_val_every_n_epoch": 2, "num_sanity_val_steps": 5,
    "log_every_n_steps": 6, "enable_checkpointing": True, "enable_progress_bar": True,
    "enable_model_summary": True, "accumulate_grad_batches": 4, "gradient_clip_val": 0.1,
    "gradient_clip_algorithm": "value", "deterministic": "warn", "benchmark": True,
    "inference_mode": False, "use_distributed_sampler": False, "profiler": PassThroughProfiler(),
    "detect_anomaly": True, "barebones": True, "plugins": [TorchSyncBatchNorm()],
    "sync_batchnorm": True, "reload_dataloaders_every_n_epochs": 2, "default_root_dir": "elsewhere",
    "enable_autolog_hparams": False, "model_registry": "registry",
}  # fmt: skip
"""Of each flag a value that nobody gives it unasked."""
OTHERS = {
    "logger true": True, "logger false": False, "enable_checkpointing false": False,
    "enable_progress_bar false": False, "enable_model_summary false": False,
}  # fmt: skip
"""Further values of the same flags, and what refuses one of them may take the other."""
DEVICE = {"accelerator", "strategy", "devices", "deterministic", "benchmark"}
SILENT = {"enable_progress_bar false", "enable_model_summary false"}
SWITCHES = {"logger true", "logger false"}
ALL = {*VALUES, *OTHERS}
OF_TRAININGS = {
    "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches",
    "limit_val_batches", "limit_predict_batches", "overfit_batches", "val_check_interval",
    "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps", "enable_checkpointing",
    "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "sync_batchnorm",
    "reload_dataloaders_every_n_epochs",
}  # fmt: skip
UNTRAINED = {*OF_TRAININGS, *SWITCHES, "logger"}
NO_TRAINING = {"limit_test_batches", "limit_predict_batches", "barebones"}
KEPT = {*NO_TRAINING, *SWITCHES, "enable_checkpointing false"}
"""Refused where the best epoch is kept."""
Options = dict[str, Any]


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def data() -> Digits:
    return Digits(limit=30, batch_size=8)


def to(mode: str, more: Options, probes: Sequence[str] = ()) -> object:
    few: Options = {"fractions": ["20"], "limit": 20, "probes": [*probes], **more}
    return transfer(network(), data(), modes=[mode], **few)


def to_a_head(more: Options) -> None:
    to("probe", more)  # without any Trainer that runs
    stopped()


def asked(more: Options, question: Any) -> object:
    student = network() if question == "distillation" else None  # others refuse it
    return assess(network(), data(), questions=[question], student=student, **more)


LINES: dict[str, tuple[Callable[[Options], object], set[str]]] = {
    "evaluate": (lambda more: evaluate(network(), data(), probes=["clean"], **more), UNTRAINED),
    "explain": (
        lambda more: explain(network(), data(), probes=["clean"], limit=30, **more),
        {*UNTRAINED, "num_nodes", "precision"},
    ),
    "explain images": (
        lambda more: explain(network(), image=["a.png"], **more),
        ALL - DEVICE - SILENT - {"enable_checkpointing false", "use_distributed_sampler"},
    ),
    "audit": (lambda more: audit(data(), **more), ALL - DEVICE - SILENT),
    "recover": (
        lambda more: recover(
            network(), data(), strategies=["retrain_all"], severities=[0.1], **more
        ),
        ALL - DEVICE - SILENT - {"num_nodes", "precision"},
    ),
    "fine-tune": (lambda more: fine_tune(network(), data(), evaluation="none", **more), KEPT),
    "distill": (
        lambda more: distill(network(), network(), data(), evaluation="none", **more), KEPT
    ),
    "federate": (
        lambda more: federate([network(), network()], data(), **more),
        {*NO_TRAINING, *SWITCHES, "max_epochs", "max_steps", "num_nodes"},
    ),
    "transfer": (lambda more: to("full", more), {*KEPT, "logger", "num_nodes"}),
    "transfer a head": (
        to_a_head, ALL - DEVICE - SILENT - {"max_epochs"}  # which is told
    ),
    "transfer a probed head": (
        lambda more: to("probe", more, ["fgsm"]), {*UNTRAINED, "num_nodes"} - {"max_epochs"}
    ),
    "assess": (lambda more: asked(more, "variability"), {*KEPT, "logger", "num_nodes"}),
    "assess a student": (
        lambda more: asked(more, "distillation"), {*KEPT, "logger", "num_nodes"}
    ),
    "assess robustness": (
        lambda more: asked(more, "robustness"), ALL - DEVICE - SILENT - {"precision"}
    ),
}  # fmt: skip
"""What begins a command, and which flags it refuses; all others have to arrive."""


class ReachedError(BaseException):
    """Something was to run."""


def stopped(*_: object, **__: object) -> None:
    raise ReachedError


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The flags of every Trainer that is made; the last is the one that was to run."""
    flags_of: list[Options] = []

    class Recorder(L.Trainer):
        """Obeys the flags of devices alone."""

        def __init__(self, **flags: Any) -> None:
            flags_of.append(flags)
            obeyed = ("accelerator", "strategy", "devices", "num_nodes", "precision")
            quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary"), False)
            super().__init__(**{k: flags[k] for k in obeyed if k in flags}, **quiet)

        fit = test = stopped  # type: ignore[assignment]  # pyright: ignore

    monkeypatch.setattr("lightning_modules.trainer.L", SimpleNamespace(Trainer=Recorder))
    # Where no Trainer runs, the one that tells the device is all there is.
    monkeypatch.setattr(sys.modules[audit.__module__], "measure", stopped)
    monkeypatch.setattr(sys.modules[explain.__module__], "explain_images", stopped)
    monkeypatch.chdir(tmp_path)
    return flags_of


def flags(cases: set[str]) -> Options:
    """The flags of some cases."""
    values = {**VALUES, **OTHERS}
    return {"accelerator": "cpu", **{name.split()[0]: values[name] for name in sorted(cases)}}


def begun(line: str, given: Options) -> None:
    LINES[line][0]({"trainer": given, "tracking": Tracking(enabled=False)})


def arrived(got: Any, value: Any) -> bool:
    """The value itself, or each of several objects among ours."""
    if not isinstance(value, list):
        return got == value
    return all(any(type(one) is type(other) for other in got) for one in value)


def test_every_flag_of_the_trainer_has_a_value() -> None:
    usual = inspect.signature(L.Trainer).parameters
    assert VALUES.keys() == usual.keys()
    assert all(usual[name].default != value for name, value in VALUES.items())


def test_every_command_with_flags_of_the_trainer_has_a_line() -> None:
    functions = (assess, audit, distill, evaluate, explain, federate, fine_tune, recover, transfer)
    taking = {
        f.__name__.replace("_", "-")
        for f in functions
        if any(option.startswith("--trainer.") for option in _parser(f, {}).options())
    }
    others = {"compare", "gate", "list", "inspect", "report", "ui"}
    assert taking == COMMANDS.keys() - others
    assert taking == {line.split()[0] for line in LINES}


def test_the_command_line_hands_over_what_is_typed() -> None:
    typed = {n: v for n, v in VALUES.items() if isinstance(v, bool | int | float | str)}
    words = [word for name, value in typed.items() for word in (f"--trainer.{name}", str(value))]
    words += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs"]
    words += ["--trainer.callbacks+=LearningRateMonitor"]
    found = parse(fine_tune, ["--model", "lenet", "--data", "Digits", *words], {})["trainer"]
    assert {name: str(found[name]) for name in typed} == {n: str(v) for n, v in typed.items()}
    assert isinstance(found["logger"], CSVLogger)
    assert isinstance(found["callbacks"][0], LearningRateMonitor)


BATCHES = ("limit_train_batches", "limit_val_batches", "val_check_interval", "overfit_batches")


@pytest.mark.parametrize("kinds", [(int, float), (float, int)], ids=["int first", "float first"])
def test_one_batch_is_not_all_of_them(kinds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python may have kept `Optional[Union[float, int]]` of any library for Lightning's own."""
    hints = {name: Union[(*kinds, type(None))] for name in BATCHES}
    monkeypatch.setattr(L.Trainer.__init__, "__annotations__", {
        **L.Trainer.__init__.__annotations__, **hints
    })  # fmt: skip
    for text, kind in (("1", int), ("1.0", float)):
        words = [word for name in BATCHES for word in (f"--trainer.{name}", text)]
        found = parse(fine_tune, ["--model", "lenet", "--data", "Digits", *words], {})["trainer"]
        assert {type(found[name]) for name in BATCHES} == {kind}


@pytest.mark.parametrize("more", [False, True], ids=["a value", "another value"])
@pytest.mark.parametrize("line", LINES)
def test_flags_arrive(line: str, more: bool, made: list[Options]) -> None:
    cases = (OTHERS.keys() if more else VALUES.keys()) - LINES[line][1]
    with pytest.raises(ReachedError):
        begun(line, flags(cases))
    lost = {n for n in cases if not arrived(made[-1].get(n.split()[0]), flags({n})[n.split()[0]])}
    assert not lost, made[-1]


@pytest.mark.parametrize("line", LINES)
def test_flags_are_refused_by_name(line: str, made: list[Options]) -> None:
    for case in sorted(LINES[line][1]):
        with pytest.raises(UserError, match=rf"trainer\.{case.split()[0]}\b"):
            begun(line, flags({case}))


@pytest.mark.parametrize("line", ["evaluate", "explain"])
def test_a_sampler_that_pads_is_refused(line: str, made: list[Options]) -> None:
    with pytest.raises(UserError, match=r"trainer\.use_distributed_sampler"):
        begun(line, {"accelerator": "cpu", "use_distributed_sampler": True})


def test_epochs_without_a_training_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = {"tracking": Tracking(enabled=False)}
    matrix = to("probe", {"trainer": {"accelerator": "cpu", "max_epochs": 3}, **more})
    assert isinstance(matrix, Matrix)
    told = "`trainer.max_epochs` is not used: no mode trains the backbone."
    assert told in matrix.about.notes
