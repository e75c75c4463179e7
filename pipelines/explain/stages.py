"""The stages of an explanation, one after another."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from callbacks.interpretability import CONTROLS, EXPLAINERS
from callbacks.resume import weights_digest
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.cell import Stage, Stages, common_facts
from pipelines.explain.changes import measure_changes
from pipelines.explain.feature_maps import measure_feature_maps
from pipelines.explain.linearity import measure_linearity
from pipelines.explain.methods import best_method, explainers_for, measure_methods
from pipelines.explain.monitoring import measure_monitor
from pipelines.explain.outliers import measure_outliers
from pipelines.explain.plan import Plan
from pipelines.explain.score import measure_score
from pipelines.explain.tree import measure_tree
from pipelines.study import Study


def measure_stages(
    study: Study,
    classifier: Classifier,
    compare: Mapping[str, Classifier],
    data: ImageDataModule,
    outliers: ImageDataModule | None,
    clean: pd.DataFrame,
    plan: Plan,
) -> dict[str, Stage]:
    """Measures every stage that is not on disk yet.

    Args:
        study: gives cells, folder, device and seed.
        classifier: that is explained.
        compare: models that it became or came from, by name.
        data: what it was trained on.
        outliers: another data set as the model is shown it.
        clean: rows of the undisturbed images.
        plan: what was asked for.

    Returns:
        The stages by name.
    """
    classifier.to(study.device).eval()
    stages = Stages(study.cells, common_facts(study, classifier, data, clean), study.folder)
    # What other views may spend is a share of the score's budget.
    seed, budget = study.seed, plan.forwards * min(plan.limit, len(clean))

    def stage(name: str, work: Callable[[Path], Stage], **settings: Any) -> Stage:
        return stages.measured(name, {**plan.asked(name), **settings}, work)

    seen = outliers and [outliers.images("test").digest(), repr(outliers.preprocessing)]
    outlier_stage = partial(measure_outliers, classifier, data, outliers, plan, seed)
    measured = {
        "outliers": stage("outliers", outlier_stage, seen=seen, order=outliers and outliers.seed),
        "monitor": stage("monitor", partial(measure_monitor, classifier, data, plan, seed)),
        "score": measure_score(stages, classifier, data, clean, plan, seed),
        "methods": stage(
            "methods",
            partial(measure_methods, classifier, data, budget, seed),
            known=[*(f"{name} {kind()!r}" for name, kind in EXPLAINERS.items()), repr(CONTROLS)],
        ),
    }
    table = measured["methods"].tables["methods"]
    explainer = best_method(table, explainers_for(data, classifier.device))
    return measured | {
        "changes": stage(
            "changes",
            partial(measure_changes, classifier, compare, data, explainer, budget, seed),
            explainer=repr(explainer),
            compare={name: weights_digest(other) for name, other in compare.items()},
        ),
        "linearity": stage("linearity", partial(measure_linearity, classifier, data, budget, seed)),
        "features": stage("features", partial(measure_feature_maps, classifier, data)),
        "tree": stage("tree", partial(measure_tree, classifier, data, plan, seed)),
    }
