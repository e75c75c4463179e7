"""What every command does round its own work: once, for all of them."""

import copy
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from callbacks.digests import model_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule
from datamodules.disk import disk_errors
from lightning_modules import Classifier
from pipelines.report.about import About, data_facts, environment, model_facts, now
from pipelines.report.figures import save_png
from pipelines.report.images import examples_of
from pipelines.report.markdown import write_markdown
from pipelines.report.page import write_page
from pipelines.report.result import Metric, Result, save_result
from pipelines.report.terminal import print_result
from pipelines.study.log import log_result
from pipelines.study.names import slug
from pipelines.study.subjects import Subjects
from pipelines.tracking import (
    NotLoggedError,
    Parent,
    Run,
    SchemaError,
    Store,
    TrackingError,
    UnreachableError,
    open_store,
    started,
)

_OF_A_PART = ("limit_test_batches", "fast_dev_run")
"""Flags of the Trainer by which an evaluation is of some images: a result of its own."""


class Study(Subjects):
    """One command from its options to its result; see `Setup` for its arguments."""

    def about(self, *models: Classifier, interrupted: bool = False) -> About:
        """What a result of this study is about.

        Args:
            *models: default: those that were opened.
            interrupted: these are only the rows so far.
        """
        shown = models or tuple(self.models)
        notes = [*self.notes, *(note for model in shown for note in model.notes)]
        named = len(self.data) > 1  # then nobody knows which set a note is of
        notes += [
            f"{data.title}: {note}" if named else note for data in self.data for note in data.notes
        ]
        notes += [_left_out(data) for data in self.data if data.skipped]
        notes += _reused(self.cells.reused)
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
            examples={data.title: examples_of(data) for data in self.data},
        )

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
                "limits": [str(data.limit) for data in self.data],
                "seed": self.seed,
                "chunk": self.chunk,
                "flags": [str(self.flags.get(name)) for name in ("accelerator", "precision")]
                + [f"{name} {self.flags[name]}" for name in _OF_A_PART if self.flags.get(name)],
                "settings": settings,
            }
        )
        self.folder = self.root / "mlruns" / "results" / f"{name}-{self._key[:8]}"
        board = self.tracking.board(self.root)
        with disk_errors(self.root / "mlruns"):
            self._store, self._problem = self._opened_store()
            about, above = self._tags(), self.parent.run if self.parent else None
            with started(self._store, name, about, above, self._keep(), board) as self.run:
                yield self.run
                if self._store:  # a store that was lost on the way: its runs are reopened later
                    self._check_logged()
        self._check_logged()
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
        files = {data.title: data.test_files() for data in self.data}
        if any(files.values()):
            (folder / "files.json").write_text(json.dumps(files))
        for name, figure in result.figures().items():
            save_png(figure, folder / "figures" / f"{name}.png")
        write_page([result], folder / "report.html")
        write_markdown([result], folder / "report.md", drawn=True)

    def work_for(self, command: str, folder: Path, run_id: str | None) -> None:
        """Measures cells for a command that another process logs and tells of.

        Args:
            command: as it was typed there.
            folder: of its result.
            run_id: of its run.
        """
        self.command, self.folder, self.run = command, folder, Run(run_id=run_id)
        self._store, self._problem, self._key = None, None, ""

    def only_looking(self) -> "Study":
        """A study of the same subjects that reads cells, and says, logs and measures nothing."""
        other = copy.copy(self)
        other.work_for(self.command, self.folder, self.run.run_id)
        other.config, other.notes, other.cells = "", [*self.notes], self.cells.only_read()
        return other

    def as_parent(self) -> Parent:
        """What makes the runs of other commands children of this one's."""
        return Parent(self.run, self._key)

    def lose_store(self, problem: TrackingError) -> None:
        """Goes on without a store that is gone; the end says so, and what was measured stays.

        Args:
            problem: why.
        """
        cause = problem.__cause__  # what was said of a question's results is said of all of them
        self._problem = cause if isinstance(cause, TrackingError) else problem
        self.run = Run(board=self.run.board)

    # -- details ---------------------------------------------------------------------------------

    def _check_logged(self) -> None:
        if self._problem:
            raise NotLoggedError(
                f"{self._problem} The results are in {str(self.folder)!r}; run the same command "
                "again to log them, nothing is measured twice."
            )

    def _opened_store(self) -> tuple[Store | None, TrackingError | None]:
        """Opens the store on rank 0; if it does not answer or fit, the results stay on disk."""
        if self.parent is not None:
            return self.parent.run.store, None
        if board := self.tracking.board(self.root):
            self.say(f"board    tensorboard --logdir {board}")
        if not self.tracking.enabled or not self.is_first:
            return None, None
        self.say(f"root     {self.root}")
        try:
            return open_store(self.tracking.uri, self.root, self.tracking.experiment), None
        except (UnreachableError, SchemaError) as problem:
            return None, problem

    def _tags(self) -> dict[str, str]:
        return {
            "question": self.question,
            "model": ", ".join(model.source or model.architecture for model in self.models),
            "data": ", ".join(data.title for data in self.data),
        }

    def _keep(self, stage: str = "") -> Path:
        """Remembers a run until the whole study is finished, so that it can be reopened."""
        name = f"{self.parent.key}.{self._key}" if self.parent else self._key
        name = f"{name}.{slug(stage)}" if stage else name
        return self.root / "mlruns" / "resume" / "runs" / f"{name}.json"


def _reused(measured: Sequence[str]) -> list[str]:
    """How many results came from an earlier run, whose latest is named."""
    if not measured:
        return []
    many = "1 result is" if len(measured) == 1 else f"{len(measured)} results are"
    return [f"{many} from an earlier run of {max(measured)[:16].replace('T', ' ')}."]


def _left_out(data: ImageDataModule) -> str:
    count = len(data.skipped)
    what = "file that is no image was" if count == 1 else "files that are no images were"
    return f"{count:,} {what} left out of {data.title}."
