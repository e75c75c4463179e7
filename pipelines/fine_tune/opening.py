"""What every fine-tuning begins with: its data and model, opened and checked."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from datamodules import ImageDataModule
from lightning_modules import Classifier, Tuning
from lightning_modules.own_optimization import OwnOptimization
from pipelines.study import Study, options_in
from pipelines.study.fitting import Fitting
from pipelines.study.probing import probe_first
from pipelines.study.trainer_flags import TRAINER, check_flags


class Begun(NamedTuple):
    """A command whose data are open.

    Args:
        study: of the command, or of a worker.
        data: to train, validate and test on.
        tuning: the recipe.
        fitting: what the user says of the training besides.
    """

    study: Study
    data: ImageDataModule
    tuning: Tuning
    fitting: Fitting


def begun(asked: Mapping[str, Any]) -> Begun:
    """Opens the data.

    Args:
        asked: arguments of `fine-tune`, options included.

    Raises:
        UserError: something the user can mend.
    """
    own = OwnOptimization(asked["optimizer"], asked["scheduler"])
    said = (asked[name] for name in ("lr_find", "early_stopping", "checkpoint", "ckpt_path"))
    fitting = Fitting(own, *said)
    tuning = fitting.tuned(asked["tuning"])
    study = Study("fine-tune", "training", options_in(asked), TRAINER)
    check_flags(study.flags, asked["evaluation"] != "none")
    return Begun(study, study.open_data(asked["data"]), tuning, fitting)


def open_one_head(one: Begun, asked: Mapping[str, Any]) -> Classifier:
    """Opens the model, with a head for the classes of the data."""
    classifier = one.study.open_model(asked["model"], one.data, new_head=True).train()
    if one.tuning.mode == "lp_ft":
        probe_first(one.study, classifier, one.data)
    return classifier
