"""The stages of an explanation, one after another."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from callbacks.digests import model_digest
from callbacks.interpretability import CONTROLS, EXPLAINERS
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.cell import Stage, Stages, common_facts
from pipelines.explain.changes import measure_changes
from pipelines.explain.depth import measure_depth
from pipelines.explain.inputs import Inputs
from pipelines.explain.methods import best_method, explainers_for, measure_methods
from pipelines.explain.monitoring import measure_monitor
from pipelines.explain.outliers import measure_outliers
from pipelines.explain.score import measure_score
from pipelines.explain.surrogates import measure_linearity, measure_tree
from pipelines.explain.units import measure_feature_maps
from pipelines.study import Study


def measure_stages(
    study: Study,
    inputs: Inputs,
    outliers: Mapping[str, ImageDataModule],
    compare: Mapping[str, Classifier],
) -> dict[str, Stage]:
    """Measures every stage that is not on disk yet.

    Args:
        study: gives cells, folder, and where it is computed.
        inputs: of every stage.
        outliers: other data sets as the model is shown them, by name.
        compare: models that the first one became or came from, by name.

    Returns:
        The stages by name.
    """
    stages = Stages(study.cells, common_facts(study, inputs), study.folder, study.say)

    def stage(name: str, work: Callable[[Path], Stage], **settings: Any) -> Stage:
        return stages.measured(name, {**inputs.plan.asked(name), **settings}, work)

    others = {
        name: [data.images("test").digest(), repr(data.preprocessing), data.seed]
        for name, data in outliers.items()
    }
    methods = [*(f"{name} {kind()!r}" for name, kind in EXPLAINERS.items()), repr(CONTROLS)]
    measured = {
        "outliers": stage("outliers", partial(measure_outliers, inputs, outliers), others=others),
        "monitor": stage("monitor", partial(measure_monitor, inputs)),
        "score": measure_score(stages, inputs),
        "methods": stage("methods", partial(measure_methods, inputs), methods=methods),
    }
    explainer = best_method(measured["methods"].tables["methods"], explainers_for(inputs))
    return measured | {
        "changes": stage(
            "changes",
            partial(measure_changes, inputs, compare, explainer),
            explainer=repr(explainer),
            compare={name: model_digest(other) for name, other in compare.items()},
        ),
        "linearity": stage("linearity", partial(measure_linearity, inputs)),
        "depth": stage("depth", partial(measure_depth, inputs)),
        "features": stage("features", partial(measure_feature_maps, inputs)),
        "tree": stage("tree", partial(measure_tree, inputs)),
    }
