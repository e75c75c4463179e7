"""The parts of the monitorability score, measured within a budget."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.layers import last_grid_layer
from callbacks.leave_no_trace import leave_no_trace
from callbacks.monitoring import (
    Evidence,
    FailureEvidence,
    MonitorabilityScore,
    best_panel,
    check_count,
    monitorability,
)
from callbacks.monitoring.budget import Plan as Budget
from callbacks.monitoring.dead_units import never_fired_bound
from callbacks.monitoring.failure import certainty
from callbacks.monitoring.panel import Panel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import ImageDataModule
from datamodules.errors import UserError
from pipelines.explain.cell import Stage, Stages
from pipelines.explain.inputs import Inputs
from pipelines.explain.score_parts import (
    CHOOSING,
    candidates_for,
    chosen_panel,
    counted,
    evidence_of,
    measured_parts,
)
from pipelines.explain.score_twin import measure_twin
from pipelines.explain.units import NATURAL, Units


def measure_score(stages: Stages, inputs: Inputs) -> Stage:
    """Shares the budget out, measures, and compares what was counted with what was predicted.

    Each part is a cell of its own. The explainer is the best of a few on validation images. A
    quarter of it is measured once more for the same network with random weights.

    Args:
        stages: where parts are kept.
        inputs: model, data and rows of the clean images: the failure part for nothing.

    Returns:
        A stage with the tables `parts`, `twin` (the same with random weights), `budget` (`part cost
        count forwards` of every measurement),
        `evidence` (one line an image or unit of every part) and `units`, and pictures of `units`.
    """
    clean, seed = inputs.clean, inputs.seed
    with leave_no_trace(inputs.classifier):
        rows = _random_rows(clean, inputs.plan.limit, seed)
        natural, _draw = inputs.images_at(rows.iloc[:NATURAL]["index"].to_numpy())
        layer = _last_layer(inputs.queries(), natural)
        units, candidates = Units.of(inputs.queries(), natural, layer, seed), candidates_for(layer)
        panel, choice = chosen_panel(stages, candidates, inputs)
        budget = best_panel(
            [*panel.items(len(rows)), units.item()], len(rows), inputs.plan.forwards,
            _fixed(candidates, inputs.data, len(natural)),
        )  # fmt: skip
        parts = measured_parts(stages, panel, units, budget.counts, inputs, rows, natural)
        settings = {"panel": repr(panel), "layer": units.layer, "counts": dict(budget.counts)}
        work = partial(measure_twin, inputs, panel, units, budget.counts, rows, natural)
        twin = stages.measured("score: random weights", settings, work).tables["twin"]
    spent = counted([choice, *parts.values()])
    check_count(budget, *spent)
    evidence: dict[str, Evidence | FailureEvidence] = {
        **{name: evidence_of(stage) for name, stage in parts.items()},
        "failure": FailureEvidence(certainty(clean), clean["correct"], clean["index"]),
    }
    score = monitorability(evidence, seed=seed)
    by_part = [stage.tables["evidence"].assign(part=name) for name, stage in parts.items()]
    return Stage(
        {
            "parts": score.table(), "twin": twin, "budget": _budget_table(budget),
            "evidence": pd.concat(by_part, ignore_index=True),
            "units": parts["units"].tables["units"],
        },
        {"layer": units.title},
        parts["units"].arrays,
        _method(panel, units, budget, spent[0] + 2 * spent[1]),
        _notes(score, evidence),
    )  # fmt: skip


def check_budget(inputs: Inputs) -> None:
    """Refuses a budget too small for the score at the price of one image.

    The dearest of the explainers that may be chosen counts, as the choice comes later.

    Raises:
        UserError: not even the smallest panel fits, or the model has no gradient.
    """
    classifier, data, plan = inputs.classifier, inputs.data, inputs.plan
    test = data.images("test")
    count = min(plan.limit, len(test))
    with leave_no_trace(classifier):
        model = Queries(classifier, 1)
        image, _draw = inputs.images_at(test.index[:1].numpy())
        _check_gradient(model, image)
        layer = _last_layer(model, image)
        units = Units.of(model, image, layer, inputs.seed)
    candidates = candidates_for(layer)
    fixed = _fixed(candidates, data, min(NATURAL, count))
    for explainer in candidates:
        items = [*Panel(explainer=explainer).items(count), units.item()]
        best_panel(items, count, plan.forwards, fixed)


def _fixed(candidates: Sequence[Explainer], data: ImageDataModule, natural: int) -> int:
    """Forwards before any part: natural images are asked about twice, candidates are compared."""
    choosing = min(CHOOSING, len(data.images("val")))
    return 2 * natural + Panel().choosing(candidates, choosing)


def _check_gradient(model: Queries, image: Tensor) -> None:
    """Asks for one gradient, which may be zero but has to be there."""
    try:
        model.gradient(image, lambda logits: logits.amax(1))
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        raise UserError(
            "Expected a model whose answer can be differentiated by the image, as explanations "
            f"follow its gradient, but: {first.rstrip('.')}."
        ) from error


def _random_rows(clean: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """At most `limit` rows in an order that only (seed, index) decides: fewer are a prefix."""
    index = torch.tensor(clean["index"].to_numpy())
    order = Draw(seed, index).uniform("subset", 0, ()).argsort(stable=True)
    return clean.iloc[order[:limit].numpy()]


def _last_layer(model: Queries, image: Tensor) -> str | None:
    """The last layer that still has places; None of a network without any."""
    try:
        return last_grid_layer(model, image)
    except UserError:
        return None


# -- words -----------------------------------------------------------------------------------------

_UNDEFINED = {
    "faithfulness": "the model's answers are not finite: look for weights that are not",
    "stability": "every map is zero, of which no change can be a share: the model's answers do not "
    "depend on the image, or its gradient is cut",
    "randomisation": "every map is constant and has no ranks: the model's answers do not depend on "
    "the image, or its gradient is cut",
    "surrogate": "the answer is the same all round every image: the model is constant there",
    "units": "the activations are not finite: look for weights that are not",
}
"""Why a part is not a number, and what that says."""


def _notes(
    score: MonitorabilityScore, evidence: Mapping[str, Evidence | FailureEvidence]
) -> list[str]:
    notes, undefined = [], []
    for part in score.parts:
        rows = evidence[part.name]
        n = len(np.asarray(rows.measured if isinstance(rows, Evidence) else rows.confidence))
        if np.isnan(part.value.value):
            why = _one_sided(rows) if isinstance(rows, FailureEvidence) else _UNDEFINED[part.name]
            undefined.append(f"{part.name} is undefined, because {why}")
        elif part.below:
            notes.append(
                f"{part.name}: worse than its control ({part.measured:.3f}, the control "
                f"{part.control:.3f}), which counts as 0."
            )
        elif n > part.n:
            notes.append(f"{part.name}: undefined for {n - part.n:,} of {n:,}, which are left out.")
    if undefined:
        notes.insert(0, f"There is no monitorability score: {'; '.join(undefined)}.")
    return notes


def _one_sided(rows: FailureEvidence) -> str:
    """Why there is nothing that errors could be told from."""
    correct = np.asarray(rows.correct, dtype=bool)
    if not np.isfinite(np.asarray(rows.confidence, dtype=float)).any():
        return "the model's answers are not finite"
    n = len(correct)
    if not correct.all():
        return f"all of {n:,} test images are misclassified: is it the right model for these data?"
    bound = never_fired_bound(n)
    return (
        f"none of {n:,} test images is misclassified, hence at most {100 * bound:.2g} % are (95 %):"
        f" give harder images, or more than {2 * n:,}"
    )


def _budget_table(budget: Budget) -> pd.DataFrame:
    lines = [(item.name, item.cost, budget.counts[item.name]) for item in budget.items]
    lines.append(("choice of explainer, natural activations", 1, budget.fixed))
    table = pd.DataFrame(lines, columns=["part", "cost", "count"])
    return table.assign(forwards=table["cost"] * table["count"])


def _method(panel: Panel, units: Units, budget: Budget, spent: int) -> dict[str, str]:
    counts = ", ".join(f"{name} {count:,}" for name, count in budget.counts.items())
    return {
        "score": f"{panel.explainer!r}; {panel.gain!r}; max-sensitivity at {panel.radius:g}; "
        f"{panel.surrogate!r}; {units.method!r} on {units.title}",
        "budget": f"{budget.forwards:g} forwards an image allowed, "
        f"{budget.predicted_per_image:.1f} predicted, {spent / budget.images:.1f} counted, a "
        f"backward as two; measured on {counts}",
    }
