"""Puts what the stages of `assay explain` found together."""

import pandas as pd

from callbacks.monitoring import failure_table
from callbacks.monitoring.outliers import score_title
from callbacks.statistics import Interval
from datamodules import ImageDataModule
from pipelines.arguments import typed_command
from pipelines.evaluate.result import Evaluation
from pipelines.explain.figures import drift_figure, firing_figure, outlier_figure, risk_figure
from pipelines.explain.outlier_stage import OutlierStage
from pipelines.explain.result import Explanation, Headline
from pipelines.explain.score_stage import ScoreStage
from pipelines.explain.views import Views
from pipelines.explain.watch_stage import WatchStage


def put_together(
    data: ImageDataModule,
    evaluation: Evaluation,
    outliers: OutlierStage,
    watch: WatchStage,
    score: ScoreStage,
    views: Views,
    seconds: float,
) -> Explanation:
    """Makes tables, figures, headline and notes of what the stages found."""
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
        **views.tables,
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
        model=evaluation.model,
        data=data.manifest(),
        score=score.score,
        headline=_headline(score, outliers.table, tables["failure"], watch),
        tables=tables,
        figures=figures,
        notes=[*data.notes, *outliers.notes, *watch.notes, *score.notes, *views.notes],
        facts={**_facts(outliers, watch), **score.facts, **views.facts},
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
    found["outlier_auroc"] = _best_score(outliers)
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


def _best_score(outliers: pd.DataFrame) -> Headline:
    """The score with the best AUROC on average over the kinds of outliers."""
    ends = ["auroc", "auroc_low", "auroc_high"]
    means = {str(name): part[ends].mean().tolist() for name, part in outliers.groupby("score")}
    best = max(means, key=lambda name: means[name][0])
    kinds = outliers["outliers"].nunique()
    note = f"{score_title(best)}, best of {len(means)} scores on average over {kinds} kinds"
    return Headline("Outlier AUROC", Interval(*means[best]), note)
