"""`assay fine-tune`: train a classifier on your images, keep it, and evaluate it."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from datamodules import ImageDataModule
from lightning_modules import (
    Classifier,
    FineTuning,
    Perturb,
    Tuning,
    save_classifier,
    weight_average,
)
from lightning_modules.black_box import require_layers
from pipelines.arguments import parse
from pipelines.evaluate import classifier_for, evaluate, opened
from pipelines.run_logger import RunLogger
from pipelines.tracking import Run, Tracking, TrackingError, started
from pipelines.trainer import device_flags, made_trainer, uninterrupted

TRAINER: dict[str, Any] = {
    "max_epochs": 5,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


def main(words: list[str]) -> int:
    """Runs the command line."""
    fine_tune(**parse(fine_tune, words, TRAINER))
    return 0


def fine_tune(
    model: str | Classifier,
    data: ImageDataModule,
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    perturb: Perturb | None = None,
    evaluation: Literal["quick", "regular", "full", "none"] = "quick",
    arch: str | None = None,
    seed: int = 0,
    chunk: int = 128,
    trust_pickle: bool = False,
    tracking: Tracking = Tracking(),  # noqa: B008  (frozen)
    root: Path = Path(),
    trainer: dict[str, Any] | None = None,
    config: str = "",
) -> Classifier:
    """Trains a classifier on labelled images, keeps the best epoch, and evaluates it.

    Args:
        model: where it starts, e.g. lenet, torchvision:resnet18, checkpoint:FILE; a head for other
            classes is replaced.
        data: what it is trained, validated and tested on.
        tuning: the recipe.
        perturb: disturbs training images: noise, or an attack for adversarial training.
        evaluation: preset of the evaluation afterwards, or none.
        arch: architecture of a bare checkpoint.
        seed: of everything random.
        chunk: images in every model call of the evaluation.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.

    Returns:
        The trained classifier, with the weights of the best validation accuracy.
    """
    L.seed_everything(seed, verbose=False)
    classifier = classifier_for(model, data, arch, trust_pickle, new_head=True).train()
    require_layers(classifier, "Fine-tuning")
    store, problem = opened(tracking, root)
    name = f"{classifier.architecture.rpartition(':')[2]}-{data.name}-s{seed}"
    tags = {"model": classifier.source, "data": data.name}
    about, board = {**tags, "role": "pipeline"}, tracking.board(root)
    with started(store, f"fine-tune-{name}", about, board=board) as parent:
        with started(store, f"training-{name}", {**tags, "question": "training"}, parent) as run:
            module = FineTuning(classifier, tuning, perturb)
            folder = _fit(module, data, run, name, root, trainer or {}, config)
        classifier.source = f"checkpoint:{folder}"
        if evaluation != "none":
            evaluate(
                classifier,
                data,
                preset=evaluation,
                seed=seed,
                chunk=chunk,
                tracking=tracking,
                root=root,
                trainer=device_flags(trainer or {}),
                config=config,
                parent=parent,
            )
    if problem and evaluation == "none":  # else the evaluation has said so
        raise TrackingError(f"{problem} The weights are in {str(folder)!r}.")
    rank_zero_only(print)(
        f"weights  {folder}\n\nYour own model:  assay evaluate --model checkpoint:FILE --arch "
        "torchvision:resnet18 --data ImageFolder --data.root FOLDER"
    )
    return classifier


def _fit(
    module: FineTuning,
    data: ImageDataModule,
    run: Run,
    name: str,
    root: Path,
    flags: dict[str, Any],
    config: str,
) -> Path:
    """Trains, takes the weights of the best epoch, and saves them; returns the folder."""
    folder = root / "mlruns" / "checkpoints" / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    best = ModelCheckpoint(folder, "best", monitor="val/acc", mode="max", save_last=True)
    own = flags.pop("callbacks", None) or []
    average = [weight_average(module.tuning.ema)] if module.tuning.ema else []
    flags = {**TRAINER, **flags, "logger": RunLogger(run)}
    trainer = made_trainer(flags, [best, *average, *own])
    if not uninterrupted(trainer, lambda: trainer.fit(module, data)):
        raise KeyboardInterrupt
    if best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        module.load_state_dict(state["state_dict"])
    save_classifier(module.classifier, folder)
    try:
        _log(run, module, data, trainer.current_epoch)
    except TrackingError as error:
        raise TrackingError(f"{error} The weights are in {str(folder)!r}.") from error
    return folder


def _log(run: Run, module: FineTuning, data: ImageDataModule, epochs: int) -> None:
    recipe = {f"tuning.{name}": value for name, value in asdict(module.tuning).items()}
    run.log_batch(params={**recipe, "epochs": epochs, "perturb": repr(module.perturb)})
    run.log_data(data.manifest(), data.manifest_digest(), "train")
    run.log_model(module.classifier)
