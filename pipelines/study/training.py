"""One training: the best epoch is kept, also where it ends in numbers that are none."""

import copy
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import pandas as pd
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from callbacks.digests import model_digest
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import (
    DivergedError,
    FineTuning,
    save_classifier,
    weight_average,
)
from lightning_modules.saved_model import load_into
from lightning_modules.trainer import made_trainer, uninterrupted
from pipelines.study import Study
from pipelines.study.beginning import check_beginning, is_of_another_optimizer, other_optimizer
from pipelines.study.cells import Cell
from pipelines.study.fitting import Fitting, stepping_failed
from pipelines.study.rate_finder import STEPS, found_rate, with_rate
from pipelines.study.resumption import LAST, Resumption
from pipelines.study.trainer_flags import TRAINER, deciding, listed, plugins
from pipelines.tracking import NotLoggedError, Run, TrackingError
from pipelines.tracking.logger import RunLogger


class BestEpoch(ModelCheckpoint):
    """Keeps the epoch of the best validation accuracy; of equal ones that of the lower loss.

    Where a few images select, equal accuracies are the rule, and the first of them is often an
    epoch that has hardly begun to learn.

    Args:
        folder: of `best.ckpt`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, "best", monitor="val/acc", mode="max", enable_version_counter=False
        )
        self.loss = float("inf")

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether the epoch just validated is to be kept."""
        loss = float(trainer.callback_metrics.get("val/loss", float("inf")))
        equal = current is not None and current == self.best_model_score
        kept = (equal and loss < self.loss) or super().check_monitor_top_k(trainer, current)
        if kept:
            self.loss = loss
        return bool(kept)


class Trained(NamedTuple):
    """How a training went; its module has the weights of the best epoch.

    Args:
        score: of the best epoch, in the metric that the module monitors; NaN without validation.
        epochs: that were begun.
        diverged: why it ended early, if it did.
        restored: whether there was a good epoch to go back to.
        learnt: parameters that learnt in the end.
    """

    score: float
    epochs: int
    diverged: str = ""
    restored: bool = True
    learnt: int = 0


def train(
    module: FineTuning,
    data: ImageDataModule,
    folder: Path,
    flags: Mapping[str, Any],
    best: ModelCheckpoint | None = None,
    fitting: Fitting = Fitting(),  # noqa: B008  (frozen)
) -> Trained:
    """Trains and goes back to the best epoch; goes on where a training in the folder was stopped.

    Args:
        module: its classifier is trained in place; the best epoch has most of its `monitor`.
        data: what it is trained and validated on.
        folder: for `best.ckpt` and `last.ckpt`.
        flags: of the Trainer; of its list of loggers the first is the run's.
        best: chooses the epoch in another way.
        fitting: what the user says of it; its checkpoint is what a training in an empty folder
            begins with.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    best = best or ModelCheckpoint(
        folder, "best", monitor=module.monitor, mode="max", enable_version_counter=False
    )
    own: list[L.Callback] = [*fitting.early_stopping.callbacks(module.monitor), best]
    loggers = flags.get("logger") or []
    if loggers:
        own.append(Resumption(folder, best, loggers[0], fitting.checkpoint.every_n_steps))
    own += [weight_average(module.tuning.ema)] if module.tuning.ema else []
    trainer = made_trainer({**flags, "plugins": plugins(flags)}, own)
    leave_none_alone(module, data)
    last = folder / LAST
    begin = last if last.is_file() else fitting.file
    if begin is not None and begin == fitting.file:
        check_beginning(begin, module, trainer.max_epochs)
    diverged = ""
    try:
        if not uninterrupted(
            trainer, lambda: trainer.fit(module, data, ckpt_path=begin, weights_only=True)
        ):
            raise KeyboardInterrupt
    except DivergedError as error:
        diverged = str(error)
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        if _ALONE in str(error):
            raise _alone(data) from error
        if begin == fitting.file and is_of_another_optimizer(error):
            raise other_optimizer(fitting.file) from error
        if _UNWATCHED in str(error):
            raise _unwatched(fitting.early_stopping.monitor, str(error)) from error
        if not stepping_failed(error):
            raise
        raise UserError(f"The training cannot be stepped like this: {error}") from error
    restored = _restore(module, best.best_model_path)
    learnt = sum(p.numel() for p in module.classifier.parameters() if p.requires_grad)
    module.finish()
    score = float("nan") if best.best_model_score is None else float(best.best_model_score)
    return Trained(score, trainer.current_epoch, diverged, restored, learnt)


def train_steps(
    module: L.LightningModule,
    data: ImageDataModule,
    steps: int,
    flags: Mapping[str, Any],
    own: Sequence[L.Callback] = (),
) -> None:
    """Trains for some steps, quietly and without validation: what counts is the last step.

    Args:
        module: trained in place.
        data: what it is trained on.
        steps: of the optimizer.
        flags: of the Trainer, such as devices.
        own: callbacks.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    quiet = {
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "limit_val_batches": 0, "num_sanity_val_steps": 0,
        "max_epochs": -1,
    }  # fmt: skip
    trainer = made_trainer({**quiet, **flags, "max_steps": steps}, list(own))
    leave_none_alone(module, data)
    try:
        if not uninterrupted(trainer, lambda: trainer.fit(module, data)):
            raise KeyboardInterrupt
    except ValueError as error:
        raise _alone(data) if _ALONE in str(error) else error from error


def leave_none_alone(module: nn.Module, data: ImageDataModule) -> str:
    """Where batch norm learns, an image alone in the last batch of an epoch is left out.

    PyTorch refuses statistics of one value; a batch of one tells nothing of a batch anyway.

    Returns:
        What is to be said, which becomes a note of the data; empty where nothing is left out.
    """
    data.none_alone = any(isinstance(part, _BatchNorm) for part in module.modules())
    count, size = len(data.images("train")), data.batch_size
    if not (data.none_alone and 1 < size < count and count % size == 1):
        return ""
    note = (
        f"One of {count:,} training images, another in every epoch, is left out: the last batch of "
        f"{size} would hold it alone, and batch norm has to compare images."
    )
    if note not in data.notes:
        data.notes.append(note)
    return note


_ALONE = "Expected more than 1 value per channel when training"
"""What torch says of batch norm and a single image."""


def _alone(data: ImageDataModule) -> UserError:
    return UserError(
        "Expected at least two images in every training batch, as batch norm has to compare them, "
        f"but `data.batch_size` is {data.batch_size} and there are {len(data.images('train')):,} "
        "training images: take another batch size, or more images."
    )


_UNWATCHED = "Early stopping conditioned on metric"
"""What Lightning says of a number that is not logged."""


def _unwatched(monitor: str | None, error: str) -> UserError:
    known = error.rpartition("following: ")[2]
    return UserError(f"Expected `early_stopping.monitor` to be one of {known}, but got {monitor}.")


def trained_weights(
    study: Study, module: FineTuning, data: ImageDataModule, name: str, run: Run,
    facts: Mapping[str, Any] | None = None, fitting: Fitting = Fitting(),  # noqa: B008  (frozen)
) -> Path:  # fmt: skip
    """Trains a module unless the same training is on disk, and returns the folder of its weights.

    Args:
        study: gives flags, cells and the folder.
        module: its classifier gets the weights of the best epoch.
        data: what it is trained and validated on.
        name: of the folder below `mlruns/checkpoints`, to which the key is added.
        run: gets curves, recipe and model.
        facts: what decides the weights besides start, recipe, data, seed and flags.
        fitting: what the user says of the training.

    Raises:
        UserError: `ckpt_path` is last, and the training was never begun.
        DivergedError: the loss is no number; the last good epoch is saved and named.
    """
    flags = {**TRAINER, **study.flags}
    left_out = leave_none_alone(module, data)
    if left_out:
        study.say(f"data     {left_out}")
    added = module.regularisation.chosen  # without any the key is that of before there were any
    decides = {
        **({"regulariser": added} if added else {}),
        **({"none_alone": True} if left_out else {}),
        "start": model_digest(module.classifier), "module": type(module).__name__,
        "tuning": asdict(module.tuning), "perturb": repr(module.perturb),
        "data": data.training_digest(), "batch_size": data.batch_size, "augment": data.augment,
        "seed": data.seed, "flags": deciding(flags), "torch": torch.__version__, **(facts or {}),
    }  # fmt: skip
    if fitting.lr_find:
        decides["lr_find"] = _find_rate(study, module, data, decides, run)
    decides |= fitting.key()
    folder = study.root / "mlruns" / "checkpoints" / f"{name}-{study.cells.key(decides)[:8]}"

    def work(_: Path) -> Cell:
        if study.is_first and study.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        _tell_start(study, module, folder, fitting)
        logger = RunLogger(run)
        loggers = [logger, *listed(flags.get("logger"))]
        outcome = train(module, data, folder, {**flags, "logger": loggers}, fitting=fitting)
        if outcome.diverged:
            raise DivergedError(f"{outcome.diverged} {_rescued(module, outcome, folder)}")
        if study.is_first:
            save_classifier(module.classifier, folder)
        curves = pd.DataFrame(logger.points, columns=["key", "value", "step"])
        said = getattr(module, "overfitted", "")
        return Cell({"score": outcome.score, "epochs": outcome.epochs, "said": said}, curves)

    gone = not (folder / "model.safetensors").is_file()
    done = study.cells.known(study.cells.key(decides)) and not gone
    cell = study.cells.measured(decides, work, again=gone)
    module.finish()  # also where nothing was trained, because it was known
    load_into(module.classifier, folder)
    module.own_weights()
    if said := cell.facts["said"]:
        study.notes.append(said)
        study.say(said)
    curves = [*cell.rows.itertuples(index=False, name=None)] if done else []
    _log(run, module, data, cell, folder, curves, fitting)
    return folder


def shuffled(data: ImageDataModule, seed: int) -> ImageDataModule:
    """The same splits in another training order; nothing is loaded again."""
    data.images("train")
    other = copy.copy(data)
    other.reseed(seed)
    return other


def _find_rate(
    study: Study, module: FineTuning, data: ImageDataModule, decides: Mapping[str, Any], run: Run
) -> float:
    """The rate that a trial finds or has found before; the module takes it, the run tells it."""
    study.on_one_device("the learning rate is looked for on one device.")

    def work(folder: Path) -> Cell:
        return Cell({"rate": found_rate(module, data, study.flags, folder)})

    optimizer = module.optimization.told()
    cell = study.cells.measured({"cell": "learning rate", **decides, **optimizer}, work)
    rate = float(cell.facts["rate"])
    with_rate(module, rate)
    study.say(f"rate     {rate:.3g}, found by a trial of {STEPS} steps")
    with suppress(TrackingError):  # what is logged at the end says that the store is gone
        run.log_batch([("train/found_lr", rate, 0)])
    return rate


def _tell_start(study: Study, module: FineTuning, folder: Path, fitting: Fitting) -> None:
    """Says what of the user's steps it, and where a training goes on, if it does.

    Raises:
        UserError: it was to go on, and was never begun.
    """
    for name, words in module.optimization.told().items():
        study.say(f"{name:<8} {words}")
    last = folder / LAST
    if last.is_file():
        study.say(f"goes on  from {last}")
    elif fitting.ckpt_path == "last":
        raise UserError(
            f"Got `ckpt_path` last, but there is no {str(last)!r}: this training was never begun "
            "with these models, data, flags and seed. Leave it out, or name a file."
        )
    elif fitting.file is not None:
        study.say(f"goes on  from {fitting.file}")


def _log(
    run: Run, module: FineTuning, data: ImageDataModule, cell: Cell, folder: Path,
    curves: Sequence[tuple[str, float, int]], fitting: Fitting,
) -> None:  # fmt: skip
    """Logs what the Trainer does not; of a training that was done before the curves too."""
    recipe = {f"tuning.{name}": value for name, value in asdict(module.tuning).items()}
    own = {**fitting.facts(), **module.optimization.told()}
    for name in module.optimization.replaced:  # what they would say is not what was done
        del recipe[f"tuning.{name}"]
    perturb = repr(module.perturb)
    try:
        added = {f"regulariser.{k}": v for k, v in module.regularisation.chosen.items()}
        added |= {"told": module.told} if module.told else {}
        params = {**recipe, **added, **own, "epochs": cell.facts["epochs"], "perturb": perturb}
        run.log_batch(curves, params)
        run.log_data(data.manifest(), data.manifest_digest(), "train")
        run.log_model(module.classifier)
    except TrackingError as error:
        raise NotLoggedError(f"{error} The weights are in {str(folder)!r}.") from error


def _rescued(module: FineTuning, outcome: Trained, folder: Path) -> str:
    """Saves the last good epoch after a training that diverged, and says where."""
    if not outcome.restored:
        return "No epoch was finished, so there is no good checkpoint."
    return f"The best epoch before is kept in {str(save_classifier(module.classifier, folder))!r}."


def _restore(module: FineTuning, file: str) -> bool:
    if not file:
        return False
    state = torch.load(file, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return True
