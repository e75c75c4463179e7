"""Every method of explanation beside its controls on the same images: scores, agreement, ranks."""

from dataclasses import dataclass, field

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.interpretability import CONTROLS, EXPLAINERS, SymmetricRelevanceGain
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.metrics.complexity import entropy
from callbacks.interpretability.metrics.rank_correlation import agreement
from callbacks.interpretability.metrics.ranking_stability import (
    FILLS,
    GRIDS,
    gains_over_settings,
    ranking_stability,
)
from callbacks.interpretability.metrics.removal import area
from callbacks.interpretability.metrics.sparseness import gini
from callbacks.interpretability.probe import DONORS, with_donors
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.statistics import mean
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.explain.features import batches
from pipelines.explain.picture_figures import agreement_figure, gallery_figure

_SHARE = 0.25
"""Of the budget of the score, which this view may spend once more."""
_FEWEST, _MOST = 6, 64
_SHOWN = 6
_PICTURED = (
    "gradient", "integrated_gradients", "smoothgrad", "deeplift", "grad_cam", "rise", "kernel_shap",
    "edges", "random",
)  # fmt: skip
_CHEAP = 100
"""Forwards of an explanation, a backward as two, that can be asked for version after version."""
_SETTINGS = len(FILLS) * len(GRIDS)


@dataclass(frozen=True)
class Methods:
    """How well each method explains this model.

    Args:
        table: one line a method, the most faithful first, controls marked: `method control
            forwards n`, `srg` with its interval, `most` and `least` (areas with the most and the
            least influential pixels removed first), `sparseness`, `complexity`.
        figures: the gallery and the agreement of methods.
        notes: what was left out.
        fact: how it was measured.
        known: the methods by name, as they were measured.
    """

    table: pd.DataFrame
    figures: dict[str, Figure] = field(repr=False)
    notes: list[str]
    fact: str
    known: dict[str, Explainer] = field(repr=False)

    def best(self) -> Explainer:
        """The most faithful of the methods that are cheap enough to be asked often."""
        cheap = self.table.loc[~self.table["control"] & (self.table["forwards"] <= _CHEAP)]
        return self.known[cheap["method"].iloc[0]]


def methods(
    classifier: Classifier, data: ImageDataModule, budget: float, device: torch.device, seed: int
) -> Methods:
    """Explains the same test images by every method that a quarter of the budget affords.

    Args:
        classifier: on `device`, in evaluation mode.
        data: whose test images are explained.
        budget: forwards of the score, of which a quarter is spent here once more.
        device: of the model.
        seed: of every random number.
    """
    gain, known = SymmetricRelevanceGain(), _known(data, device)
    chosen, count, ranked = _affordable(known, gain.forwards, _SHARE * budget)
    batch = next(batches(data, "test", count, _MOST))
    image, draw = batch.image.to(device), Draw(seed, batch.index.to(device))
    notes = [f"{name}: left out, raise --forwards." for name in known if name not in chosen]
    fact = f"{len(image)} test images, {gain!r}"
    with leave_no_trace(classifier):
        model = Queries(classifier, classifier.chunk)
        probability = model(image).softmax(1)
        target = probability.argmax(1)
        maps = _explained(model, image, target, draw, chosen, notes)
        curves = {name: gain.curves(model, image, target, one, draw) for name, one in maps.items()}
        own = {name: one for name, one in maps.items() if name not in CONTROLS}
        if ranked and len(own) > 1 and min(image.shape[-2:]) >= max(filter(None, GRIDS)):
            gains = gains_over_settings(model, image, target, own, draw, metric=gain)
            stable = ranking_stability(gains)
            fact += (
                f"; over {_SETTINGS} fills and patch sizes methods are ranked alike: Kendall's tau "
                f"{stable.mean:.2f} on average, {stable.worst:.2f} at worst"
            )
    lines = [_line(name, one, *curves[name], known) for name, one in maps.items()]
    table = pd.DataFrame(lines).sort_values("srg", ascending=False, ignore_index=True)
    same = agreement(list(maps.values())).nanmean(2).cpu().numpy()
    captions = {name: (area(least) - area(most)).tolist() for name, (most, least) in curves.items()}
    gallery = _gallery(classifier, image, batch.label, probability, maps, captions)
    figures = {"gallery": gallery, "agreement": agreement_figure(list(maps), same)}
    return Methods(table, figures, notes, fact, known)


def _known(data: ImageDataModule, device: torch.device) -> dict[str, Explainer]:
    """Every explainer, with images of the data where it compares with others."""
    donors = data.taken("test", DONORS).image.to(device)
    return {name: with_donors(kind(), donors) for name, kind in EXPLAINERS.items()}


def _affordable(
    known: dict[str, Explainer], gain: int, budget: float
) -> tuple[dict[str, Explainer], int, bool]:
    """The methods, cheapest first, how many images, and whether their ranking is tried too."""
    cost = {name: one.forwards + 2 * one.backwards + gain for name, one in known.items()}
    order = sorted(known, key=lambda name: cost[name])
    everything = sum(cost.values()) + gain * (_SETTINGS * len(known) + len(CONTROLS))
    if budget >= _FEWEST * everything:
        return known, int(min(_MOST, budget // everything)), True
    chosen, left = {}, budget / _FEWEST
    for name in order:
        left -= cost[name]
        if left >= 0 or len(chosen) < 3:
            chosen[name] = known[name]
    return {name: one for name, one in known.items() if name in chosen}, _FEWEST, False


def _explained(
    model: Queries, image: Tensor, target: Tensor, draw: Draw, chosen: dict[str, Explainer],
    notes: list[str],
) -> dict[str, Tensor]:  # fmt: skip
    """Maps by method, controls last; a method that the network does not allow becomes a note."""
    maps = {}
    for name, one in {**chosen, **CONTROLS}.items():
        try:
            found = one(model, image, target, draw)
        except UserError as error:
            notes.append(f"{name}: {error}")
            continue
        maps[name] = found
    return maps


def _line(
    name: str, saliency: Tensor, most: Tensor, least: Tensor, known: dict[str, Explainer]
) -> dict[str, object]:
    gain, one = mean((area(least) - area(most)).double().cpu().numpy()), known.get(name)
    flat = saliency.flatten(1)
    return {
        "method": name, "control": name in CONTROLS, "n": len(saliency),
        "forwards": 0 if one is None else one.forwards + 2 * one.backwards,
        **gain.columns("srg"),
        "most": float(area(most).mean()), "least": float(area(least).mean()),
        "sparseness": float(gini(flat).nanmean()), "complexity": float(entropy(flat).nanmean()),
    }  # fmt: skip


def _gallery(
    classifier: Classifier, image: Tensor, label: Tensor, probability: Tensor,
    maps: dict[str, Tensor], gains: dict[str, list[float]],
) -> Figure:  # fmt: skip
    """The first images with the maps of some methods, under each its own gain."""
    names = [name for name in _PICTURED if name in maps]
    classes, (sure, target) = classifier.classes, probability[:_SHOWN].max(1)
    titles = [
        f"{classes[k]} {100 * p:.0f} %" + ("" if k == y else f", not {classes[y]}")
        for k, p, y in zip(target.tolist(), sure.tolist(), label[:_SHOWN].tolist(), strict=True)
    ]
    return gallery_figure(
        image[:_SHOWN].movedim(1, -1).cpu().numpy(),
        {_title(name): maps[name][:_SHOWN, 0].cpu().numpy() for name in names},
        {_title(name): [_signed(one) for one in gains[name][:_SHOWN]] for name in names},
        titles,
    )


def _signed(gain: float) -> str:
    return f"{round(gain, 2) + 0:+.2f}"  # never "-0.00"


def _title(name: str) -> str:
    return name.replace("_", " ") + (" (control)" if name in CONTROLS else "")
