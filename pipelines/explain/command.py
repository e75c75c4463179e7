"""`assay explain`: explain a model, watch it, and say how far either can be believed."""

import time
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch

from callbacks import Probe
from callbacks.digests import weights_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.arguments import parse
from pipelines.evaluate.command import TRAINER, classifier_for, evaluate, opened, pipeline_run
from pipelines.explain.changes import others
from pipelines.explain.checks import check_request
from pipelines.explain.outlier_stage import OutlierStage, run_outliers
from pipelines.explain.page import write_page
from pipelines.explain.result import Explanation
from pipelines.explain.score_stage import run_score
from pipelines.explain.summary import put_together
from pipelines.explain.table import print_explanation
from pipelines.explain.views import views_of
from pipelines.explain.watch_stage import WatchStage, run_watch
from pipelines.tracking import Run, Tracking, TrackingError, started
from pipelines.trainer import device_flags, made_trainer

_PROBES: dict[str, list[str | Probe]] = {
    "quick": ["clean", "explain_gradient"],
    "regular": ["clean", "explain_gradient", "explain_integrated_gradients"],
    "full": [
        *("clean", "explain_gradient", "explain_integrated_gradients", "explain_smoothgrad"),
        *("explain_grad_cam", "explain_occlusion", "explain_deeplift"),
    ],
}
"""Of the pass over the test data, by preset."""


def main(words: list[str]) -> int:
    """Runs the command line."""
    explain(**parse(explain, words, TRAINER))
    return 0


def explain(
    model: str | Classifier,
    data: ImageDataModule,
    outliers: ImageDataModule | None = None,
    probes: list[str | Probe] | None = None,
    preset: Literal["quick", "regular", "full"] = "quick",
    forwards: int = 500,
    images: int = 1000,
    train_images: int = 5000,
    window: int = 64,
    false_alarms: float = 0.01,
    compare: dict[str, str] | None = None,
    arch: str | None = None,
    seed: int = 0,
    chunk: int = 128,
    trust_pickle: bool = False,
    tracking: Tracking = Tracking(),  # noqa: B008  (frozen)
    root: Path = Path(),
    trainer: dict[str, Any] | None = None,
    config: str = "",
    parent: Run | None = None,
) -> Explanation:
    """Explains and watches a model, and scores how far either can be believed.

    Args:
        model: where it comes from, e.g. torchvision:resnet18, checkpoint:FILE, mlflow:runs:/ID.
        data: what it was trained on; its train split is used for fits, its test split for numbers.
        outliers: another data set of which nothing should look familiar; noise always is one.
        probes: of the pass over the test data, whose rows tell how failures are detected; default:
            the clean images and some explanation probes, by the preset.
        preset: samples and budgets of the probes.
        forwards: budget of the monitorability score for an image: 57, 500, 5000 or any other.
        images: how many test images are explained and scored, at most.
        train_images: how many training images outlier scores are fitted on, at most.
        window: images that are tested for drift together.
        false_alarms: share of clean windows that may raise an alarm.
        compare: models that it became or came from, whose explanations of the same images are
            compared: --compare.distilled checkpoint:FOLDER --compare.fine_tuned mlflow:runs:/ID.
        arch: architecture of bare checkpoints.
        seed: of every random number.
        chunk: images in every model call.
        trust_pickle: load checkpoints that can execute code. Only for files of your own.
        tracking: where runs are logged.
        root: folder that holds `mlruns/`.
        trainer: flags of Lightning's Trainer.
        config: the parsed command line, kept with the run.
        parent: run of a pipeline that this is a part of.

    Returns:
        The explanation: score, tables and figures.
    """
    L.seed_everything(seed, verbose=False)
    classifier = classifier_for(model, data, arch, trust_pickle).eval()
    classifier.chunk = chunk
    device = _device(trainer or {})
    check_request(
        classifier, data, outliers, images=images, train_images=train_images, forwards=forwards,
        window=window, false_alarms=false_alarms, seed=seed,
    )  # fmt: skip
    beside = others(compare, classifier, arch, trust_pickle)
    store, problem = opened(tracking, root)
    key = fingerprint(
        {
            "weights": weights_digest(classifier),
            "data": data.manifest_digest(),
            "settings": (forwards, images, train_images, window, false_alarms, seed, chunk),
            "compare": {name: weights_digest(one) for name, one in beside.items()},
            "outliers": outliers and outliers.manifest_digest(),
            "probes": (preset, [_label(one) for one in probes or ()]),
        }
    )
    name = f"{classifier.architecture.rpartition(':')[2].replace('/', '-')}-{data.name}-s{seed}"
    tags = {"model": classifier.source, "data": data.name, "question": "monitorability"}
    keep = root / "mlruns" / "resume" / "runs" / f"{key}.json"
    with pipeline_run(store, f"explain-{name}", tags, parent, keep, tracking.board(root)) as above:
        start = time.perf_counter()
        evaluation = evaluate(
            classifier,
            data,
            probes=_PROBES[preset] if probes is None else probes,
            preset=preset,
            seed=seed,
            chunk=chunk,
            tracking=tracking,
            root=root,
            trainer=device_flags(trainer or {}),
            config=config,
            parent=above,
        )
        with started(store, f"monitorability-{name}", tags, above) as run:
            classifier.to(device).eval()
            print("\nFitting outlier scores and the monitor ...", flush=True)
            found = run_outliers(classifier, data, outliers, train_images, images, device, seed)
            watch = run_watch(classifier, data, train_images, window, false_alarms, device, seed)
            print("Measuring the parts of the monitorability score ...", flush=True)
            clean = evaluation.result("clean")
            assert clean is not None
            score = run_score(classifier, data, clean.rows, images, forwards, device, seed)
            print("Explaining by every method, before and after changes ...", flush=True)
            views = views_of(
                classifier, beside, data, forwards * score.plan.images, train_images, device, seed
            )
            seconds = time.perf_counter() - start
            explanation = put_together(data, evaluation, found, watch, score, views, seconds)
            folder = root / "mlruns" / "explanations" / f"{name}-{key[:8]}"
            _keep(explanation, found, watch, folder, config)
            print_explanation(explanation)
            print(f"\nreport   {folder / 'explain.html'}")
            _log(run, above, explanation, folder, classifier, data)
    if problem:
        raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
    return explanation


def _label(probe: str | Probe) -> str:
    return probe if isinstance(probe, str) else f"{probe.name} {probe.algorithm}"


def _device(flags: dict[str, Any]) -> torch.device:
    """The one device that the Trainer's flags choose.

    Raises:
        UserError: they choose several.
    """
    made = made_trainer({**TRAINER, **device_flags(flags), "logger": False}, [])
    if made.precision != "32-true":
        raise UserError(
            f"Expected `trainer.precision` 32-true, but got {made.precision}: fits and maps would "
            "be of another model than the pass. `assay evaluate` has explanation probes, too."
        )
    if made.world_size > 1:
        raise UserError(
            "Expected `trainer.devices` 1: fits and the monitor live on one device. Explanation "
            "probes run on many in `assay evaluate --probes explain_gradient ...`."
        )
    return made.strategy.root_device


def _keep(
    explanation: Explanation,
    outliers: OutlierStage,
    watch: WatchStage,
    folder: Path,
    config: str,
) -> None:
    """Writes everything to disk before anything is logged."""
    explanation.save(folder)
    watch.monitor.save(folder / "monitor.safetensors")
    outliers.fit.save(folder / "outliers.safetensors")
    (folder / "config.yaml").write_text(config)
    write_page(explanation, folder / "explain.html")


def _log(
    run: Run,
    above: Run,
    explanation: Explanation,
    folder: Path,
    classifier: Classifier,
    data: ImageDataModule,
) -> None:
    run.log_folder(folder)
    dataset = run.log_data(data.manifest(), data.manifest_digest(), "test")
    model_id = run.log_model(classifier)
    metrics = explanation.metrics()
    params = {"model.source": classifier.source, "data.name": data.name, **explanation.facts}
    run.log_batch(metrics, params, None, model_id, dataset)
    above.log_batch([one for one in metrics if one[0].startswith("summary/")])
