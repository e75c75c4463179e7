"""What every command does round its own work: once, for all of them."""

import inspect
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from torch.utils.data import DataLoader, Dataset

from callbacks.digests import model_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule, open_data
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier, load_classifier
from lightning_modules.sources import match_classes
from pipelines.arguments import typed_command
from pipelines.cells import Cells
from pipelines.report.about import About, data_facts, environment, model_facts, now
from pipelines.report.figures import save_png
from pipelines.report.page import write_page
from pipelines.report.result import Metric, Result, save_result
from pipelines.report.terminal import print_result
from pipelines.tracking import (
    Run,
    Store,
    Tracking,
    TrackingError,
    UnreachableError,
    open_store,
    started,
)
from pipelines.tracking.log import log_result
from pipelines.tracking.store import resolved_uri
from pipelines.trainer import made_trainer

ModelLike = str | nn.Module
"""A source such as `torchvision:resnet18`, or a network."""
DataLike = str | ImageDataModule | DataLoader | Dataset
"""A name such as `MNIST` or `ImageFolder:photos`, or what gives images with labels."""


class Options(TypedDict, total=False):
    """What every command takes.

    Args:
        arch: architecture of a bare checkpoint, e.g. cifar_resnet20 or torchvision:resnet18; of
            several models one for all, or one each.
        seed: of every random number.
        chunk: images in every model call; larger is faster on a GPU.
        fresh: measure again what earlier runs of this folder have measured, and replace it.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.
    """

    arch: str | list[str] | None
    seed: int
    chunk: int
    fresh: bool
    trust_pickle: bool
    tracking: Tracking
    root: Path
    trainer: dict[str, Any] | None
    config: str


DEFAULTS: Options = {
    "arch": None, "seed": 0, "chunk": 128, "fresh": False, "trust_pickle": False,
    "tracking": Tracking(), "root": Path(), "trainer": None, "config": "",
}  # fmt: skip


class Study:
    """One command from its options to its result.

    Args:
        room: of the question: `evaluate`, `recover`, ...; first part of the run's name.
        question: tag of its runs.
        options: of the user.
        trainer: flags of the Trainer, where they differ from Lightning's.

    Raises:
        UserError: there is no such option, or the Trainer refuses its flags.
    """

    def __init__(
        self, room: str, question: str, options: Options, trainer: Mapping[str, Any] | None = None
    ) -> None:
        if unknown := [name for name in options if name not in DEFAULTS]:
            hint = suggestion(unknown[0], DEFAULTS)
            raise UserError(f"`{room}` has no option {unknown[0]!r}.{hint}")
        chosen: dict[str, Any] = {**DEFAULTS, **options}
        self.room, self.question = room, question
        given: str | list[str] | None = chosen["arch"]
        self.archs = [given] if isinstance(given, str) else list(given or ())
        self.trust_pickle: bool = chosen["trust_pickle"]
        self.seed: int = chosen["seed"]
        self.chunk: int = chosen["chunk"]
        self.fresh: bool = chosen["fresh"]
        self.tracking: Tracking = chosen["tracking"]
        self.config: str = chosen["config"]
        self.root = Path(chosen["root"]).resolve()
        self.flags = {**(trainer or {}), **_chosen_flags(chosen["trainer"] or {})}
        self.command = typed_command()
        self.notes: list[str] = []
        self.cells = Cells(self.root / "mlruns" / "cells", self.fresh)
        self._begun = time.perf_counter()
        self._told: set[str] = set()
        self.models: list[Classifier] = []
        self.data: list[ImageDataModule] = []
        self._trainer = self._checked_trainer()
        L.seed_everything(self.seed, verbose=False)

    # -- model and data --------------------------------------------------------------------------

    @property
    def arch(self) -> str | None:
        """The architecture of a command's one model.

        Raises:
            UserError: several were given.
        """
        if len(self.archs) > 1:
            raise UserError(f"Expected one `arch`, but got {len(self.archs)}.")
        return self.archs[0] if self.archs else None

    def open_data(self, data: DataLike) -> ImageDataModule:
        """The data set of a name, a loader or a data set, which the result will be about."""
        opened = open_data(data)
        self.data.append(opened)
        return opened

    def open_model(
        self,
        model: ModelLike,
        data: ImageDataModule,
        new_head: bool = False,
        arch: str | None = None,
    ) -> Classifier:
        """Loads a model and lets the data show it what it wants to see.

        Args:
            model: source or network.
            data: it will be measured on.
            new_head: give it a head for the classes of the data where they are others.
            arch: of a bare checkpoint; default: that of the options.
        """
        if isinstance(model, str):
            self.tell_data(data)
        classes = None if data.classes_counted else data.classes
        classifier = self.load_model(model, data, arch or self.arch, classes, new_head)
        if data.classes_counted and classifier.num_classes > data.num_classes:
            data.classes = classifier.classes  # some of its classes do not occur in the test images
        match_classes(classifier, data.classes, new_head)
        data.adopt(classifier.preprocessing)
        return classifier

    def load_model(
        self,
        model: ModelLike,
        data: ImageDataModule,
        arch: str | None = None,
        classes: Sequence[str] | None = None,
        new_head: bool = False,
    ) -> Classifier:
        """Loads a model and leaves the data as it is, which may have other classes.

        Args:
            model: source or network.
            data: its preprocessing is taken where the model says nothing of its own.
            arch: of a bare checkpoint.
            classes: that the model must have; None takes those that it has.
            new_head: give it a head for them where it has others.
        """
        self.name_store(model)
        classifier = load_classifier(
            model, arch=arch, data_classes=classes, preprocessing=data.preprocessing,
            new_head=new_head, trust_pickle=self.trust_pickle,
        )  # fmt: skip
        classifier.chunk = self.chunk
        self.models.append(classifier)
        return classifier

    def name_store(self, model: ModelLike) -> None:
        """Makes `mlflow:` models come from the store that runs are logged to."""
        if isinstance(model, str) and model.startswith("mlflow:"):
            import mlflow

            mlflow.set_tracking_uri(resolved_uri(self.tracking.uri, self.root))

    def about(self, *models: Classifier, interrupted: bool = False) -> About:
        """What a result of this study is about.

        Args:
            *models: default: those that were opened.
            interrupted: these are only the rows so far.
        """
        shown = models or tuple(self.models)
        notes = [*self.notes, *(note for data in self.data for note in data.notes)]
        return About(
            command=self.command,
            seed=self.seed,
            models=[model_facts(model) for model in shown],
            data=[{**data_facts(data), "digest": data.manifest_digest()} for data in self.data],
            environment=environment(self.device, self.precision, self.chunk),
            seconds=time.perf_counter() - self._begun,
            created=now(),
            run_id=self.run.run_id,
            notes=list(dict.fromkeys(notes)),
            interrupted=interrupted,
        )

    # -- where it is computed --------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self._trainer.strategy.root_device

    @property
    def precision(self) -> str:
        """Of the Trainer."""
        return str(self._trainer.precision)

    @property
    def computed_on(self) -> dict[str, Any]:
        """What of machine and build may change a number in its last digits, for keys of cells."""
        cpu = self.device.type == "cpu"
        return {
            "device": "cpu" if cpu else torch.cuda.get_device_name(self.device),
            "threads": torch.get_num_threads() if cpu else None,
            "precision": self.precision,
            "chunk": self.chunk,
            "torch": torch.__version__,
        }

    @property
    def is_first(self) -> bool:
        """Whether this process tells and logs; the Trainer decides, not the environment."""
        return not getattr(rank_zero_only, "rank", 0)

    def on_one_device(self, why: str) -> None:
        """Refuses several devices.

        Args:
            why: a sentence for the user.

        Raises:
            UserError: the Trainer's flags choose several.
        """
        if self._trainer.world_size > 1:
            raise UserError(f"Expected `trainer.devices` 1: {why}")

    def trainer(self, callbacks: list[L.Callback], **flags: Any) -> L.Trainer:
        """A Trainer of the user's flags.

        Args:
            callbacks: ours, before the user's.
            **flags: defaults, which the user's flags override, but for `logger`.
        """
        logger = {"logger": flags.pop("logger", False)}
        return made_trainer({**flags, **self.flags, **logger}, callbacks)

    def say(self, text: str) -> None:
        """Prints a line of the command line, once; a notebook gets its result and nothing else."""
        if self.config and self.is_first:
            print(text, flush=True)

    # -- the run ---------------------------------------------------------------------------------

    def name(self, *models: str) -> str:
        """Name of run and folder: `evaluate-lenet-MNIST-s0`; no character can leave the folder."""
        named = models or tuple(model_facts(model)["name"] for model in self.models)
        parts = [self.room, *named, *(data.title for data in self.data)]
        return f"{slug('-'.join(parts))[:100]}-s{self.seed}"

    @contextmanager
    def running(self, name: str, settings: Mapping[str, Any]) -> Iterator[Run]:
        """Opens the store and the run, and ends both well whatever happens inside.

        Args:
            name: of the run, from `name`.
            settings: everything besides model, data, seed and chunk that decides the result.
        """
        self._key = fingerprint(
            {
                "room": self.room,
                "models": [model_digest(model) for model in self.models],
                "data": [data.manifest_digest() for data in self.data],
                "seed": self.seed,
                "chunk": self.chunk,
                "flags": [str(self.flags.get(name)) for name in ("accelerator", "precision")],
                "settings": settings,
            }
        )
        self.folder = self.root / "mlruns" / "results" / f"{name}-{self._key[:8]}"
        self._store, self._problem = self._opened_store()
        board = self.tracking.board(self.root)
        with started(self._store, name, self._tags(), keep=self._keep(), board=board) as self.run:
            yield self.run
        if self._problem:
            raise TrackingError(
                f"{self._problem} The results are in {str(self.folder)!r}; run the same command "
                "again to log them, nothing is measured twice."
            )
        if self._store and self.is_first:
            self.say(f"MLflow   {self._store.link}")

    @contextmanager
    def stage(self, name: str, **tags: str) -> Iterator[Run]:
        """A run of its own below the study's, for what has a model of its own.

        Args:
            name: of the stage, e.g. `damaged zero 0.3`.
            **tags: besides those of the study.
        """
        about = {**self._tags(), "stage": name, **tags}
        with started(self._store, name, about, self.run, self._keep(name)) as run:
            yield run

    def log_stage(
        self,
        name: str,
        result: Result,
        classifier: Classifier | None = None,
        metrics: Sequence[Metric] = (),
        **tags: str,
    ) -> Run:
        """Writes a result of a stage below the study's folder and logs it to a run of its own.

        Args:
            name: of the stage.
            result: mostly an evaluation, just measured or kept in a cell.
            classifier: logged as a model; None logs none: what was damaged may not load again.
            metrics: of the stage besides the result's, e.g. the curve of its training.
            **tags: besides those of the study.
        """
        with self.stage(name, **tags) as run:
            about = replace(result.about, run_id=run.run_id)
            result = replace(result, about=about)  # type: ignore[type-var]  # a dataclass
            if self.is_first:
                folder = self.folder / "stages" / slug(name)
                self.write(result, folder)
                log_result(run, result, folder, classifier)
                run.log_batch(metrics)
        return run

    def finish(self, result: Result, classifier: Classifier | None = None) -> None:
        """Writes a result to disk, tells it, and logs it to the study's run.

        Args:
            result: complete, or the rows so far.
            classifier: logged as a model; None logs none.
        """
        if not self.is_first:
            return
        self.write(result, self.folder)
        if self.config:
            print_result(result)
        self.say(f"\nreport   {self.folder / 'report.html'}")
        log_result(self.run, result, self.folder, classifier)

    def write(self, result: Result, folder: Path) -> None:
        """Writes everything to disk before anything is logged."""
        save_result(result, folder)
        (folder / "config.yaml").write_text(self.config)
        splits = {data.title: data.split_indices() for data in self.data}
        (folder / "splits.json").write_text(json.dumps(splits))
        for name, figure in result.figures().items():
            save_png(figure, folder / "figures" / f"{name}.png")
        write_page([result], folder / "report.html")

    # -- details ---------------------------------------------------------------------------------

    def _checked_trainer(self) -> L.Trainer:
        """A Trainer of the flags; a single process is rank 0 whatever its environment says."""
        flags = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = made_trainer({**self.flags, **flags, "callbacks": None}, [])
        if trainer.world_size == 1:
            rank_zero_only.rank = 0  # pyright: ignore[reportFunctionMemberAccess]
        return trainer

    def _opened_store(self) -> tuple[Store | None, TrackingError | None]:
        """Opens the store on rank 0; without an answering server the results stay on disk."""
        if board := self.tracking.board(self.root):
            self.say(f"board    tensorboard --logdir {board}")
        if not self.tracking.enabled or not self.is_first:
            return None, None
        self.say(f"root     {self.root}")
        try:
            return open_store(self.tracking.uri, self.root, self.tracking.experiment), None
        except UnreachableError as problem:
            return None, problem

    def _tags(self) -> dict[str, str]:
        return {
            "question": self.question,
            "model": ", ".join(model.source or model.architecture for model in self.models),
            "data": ", ".join(data.title for data in self.data),
        }

    def _keep(self, stage: str = "") -> Path:
        """Remembers a run until the whole study is finished, so that it can be reopened."""
        name = f"{self._key}.{slug(stage)}" if stage else self._key
        return self.root / "mlruns" / "resume" / "runs" / f"{name}.json"

    def tell_data(self, data: ImageDataModule) -> None:
        """Says once where the images are, however many models are opened for them."""
        line = f"data     {data.title} in {data.root}"
        if line not in self._told:
            self._told.add(line)
            self.say(line)


def _chosen_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out Lightning's own defaults, which the command line fills in, but no user has chosen.

    They would override what a stage asks of its Trainer, and the keys of cells would tell a command
    from the same call in Python.
    """
    usual = inspect.signature(L.Trainer).parameters
    chosen = {name: value for name, value in flags.items() if value is not None}
    return {k: v for k, v in chosen.items() if k not in usual or v != usual[k].default}


def slug(text: str) -> str:
    """A text as files and runs can be called: letters, digits, `_ . -`; never a dot first."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "-"


def unique(names: Sequence[str]) -> list[str]:
    """Numbers the names that occur again."""
    return [
        f"{name}-{1 + list(names[:i]).count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
