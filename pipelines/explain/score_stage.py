"""The parts of the monitorability score, measured within a budget, and pictures of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.interpretability import GradCAM
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.layers import last_grid_layer, network_of
from callbacks.interpretability.visualisation.feature_maps import layer_activations
from callbacks.leave_no_trace import leave_no_trace
from callbacks.monitoring import (
    Evidence,
    FailureEvidence,
    MonitorabilityScore,
    Plan,
    best_panel,
    check_count,
    monitorability,
)
from callbacks.monitoring.failure import certainty
from callbacks.monitoring.panel import PER_IMAGE, Panel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError
from datamodules.preprocessing import in_unit_range
from lightning_modules import Classifier
from pipelines.explain.features import batches
from pipelines.explain.figures import score_figure
from pipelines.explain.units import ANSWER, NATURAL, Units, unit_layer

_CHOOSING = 32
"""Validation images that the explainer is chosen on."""
_COLUMNS = ("measured", "control", "ideal")


@dataclass(frozen=True)
class ScoreStage:
    """The score and what it was made of.

    Args:
        score: with its parts.
        plan: of the budget.
        counted: forwards that were spent, a backward as two.
        figures: the score and the units.
        notes: what a reader must know.
        facts: how it was measured.
    """

    score: MonitorabilityScore
    plan: Plan
    counted: int
    figures: dict[str, Figure] = field(repr=False)
    notes: list[str]
    facts: dict[str, str]

    @property
    def plan_table(self) -> pd.DataFrame:
        """`part cost count forwards` of every measurement."""
        lines = [
            {
                "part": one.name, "cost": one.cost, "count": self.plan.counts[one.name],
                "forwards": one.cost * self.plan.counts[one.name],
            }
            for one in self.plan.items
        ]  # fmt: skip
        natural = {
            "part": "choice of explainer, natural activations",
            "cost": 1,
            "count": self.plan.fixed,
        }
        return pd.DataFrame([*lines, {**natural, "forwards": self.plan.fixed}])


def run_score(
    classifier: Classifier,
    data: ImageDataModule,
    clean: pd.DataFrame,
    images: int,
    forwards: float,
    device: torch.device,
    seed: int,
    panel: Panel | None = None,
) -> ScoreStage:
    """Shares the budget out, measures, and compares what was counted with what was predicted.

    Args:
        classifier: on `device`, in evaluation mode.
        data: whose test images are explained.
        clean: rows of the clean images: predictions, and the failure part for nothing.
        images: explained at most.
        forwards: budget for an image.
        device: of the model.
        seed: of every random number.
        panel: what is measured; None chooses the most faithful of a few explainers, on validation
            images.
    """
    with leave_no_trace(classifier):
        rows = _some(clean, images, seed)
        model = Queries(classifier, classifier.chunk)
        natural = _images(data, rows.iloc[:NATURAL]["index"].to_numpy()).image.to(device)
        layer = _layer(model, natural)
        units = _units(model, natural, layer, seed)
        panel, choosing = _panel(panel, model, data, layer, device, seed)
        items = [*panel.items(len(rows)), units.item()]
        plan = best_panel(items, len(rows), forwards, fixed=2 * len(natural) + choosing)
        evidence: dict[str, Evidence | FailureEvidence] = {
            part: _measured(panel, part, model, data, rows.iloc[: plan.counts[part]], device, seed)
            for part in PER_IMAGE
        }
        # As many at a time as there are units: a padded chunk would compute for nothing.
        narrow = Queries(classifier, min(classifier.chunk, plan.counts["units"]))
        evidence["units"], seen = units.measure(narrow, natural, plan.counts["units"])
    evidence["failure"] = FailureEvidence(certainty(clean), clean["correct"], clean["index"])
    spent = (model.forwards + narrow.forwards, model.backwards + narrow.backwards)
    check_count(plan, *spent)
    score = monitorability(evidence, seed=seed)
    return ScoreStage(
        score,
        plan,
        spent[0] + 2 * spent[1],
        {"score": score_figure(score.table()), "units": units.figure(seen, natural)},
        _notes(score, evidence),
        _facts(panel, units, plan, spent),
    )


def check_budget(
    classifier: Classifier, data: ImageDataModule, images: int, forwards: float, seed: int
) -> None:
    """Refuses a budget too small for the score at the price of one image.

    The dearest of the explainers that may be chosen counts, as the choice comes later.

    Args:
        classifier: on any device, in evaluation mode.
        data: whose test images would be explained.
        images: explained at most.
        forwards: budget for an image.
        seed: of every random number.

    Raises:
        UserError: not even the smallest panel fits, or the model has no gradient.
    """
    test, val = data.images("test"), data.images("val")
    count = min(images, len(test))
    with leave_no_trace(classifier):
        model = Queries(classifier, 1)
        one = _images(data, test.index[:1].numpy()).image.to(classifier.device)
        _check_gradient(model, one)
        layer = _layer(model, one)
        units = _units(model, one, layer, seed)
    candidates = _candidates(layer)
    fixed = Panel().choosing(candidates, min(_CHOOSING, len(val))) + 2 * min(NATURAL, count)
    for explainer in candidates:
        panel = Panel(explainer=explainer)
        best_panel([*panel.items(count), units.item()], count, forwards, fixed)


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


def _some(clean: pd.DataFrame, images: int, seed: int) -> pd.DataFrame:
    """At most `images` rows in an order that only (seed, index) decides: fewer are a prefix."""
    index = torch.tensor(clean["index"].to_numpy())
    order = Draw(seed, index).uniform("subset", 0, ()).argsort(stable=True)
    return clean.iloc[order[:images].numpy()]


def _images(data: ImageDataModule, index: np.ndarray) -> Batch:
    """Test images by their index in the data set."""
    images = data.images("test")
    own = images.index.numpy()
    order = own.argsort()
    batch = images.__getitems__(order[np.searchsorted(own, index, sorter=order)].tolist())
    return Batch(in_unit_range(batch.image), batch.label, batch.index)


def _layer(model: Queries, image: Tensor) -> str | None:
    """The last layer that still has places; None of a network without any."""
    try:
        return last_grid_layer(model, image)
    except UserError:
        return None


def _panel(
    panel: Panel | None,
    model: Queries,
    data: ImageDataModule,
    layer: str | None,
    device: torch.device,
    seed: int,
) -> tuple[Panel, int]:
    """The panel, and what it cost to choose; counting starts here."""
    model.forwards = model.backwards = 0
    if panel is not None:
        return panel, 0
    panel, candidates = Panel(), _candidates(layer)
    batch = next(batches(data, "val", _CHOOSING, _CHOOSING))
    image, draw = batch.image.to(device), Draw(seed, batch.index.to(device))
    return panel.best_of(candidates, model, image, draw), panel.choosing(candidates, len(image))


def _candidates(layer: str | None) -> list[Explainer]:
    """The explainers that the most faithful one is chosen of."""
    return [Panel().explainer, *([GradCAM(layer)] if layer else [])]


def _units(model: Queries, natural: Tensor, last: str | None, seed: int) -> Units:
    """The channels of the last layer with weights that still has places, else the classes."""
    layer = ANSWER if last is None else unit_layer(network_of(model), last)
    count = layer_activations(model, natural[:1], layer).shape[1]
    return Units.of(layer, count, seed)


def _measured(
    panel: Panel,
    part: str,
    model: Queries,
    data: ImageDataModule,
    rows: pd.DataFrame,
    device: torch.device,
    seed: int,
) -> Evidence:
    """One part of all rows, a chunk of images at a time, which bounds the memory."""
    size, found = model.chunk or len(rows), []
    for start in range(0, len(rows), size):
        some = rows.iloc[start : start + size]
        batch = _images(data, some["index"].to_numpy())
        target = torch.tensor(some["prediction"].to_numpy(), device=device)
        draw = Draw(seed, batch.index.to(device))
        found.append(panel.measure(part, model, batch.image.to(device), target, draw))
    return Evidence(
        *(np.concatenate([getattr(one, name) for one in found]) for name in _COLUMNS),
        index=np.concatenate([np.asarray(one.index) for one in found]),
    )


_UNDEFINED = {
    "faithfulness": "the model's answers are not finite",
    "stability": "every map is zero, of which no change can be a share",
    "randomisation": "every map is constant and has no ranks",
    "surrogate": "the answer is the same all round every image",
    "units": "the activations are not finite",
}
"""Why a part is not a number."""


def _notes(
    score: MonitorabilityScore, evidence: Mapping[str, Evidence | FailureEvidence]
) -> list[str]:
    notes, undefined = [], []
    for part in score.parts:
        one = evidence[part.name]
        n = len(np.asarray(one.measured if isinstance(one, Evidence) else one.confidence))
        if np.isnan(part.value.value):
            why = _one_sided(one) if isinstance(one, FailureEvidence) else _UNDEFINED[part.name]
            undefined.append(f"{part.name} is undefined, because {why}")
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
    which = "none is misclassified: give more or harder ones" if correct.all() else "all are wrong"
    return f"of {len(correct):,} test images {which}"


def _facts(panel: Panel, units: Units, plan: Plan, spent: tuple[int, int]) -> dict[str, str]:
    counts = ", ".join(f"{name} {count:,}" for name, count in plan.counts.items())
    return {
        "score": f"{panel.explainer!r}; {panel.gain!r}; max-sensitivity at {panel.radius:g}; "
        f"{panel.surrogate!r}; {units.method!r} on {units.title}",
        "budget": f"{plan.forwards:g} forwards an image allowed, {plan.predicted_per_image:.1f} "
        f"predicted, {(spent[0] + 2 * spent[1]) / plan.images:.1f} counted, a backward as two; "
        f"measured on {counts}",
    }
