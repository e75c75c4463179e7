"""The base class of everything that measures: it deals with Lightning, so that a probe need not."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.digests import answers_digest, classes_in, model_digest, source_digest
from callbacks.leave_no_trace import leave_no_trace
from callbacks.measurement import Listener, Measurement, Samples, Setting
from callbacks.outcomes import Outcomes
from callbacks.progress import EvaluationProgress
from callbacks.queries import Queries
from callbacks.resume import Resume, forget
from callbacks.rows import outcome_columns
from callbacks.subset import chosen
from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.preprocessing import in_unit_range
from lightning_modules.chunks import in_chunks, shared_evenly
from lightning_modules.classifier import Classifier

_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "64-true")


class Probe(L.Callback, ABC):
    """Measures a classifier during `trainer.test` and leaves it as it was.

    A probe names its `settings` and implements `measure`; the rest happens here: images queue
    across batches into pools of several chunks, inference mode is left and gradients enabled, the
    Trainer's precision applies, rows are written to disk as they come and never measured twice.

    Args:
        limit: measure this many samples, the same ones for every model; None measures all.
        chunk: images in every model call, at most: where they would not fill the last one, all get
            fewer; rows are used again between equal chunks.
        pool: chunks of images handed to `measure` at once, so that survivors can refill chunks.
        seed: of every random number.
    """

    family: ClassVar[str]
    """Folder of the probe and prefix of its metric keys."""
    title: ClassVar[str]
    """For tables and plots."""
    unit: ClassVar[str]
    """Of the severity, the label of the horizontal axis."""
    version: ClassVar[int] = 1
    """Raised whenever the same settings would give other rows: stored rows are then not reused."""
    extras: ClassVar[tuple[str, ...]] = ()
    """Columns of its own."""

    @property
    def reported(self) -> tuple[str, ...]:
        """Those of its columns whose means are numbers for tables and metric keys."""
        return ()

    def __init__(
        self, *, limit: int | None = None, chunk: int = 128, pool: int = 8, seed: int = 0
    ) -> None:
        for name, number in (("limit", limit), ("chunk", chunk), ("pool", pool)):
            if number is not None and number < 1:
                raise UserError(f"Expected `{name}` to be at least 1, but got {number}.")
        self.limit, self.pool, self.seed = limit, pool, seed
        self.most, self.chunk = chunk, chunk
        """Images in a call at most, and as they are shared out once it is known how many."""
        self.resume_folder: Path | None = None
        """Where rows are kept while they are measured; None keeps them in memory only."""
        self.fresh = False
        """Measure again what is kept there, and replace it."""
        self.reused = ""
        """How many rows came from an earlier run, and when that was."""
        self.note = ""
        """What decides how far its numbers can be trusted, found out while measuring."""
        self._listener: Listener | None = None
        self._outcomes: Outcomes | None = None
        self._queue: list[Samples] = []

    @classmethod
    def within(cls, budget: Budget, **options: Any) -> Self:
        """Makes the probe with the part of a preset's budget that every probe has.

        Args:
            budget: of a preset.
            **options: of the constructor; they come first.
        """
        shared = {"limit": budget.limit, "chunk": budget.chunk, "seed": budget.seed}
        return cls(**{**shared, **options})

    # -- what a probe says of itself -------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in tables, files and metric keys."""

    @property
    def algorithm(self) -> str:
        """What is done, with every parameter: the label in tables and a part of the resume key."""
        return self.name

    @property
    def places(self) -> dict[str, str]:
        """Names of severities that are places, such as layers, by the text of their step."""
        return {}

    @abstractmethod
    def settings(self) -> tuple[Setting, ...]:
        """The points of its severity curve; known after `prepare`."""

    @abstractmethod
    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Yields one measurement for each of `settings`.

        Args:
            model: to be asked; gradients are enabled, parameters frozen, evaluation mode on.
            samples: any number of images; what is yielded has one row for each.
            settings: those still to be measured for these samples.
        """

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Adapts defaults to model and data, and refuses what cannot be measured on them."""

    def judged(self, index: Tensor) -> Tensor:
        """Of `(N,)` indices of all test samples those that may be measured: all of them."""
        return index

    def cost(self, setting: Setting) -> float:
        """Predicted forwards per image, for the time left; a backward counts as two forwards."""
        return 1.0

    # -- what Lightning calls --------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuses what would give wrong numbers."""
        if stage != "test":
            raise UserError(f"Probes run in `trainer.test`, but the stage is {stage!r}.")
        if not isinstance(pl_module, Classifier):
            raise UserError(f"Expected a Classifier, but got {type(pl_module).__name__}: wrap it.")
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise UserError(
                f"Expected `trainer.strategy` to be a single device or ddp, but got "
                f"{type(trainer.strategy).__name__}: sharded models cannot be differentiated by "
                "the image on one rank alone."
            )
        if trainer.precision not in _PRECISIONS:
            raise UserError(
                f"Expected `trainer.precision` to be one of {', '.join(_PRECISIONS)}, but got "
                f"{trainer.precision}: it rounds the images themselves."
            )
        self.prepare(pl_module, getattr(trainer, "datamodule", None))

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens the rows, those of an earlier try included."""
        assert isinstance(pl_module, Classifier)
        self._outcomes = Outcomes(self.settings(), self.extras, _cpu_group())
        self._queue = []
        every = _data(trainer).test_index
        index = self.judged(every)
        self._chosen = chosen(index, self.limit, self.seed)
        if self._chosen is None and len(index) < len(every):
            self._chosen = index
        n = len(index if self._chosen is None else self._chosen)
        self.chunk = shared_evenly(n, self.most)
        self._progress = EvaluationProgress.of(trainer)
        self._progress.plan(self, -(-n // trainer.world_size))
        facts = self._facts(trainer, pl_module)
        if self.fresh and self.resume_folder is not None:
            if trainer.is_global_zero:
                forget(self.resume_folder, self.settings(), facts)
            trainer.strategy.barrier()  # nobody reads what is about to go
        self._resume = Resume(self.resume_folder, self.settings(), facts)
        self.reused = self._resume.told(index if self._chosen is None else self._chosen)
        self._model = Queries(pl_module, self.chunk, trainer.precision_plugin.forward_context)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Queues a batch and measures as soon as a pool is full."""
        with _gradients():
            # Clones: tensors made in inference mode can never be differentiated.
            samples = Samples(*(part.clone() for part in (*batch, outputs.float())), seed=self.seed)
            if self._chosen is not None:
                samples = samples.select(torch.isin(samples.index, self._chosen.to(batch.index)))
            samples = self._take_known(samples)
            if len(samples):
                self._queue.append(samples)
            while sum(map(len, self._queue)) >= self.chunk * self.pool:
                self._measure_pool(pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measures what is left, then lets the ranks exchange their rows."""
        with _gradients():
            while self._queue:
                self._measure_pool(pl_module)
        self.outcomes.prepare_to_sync()
        self.rows = self.outcomes.compute()

    # -- results ---------------------------------------------------------------------------------

    @property
    def outcomes(self) -> Outcomes:
        """The metric that holds the rows."""
        if self._outcomes is None:
            raise UserError(f"Probe {self.name!r} has not measured yet: run `trainer.test` first.")
        return self._outcomes

    def rows_so_far(self) -> pd.DataFrame:
        """This process's rows, without waiting for the others: for a run that was interrupted."""
        with self.outcomes.sync_context(should_sync=False):
            return self.outcomes.compute()

    # -- for what listens ------------------------------------------------------------------------

    def listen(self, listener: Listener | None) -> None:
        """Lets somebody see the images that were made, not only the answers to them.

        Args:
            listener: is told; only probes that make images for the answers tell it.
        """
        self._listener = listener

    def kept_in(self, setting: Setting) -> Path | None:
        """Folder of the rows of a setting, known once the pass has begun; None keeps nothing."""
        return self._resume.folder(setting)

    def ask(self, image: Tensor) -> Tensor:
        """Answers of the model that is measured to other images, in chunks of the same shape."""
        return self._model(image)

    def measure_again(
        self, trainer: L.Trainer, module: Classifier, index: Sequence[int], setting: Setting
    ) -> None:
        """Measures samples once more for what listens; the rows stay as they are.

        Args:
            trainer: of the pass.
            module: that is measured.
            index: of the samples, at least one.
            setting: one of `settings`.
        """
        images = _data(trainer).images("test")
        places = (images.index[None] == torch.as_tensor(index)[:, None]).nonzero()[:, 1]
        context = trainer.precision_plugin.forward_context
        with _gradients(), leave_no_trace(module, f"The probe {self.name!r}"):
            batch = images.__getitems__(places.tolist())
            image, label, found = (part.to(module.device) for part in batch)
            image = in_unit_range(image)
            with torch.no_grad(), context():
                logits = in_chunks(module, image, module.chunk).float()
            samples = Samples(image, label, found, logits, seed=self.seed)
            list(self.measure(self._model, samples, [setting]))

    # -- the work --------------------------------------------------------------------------------

    def _take_known(self, samples: Samples) -> Samples:
        """Takes rows of an earlier try and returns the samples with something left to measure."""
        for setting in self.settings():
            if columns := self._resume.known(setting, samples.index):
                self.outcomes.update(setting, columns)
                self._progress.advance(self, setting, len(columns["index"]))
        return samples.select(self._resume.unfinished(samples.index))

    def _measure_pool(self, module: L.LightningModule) -> None:
        """Measures one pool from the queue under every setting that lacks rows of it."""
        joined = Samples.join(self._queue)
        size = self.chunk * self.pool
        pool, rest = joined.select(slice(size)), joined.select(slice(size, None))
        self._queue = [rest] if len(rest) else []
        with leave_no_trace(module, f"The probe {self.name!r}"):
            for settings, mask in self._resume.groups(pool.index):
                self._measure(pool.select(mask), settings)

    def _measure(self, samples: Samples, settings: Sequence[Setting]) -> None:
        measurements = self.measure(self._model, samples, settings)
        for setting in settings:
            self._progress.show(self, setting)
            start, forwards, backwards = time.perf_counter(), *self._counts()
            measurement = next(measurements)
            n, after = len(samples), self._counts()
            label = samples.label if measurement.label is None else measurement.label
            columns: dict[str, Tensor] = {
                "index": samples.index,
                **outcome_columns(measurement.logits, label),
                "forwards": torch.full((n,), (after[0] - forwards) / n),
                "backwards": torch.full((n,), (after[1] - backwards) / n),
                **measurement.extras,
                "seconds": torch.full((n,), (time.perf_counter() - start) / n),
            }
            self.outcomes.update(measurement.setting, columns)
            self._resume.keep(measurement.setting, columns)
            self._progress.advance(self, setting, n)

    def _facts(self, trainer: L.Trainer, classifier: Classifier) -> dict[str, Any]:
        """Everything besides the setting that may change a row."""
        device = classifier.device
        kept = self.resume_folder is not None
        return {
            "model": model_digest(classifier) if kept else None,
            "answers": _some_answers(trainer, classifier) if kept else None,
            "architecture": classifier.architecture,
            "preprocessing": repr(classifier.preprocessing),
            "answer_rule": repr(classifier.answers),
            "data": _data(trainer).manifest_digest() if kept else None,
            "probe": f"{type(self).__name__} {self.version}",
            "source": self._source() if kept else None,
            "algorithm": self.algorithm,
            "seed": self.seed,
            "chunk": (self.chunk, classifier.chunk),
            "precision": trainer.precision,
            "threads": torch.get_num_threads() if device.type == "cpu" else None,
            "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
            "torch": torch.__version__,
        }

    def _source(self) -> str:
        """The source of the probe and of what it is made of, such as an attack."""
        held = [value for name, value in vars(self).items() if not name.startswith("_")]
        return source_digest(type(self), *classes_in(held))

    def _counts(self) -> tuple[int, int]:
        return self._model.forwards, self._model.backwards


_FIXED = 8
"""Images whose answers are a part of the key."""
_ANSWERS: WeakKeyDictionary[L.Trainer, str] = WeakKeyDictionary()


def _some_answers(trainer: L.Trainer, classifier: Classifier) -> str:
    """The bits of the answers to some images, and of their gradients; asked once a pass."""
    if trainer not in _ANSWERS:
        with _gradients(), leave_no_trace(classifier), trainer.precision_plugin.forward_context():
            image = _data(trainer).taken("test", _FIXED).image.to(classifier.device)
            with torch.no_grad():
                answers = answers_digest(classifier(image).float())
            _ANSWERS[trainer] = answers + _some_gradients(classifier, image)
    return _ANSWERS[trainer]


def _some_gradients(classifier: Classifier, image: Tensor) -> str:
    """The bits of gradients by the image: a backward of the user's changes attacks, not answers.

    Nothing on a GPU, where two gradients of one network may differ in their last bits.
    """
    if image.device.type != "cpu":
        return ""
    try:
        leaf = image.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(classifier(leaf).float().square().sum(), leaf)
    except (RuntimeError, UserError):  # it gives none
        return ""
    return answers_digest(gradient)


def _data(trainer: L.Trainer) -> ImageDataModule:
    """The data module under test, which knows every sample's index."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ImageDataModule):
        raise UserError(
            "Expected `trainer.test(classifier, datamodule=...)` with an ImageDataModule, but got "
            f"{type(data).__name__}: rows are kept by sample index, which plain loaders lack."
        )
    return data


@contextmanager
def _gradients() -> Iterator[None]:
    """Leaves inference mode *and* enables gradients: under the Trainer either alone fails."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _cpu_group() -> Any:
    """A gloo group, so that rows are never gathered onto a GPU; ranks may finish days apart."""
    if not torch.distributed.is_initialized():
        return None
    return torch.distributed.new_group(backend="gloo", timeout=timedelta(days=7))
