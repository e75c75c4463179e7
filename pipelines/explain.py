"""`assay explain`: explain a model, watch it, and say how far either can be believed."""

import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning as L
import pandas as pd
import torch
from matplotlib.figure import Figure

from callbacks import PROBES, Probe
from callbacks.monitoring import failure_table
from callbacks.monitoring.outliers import score_title
from callbacks.resume import weights_digest
from callbacks.shards import fingerprint
from callbacks.statistics import Interval
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.arguments import parse, typed_command
from pipelines.evaluate import TRAINER, classifier_for, evaluate, opened, pipeline_run
from pipelines.evaluation import Evaluation
from pipelines.explanation.figures import drift_figure, firing_figure, outlier_figure, risk_figure
from pipelines.explanation.gallery import gallery, tree, tree_figure
from pipelines.explanation.outlier_stage import OutlierStage, run_outliers
from pipelines.explanation.page import write_page
from pipelines.explanation.result import Explanation, Headline
from pipelines.explanation.score_stage import ScoreStage, run_score
from pipelines.explanation.table import print_explanation
from pipelines.explanation.watch_stage import WatchStage, run_watch
from pipelines.record import _model
from pipelines.tracking import Run, Tracking, TrackingError, started
from pipelines.trainer import device_flags, made_trainer


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
            the clean images and every explanation probe there is.
        preset: samples and budgets of the probes.
        forwards: budget of the monitorability score for an image: 57, 500, 5000 or any other.
        images: how many test images are explained and scored, at most.
        train_images: how many training images outlier scores are fitted on, at most.
        window: images that are tested for drift together.
        false_alarms: share of clean windows that may raise an alarm.
        arch: architecture of a bare checkpoint.
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
    store, problem = opened(tracking, root)
    key = fingerprint(
        {
            "weights": weights_digest(classifier),
            "data": data.manifest_digest(),
            "settings": (forwards, images, train_images, window, false_alarms, seed, chunk),
        }
    )
    name = f"{classifier.architecture.rpartition(':')[2].replace('/', '-')}-{data.name}-s{seed}"
    tags = {"model": classifier.source, "data": data.name, "question": "monitorability"}
    keep = root / "mlruns" / "resume" / "runs" / f"{key}.json"
    with pipeline_run(store, f"explain-{name}", tags, parent, keep) as above:
        start = time.perf_counter()
        device = _device(trainer or {})
        evaluation = evaluate(
            classifier,
            data,
            probes=_default_probes() if probes is None else probes,
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
            views = _views(classifier, data, train_images, device, seed)
            seconds = time.perf_counter() - start
            explanation = _put_together(
                classifier, data, evaluation, found, watch, score, views, seconds
            )
            folder = root / "mlruns" / "explanations" / f"{name}-{key[:8]}"
            _keep(explanation, found, watch, folder, config)
            print_explanation(explanation)
            print(f"\nreport   {folder / 'explain.html'}")
            _log(run, above, explanation, folder, classifier, data)
    if problem:
        raise TrackingError(f"{problem} The results are in {str(folder)!r}.")
    return explanation


def _default_probes() -> list[str | Probe]:
    """The clean images, and the explanation probes by their names."""
    return ["clean", *(name for name in PROBES if name.startswith("explain"))]


def _device(flags: dict[str, Any]) -> torch.device:
    """The one device that the Trainer's flags choose."""
    quiet = {**TRAINER, **device_flags(flags), "logger": False, "devices": 1, "strategy": "auto"}
    return made_trainer(quiet, []).strategy.root_device


class Views(NamedTuple):
    """Pictures and the tree.

    Args:
        figures: by name.
        tree: fidelity by depth.
        notes: what a reader must know.
    """

    figures: dict[str, Figure]
    tree: pd.DataFrame
    notes: list[str]


def _views(
    classifier: Classifier, data: ImageDataModule, count: int, device: torch.device, seed: int
) -> Views:
    pictures, notes = gallery(classifier, data, device, seed)
    fidelity, surrogate, names = tree(classifier, data, count, device, seed)
    drawing = tree_figure(surrogate, names, classifier.classes)
    return Views({"gallery": pictures, "tree": drawing}, fidelity, notes)


def _put_together(
    classifier: Classifier,
    data: ImageDataModule,
    evaluation: Evaluation,
    outliers: OutlierStage,
    watch: WatchStage,
    score: ScoreStage,
    views: Views,
    seconds: float,
) -> Explanation:
    failure = [failure_table(one.rows) for one in evaluation.results if len(one.rows)]
    # Explanation probes ask nothing new of the images: their rows are the clean ones again.
    asked = [one for one in evaluation.results if not one.name.startswith("explain")]
    rows = {one.title: one.at_headline for one in asked if len(one.rows)}
    dead = watch.dead[["layer", "units", "silent", "constant", "bound"]]
    tables = {
        "outliers": outliers.table,
        "failure": pd.concat(failure, ignore_index=True),
        "drift": watch.timeline,
        "drifts": watch.drifts,
        "layers": dead.merge(watch.layers, on="layer"),
        "parts": score.score.table(),
        "budget": score.plan_table,
        "tree": views.tree,
    }
    test = watch.monitor.test
    assert test is not None
    figures = {
        "risk": risk_figure(rows),
        "outliers": outlier_figure(outliers.table),
        "drift": drift_figure(watch.timeline, test.threshold, test.false_alarms),
        "firing": firing_figure(watch.monitor.profile),
        **score.figures,
        **views.figures,
    }
    return Explanation(
        model=_model(classifier),
        data=data.manifest(),
        score=score.score,
        headline=_headline(score, outliers.table, tables["failure"], watch),
        tables=tables,
        figures=figures,
        notes=[*data.notes, *score.notes, *views.notes],
        facts={**_facts(outliers, watch), **score.facts},
        command=typed_command(),
        seconds=seconds,
    )


def _headline(
    score: ScoreStage, outliers: pd.DataFrame, failure: pd.DataFrame, watch: WatchStage
) -> dict[str, Headline]:
    found = {}
    found["monitorability"] = Headline("Monitorability", score.score.value, "mean of six parts")
    clean = failure.loc[failure["setting"] == "clean"].iloc[0]
    found["error_auroc"] = Headline(
        "Error AUROC",
        Interval(*(float(clean[f"error_auroc{end}"]) for end in ("", "_low", "_high"))),
        f"confidence tells {clean['errors']:,} errors; 0.5 is chance",
    )
    mean = outliers.groupby("score")["auroc"].mean().sort_values(ascending=False)
    best = outliers.loc[outliers["score"] == mean.index[0]]
    ends = (float(best[f"auroc_{end}"].mean()) for end in ("low", "high"))
    found["outlier_auroc"] = Headline(
        "Outlier AUROC",
        Interval(float(mean.iloc[0]), *ends),
        f"{score_title(str(mean.index[0]))}, best of 7 scores on average over "
        f"{outliers['outliers'].nunique()} kinds",
    )
    found["false_alarm_rate"] = Headline(
        "False alarms",
        watch.alarms,
        f"share of clean test windows; stated {watch.report.false_alarms:g}",
    )
    found["monitor_overhead"] = Headline(
        "Monitor's overhead",
        watch.cost,
        f"of a forward where every batch is watched; the saved "
        f"one watches one batch in {watch.monitor.every}",
    )
    return found


def _facts(outliers: OutlierStage, watch: WatchStage) -> dict[str, str]:
    report = watch.report
    return {
        "outlier scores": f"fitted on {outliers.trained_on:,} training images; kNN k = "
        f"{outliers.fit.neighbour}",
        "monitor": f"{len(watch.monitor.profile)} layers, about {watch.monitor.places} places of a "
        f"channel, sampling rate {report.sampling_rate:.0%} of images; profile of "
        f"{report.profile_images:,} {watch.profile_split} images; windows of {report.window}; the "
        f"saved monitor watches one batch in {watch.monitor.every}",
        "alarms": f"threshold {report.threshold:.2f} at a stated false-alarm rate of "
        f"{report.false_alarms:g}: one in {report.images_between_false_alarms:,.0f} clean images; "
        f"the least delay is {report.shortest_delay * watch.monitor.every} served images",
    }


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
