"""`assay evaluate`: one pass over the test data with any probes, into MLflow and a report."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from callbacks import PROBES, Budget, EvaluationProgress, Probe
from callbacks.resume import weights_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier, load_classifier
from lightning_modules.examination import examine
from lightning_modules.sources import match_classes
from pipelines.arguments import parse, typed_command
from pipelines.evaluation import Evaluation
from pipelines.presets import PRESETS
from pipelines.record import describe
from pipelines.report import curves, print_summary, save_png, write_report
from pipelines.results import check_settings
from pipelines.store import resolved_uri
from pipelines.tracking import (
    Run,
    Store,
    Tracking,
    TrackingError,
    UnreachableError,
    log_evaluation,
    log_headline,
    open_store,
    started,
)
from pipelines.trainer import made_trainer, uninterrupted

TRAINER: dict[str, Any] = {
    "enable_checkpointing": False,
    "enable_progress_bar": False,  # ours names probe and setting
    "enable_model_summary": False,
    "use_distributed_sampler": False,  # the data module's own sampler does not pad
}


_SHOWN = 16
"""Test images that a model is examined with before anything is measured."""


def main(words: list[str]) -> int:
    """Runs the command line."""
    evaluate(**parse(evaluate, words, TRAINER))
    return 0


def evaluate(
    model: str | Classifier,
    data: ImageDataModule,
    probes: list[str | Probe] | None = None,
    preset: Literal["quick", "regular", "full"] = "quick",
    arch: str | None = None,
    seed: int = 0,
    chunk: int = 128,
    fresh: bool = False,
    trust_pickle: bool = False,
    tracking: Tracking = Tracking(),  # noqa: B008  (frozen)
    root: Path = Path(),
    trainer: dict[str, Any] | None = None,
    config: str = "",
    parent: Run | None = None,
    stage: str = "",
) -> Evaluation:
    """Measures a model in one pass over test data and logs every number with its interval.

    Args:
        model: where it comes from, e.g. torchvision:resnet18, checkpoint:FILE, mlflow:runs:/ID; see
            `assay list models`.
        data: what it is tested on; see `assay list data`.
        probes: names (see `assay list probes`), or objects in YAML; default: those of the preset.
        preset: samples, budgets and default probes; see `assay list presets`.
        arch: architecture of a bare checkpoint, e.g. cifar_resnet20 or torchvision:resnet18.
        seed: of every random number.
        chunk: images in every model call; larger is faster on a GPU.
        fresh: measure again what earlier runs of this folder have measured.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.
        parent: run of a pipeline that this evaluation is a part of.
        stage: what the pipeline has done to the model, e.g. damaged; names the run, prints less.

    Returns:
        The evaluation: rows of every probe and what they were measured with.

    Raises:
        UserError: something the user can mend.
        KeyboardInterrupt: after the rows so far are logged.
    """
    L.seed_everything(seed, verbose=False)
    _name_store(model, tracking, root)
    classifier = classifier_for(model, data, arch, trust_pickle).eval()
    classifier.chunk = chunk
    chosen = make_probes(probes, preset, chunk, seed)
    for probe in chosen:
        probe.resume_folder = None if fresh else (root / "mlruns" / "resume").resolve()
        probe.prepare(classifier, data)
        settings = [(one.name, one.severity, one.value) for one in probe.settings()]
        check_settings(probe.name, settings)
    key = fingerprint(
        {
            "weights": weights_digest(classifier),
            "data": data.manifest_digest(),
            "probes": [(probe.algorithm, probe.settings(), probe.limit) for probe in chosen],
            "seed": seed,
            "chunk": chunk,
            "trainer": [str((trainer or {}).get(name)) for name in ("accelerator", "precision")],
        }
    )
    store, problem = opened(tracking, root, tell=not stage)
    tags = {"model": classifier.source, "data": data.name, "question": "robustness"}
    name = f"{_short(classifier)}-{data.name}-s{seed}"
    title = f"robustness-{name}"
    if stage:
        tags, title, name = {**tags, "stage": stage}, stage, f"{name}-{_slug(stage)}"
    keep = root / "mlruns" / "resume" / "runs" / f"{key}.json"
    with (
        pipeline_run(store, f"evaluate-{name}", tags, parent, keep, tracking.board(root)) as above,
        started(store, title, tags, above, keep.with_suffix(".child.json")) as run,
    ):
        start = time.perf_counter()
        flags = {**TRAINER, **(trainer or {}), "logger": False}
        made = made_trainer(flags, [EvaluationProgress(), *chosen])
        interrupted = not uninterrupted(made, lambda: made.test(classifier, data, verbose=False))
        evaluation = describe(
            classifier,
            data,
            chosen,
            run.run_id,
            typed_command(),
            time.perf_counter() - start,
            str(made.precision),
            partial=interrupted,
        )
        if made.is_global_zero:
            folder = root / "mlruns" / "evaluations" / f"{name}-{key[:8]}"
            _keep(evaluation, folder, config, data)
            if not stage:
                print_summary(evaluation)
                print(f"\nreport   {folder / 'report.html'}")
            kept = None if stage else classifier  # what a pipeline has damaged may not load again
            log_evaluation(run, evaluation, folder, kept, data.manifest_digest())
            if not stage:
                log_headline(above, evaluation)
                _tell(store, problem, folder)
        if interrupted:
            raise KeyboardInterrupt
    return evaluation


def make_probes(
    probes: Sequence[Probe | str] | None, preset: str, chunk: int = 128, seed: int = 0
) -> list[Probe]:
    """Makes probes of names with the preset's budget; the clean images are always measured first.

    Args:
        probes: names and probes; None takes the preset's.
        preset: a key of `PRESETS`.
        chunk: images in every model call.
        seed: of every random number.
    """
    plan = PRESETS[preset]
    spent = (plan.limit, plan.steps, plan.restarts, plan.objective, plan.curve)
    budget = Budget(*spent, chunk=chunk, seed=seed)
    names = list(plan.probes if probes is None else probes)
    if unknown := [name for name in names if isinstance(name, str) and name not in PROBES]:
        raise UserError(f"There is no probe {unknown[0]!r}.{suggestion(unknown[0], PROBES)}")
    made = [PROBES[one](budget) if isinstance(one, str) else one for one in names]
    if not any(probe.name == "clean" for probe in made):
        made.insert(0, PROBES["clean"](budget))
    seen: set[str] = set()
    for probe in made:
        if probe.name in seen:
            raise UserError(f"Two probes are named {probe.name!r}: give one of them a `label`.")
        seen.add(probe.name)
    return made


def _name_store(model: str | Classifier, tracking: Tracking, root: Path) -> None:
    """Makes `mlflow:` models come from the store that runs are logged to."""
    if isinstance(model, str) and model.startswith("mlflow:"):
        import mlflow

        mlflow.set_tracking_uri(resolved_uri(tracking.uri, root))


def classifier_for(
    model: str | Classifier,
    data: ImageDataModule,
    arch: str | None,
    trust_pickle: bool,
    new_head: bool = False,
) -> Classifier:
    """Loads the model and lets the data show it what it wants to see."""
    if isinstance(model, Classifier):
        classifier = model
        match_classes(classifier, data.classes, new_head)
    else:
        rank_zero_only(print)(f"data     {data.name} in {data.root}")
        classifier = load_classifier(
            model,
            arch=arch,
            data_classes=data.classes,
            preprocessing=data.preprocessing,
            new_head=new_head,
            trust_pickle=trust_pickle,
        )
    data.adopt(classifier.preprocessing)
    examine(classifier, data.taken("test", _SHOWN).image)
    return classifier


def opened(
    tracking: Tracking, root: Path, tell: bool = True
) -> tuple[Store | None, TrackingError | None]:
    """Opens the store on rank 0; without an answering server the results stay on disk."""
    if tell and (board := tracking.board(root)):
        print(f"board    tensorboard --logdir {board}")
    if not tracking.enabled or getattr(rank_zero_only, "rank", 0):
        return None, None
    if tell:
        rank_zero_only(print)(f"root     {root.resolve()}")
    try:
        return open_store(tracking.uri, root, tracking.experiment), None
    except UnreachableError as problem:
        return None, problem


@contextmanager
def pipeline_run(
    store: Store | None,
    name: str,
    tags: dict[str, str],
    parent: Run | None,
    keep: Path,
    board: Path | None = None,
) -> Iterator[Run]:
    """The run that a pipeline's other runs are children of: the given one, or a new one."""
    if parent is not None:
        yield parent
        return
    with started(store, name, {**tags, "role": "pipeline"}, keep=keep, board=board) as run:
        yield run


def _keep(evaluation: Evaluation, folder: Path, config: str, data: ImageDataModule) -> None:
    """Writes everything to disk before anything is logged."""
    evaluation.save(folder)
    (folder / "config.yaml").write_text(config)
    (folder / "splits.json").write_text(json.dumps(data.split_indices()))
    for name, figure in curves([evaluation]).items():
        save_png(figure, folder / "figures" / f"{name}.png")
    write_report([evaluation], folder / "report.html")


def _tell(store: Store | None, problem: TrackingError | None, folder: Path) -> None:
    """Says where to look, or what became of the tracking."""
    if problem:
        raise TrackingError(
            f"{problem} The results are in {str(folder)!r}; run the same command again to log "
            "them, nothing is measured twice."
        )
    if store:
        print(f"MLflow   {store.link}")


def _slug(stage: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stage)


def _short(classifier: Classifier) -> str:
    return classifier.architecture.rpartition(":")[2].replace("/", "-")
