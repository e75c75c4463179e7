"""Every method of explanation beside its controls on the same images: scores, agreement, ranks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
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
from callbacks.interpretability.sampling_error import Estimated, estimated, relative_error
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.statistics import mean
from datamodules.errors import UserError
from pipelines.explain.cell import Stage
from pipelines.explain.completeness import COMPLETE, gap
from pipelines.explain.inputs import Inputs, as_bytes

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


def measure_methods(inputs: Inputs, _: Path) -> Stage:
    """Explains the same test images by every method that a quarter of the budget affords.

    Returns:
        A stage with the table `methods`, the most faithful first: `method control forwards n`,
        `srg` with its interval, `most` and `least` (areas with the most and the least influential
        pixels removed first), `sparseness`, `complexity`; the rank correlation of the maps of any
        two methods; and the first images with their maps.
    """
    gain, known = SymmetricRelevanceGain(), explainers_for(inputs)
    chosen, count, ranked = _affordable(known, gain.forwards, _SHARE * inputs.budget)
    image, label, draw = inputs.images("test", count)
    left = [name for name in known if name not in chosen]
    notes = [f"{', '.join(left)}: left out, raise --forwards."] if left else []
    method = f"{len(image)} test images, {gain!r}"
    with leave_no_trace(inputs.classifier):
        model = inputs.queries()
        probability = model(image).softmax(1)
        target = probability.argmax(1)
        estimates = _explained(model, image, target, draw, chosen, notes)
        maps = {name: estimate.map for name, estimate in estimates.items()}
        missing = {
            name: gap(name, known[name], model, image, target, maps[name], draw)
            for name in COMPLETE
            if name in maps
        }
        curves = {
            name: gain.curves(model, image, target, saliency, draw)
            for name, saliency in maps.items()
        }
        own = {name: saliency for name, saliency in maps.items() if name not in CONTROLS}
        if ranked and len(own) > 1 and min(image.shape[-2:]) >= max(filter(None, GRIDS)):
            gains = gains_over_settings(model, image, target, own, draw, metric=gain)
            stable = ranking_stability(gains)
            method += (
                f"; over {_SETTINGS} fills and patch sizes methods are ranked alike: Kendall's tau "
                f"{stable.mean:.2f} on average, {stable.worst:.2f} at worst"
            )
    lines = [
        _line(name, saliency, *curves[name], known)
        | {"error": float(relative_error(estimates[name]).nanmean()), "gap": _share(missing, name)}
        for name, saliency in maps.items()
    ]
    pictured = [name for name in _PICTURED if name in maps]
    return Stage(
        {"methods": pd.DataFrame(lines).sort_values("srg", ascending=False, ignore_index=True)},
        {
            "names": list(maps),
            "titles": _titles(inputs.classifier.classes, label, probability),
            "captions": {method_title(name): _captions(*curves[name]) for name in pictured},
        },
        {
            "agreement": agreement(list(maps.values())).nanmean(2).cpu().numpy(),
            "images": as_bytes(image[:_SHOWN]),
            "maps": torch.stack([maps[name][:_SHOWN, 0] for name in pictured]).cpu().numpy(),
        },
        {"methods": method},
        notes,
    )


def best_method(methods: pd.DataFrame, known: Mapping[str, Explainer]) -> Explainer:
    """The most faithful of the methods that are cheap enough to be asked often.

    Args:
        methods: the table of `measure_methods`.
        known: explainers by name.
    """
    cheap = methods.loc[~methods["control"] & (methods["forwards"] <= _CHEAP)]
    return known[cheap["method"].iloc[0]]


def explainers_for(inputs: Inputs) -> dict[str, Explainer]:
    """Every explainer, with images of the data where it compares with others."""
    donors = inputs.data.taken("test", DONORS).image.to(inputs.device)
    return {name: with_donors(kind(), donors) for name, kind in EXPLAINERS.items()}


def spent_by(explainer: Explainer) -> int:
    """Forwards of one explanation, a backward as two."""
    return explainer.forwards + 2 * explainer.backwards


def method_title(name: str) -> str:
    """`grad cam`, `random (control)`."""
    return name.replace("_", " ") + (" (control)" if name in CONTROLS else "")


def _affordable(
    known: dict[str, Explainer], gain: int, budget: float
) -> tuple[dict[str, Explainer], int, bool]:
    """The methods, cheapest first, how many images, and whether their ranking is tried too."""
    cost = {name: spent_by(explainer) + gain for name, explainer in known.items()}
    order = sorted(known, key=lambda name: cost[name])
    everything = sum(cost.values()) + gain * (_SETTINGS * len(known) + len(CONTROLS))
    if budget >= _FEWEST * everything:
        return known, int(min(_MOST, budget // everything)), True
    chosen, left = {}, budget / _FEWEST
    for name in order:
        left -= cost[name]
        if left >= 0 or len(chosen) < 3:
            chosen[name] = known[name]
    return {name: known[name] for name in known if name in chosen}, _FEWEST, False


def _explained(
    model: Queries, image: Tensor, target: Tensor, draw: Draw, chosen: dict[str, Explainer],
    notes: list[str],
) -> dict[str, Estimated]:  # fmt: skip
    """Maps by method, controls last; a method that the network does not allow becomes a note."""
    estimates = {}
    for name, explainer in {**chosen, **CONTROLS}.items():
        try:
            estimate = estimated(explainer, model, image, target, draw)
        except UserError as error:
            notes.append(f"{name}: {error}")
            continue
        estimates[name] = estimate
    return estimates


def _share(missing: Mapping[str, tuple[Tensor, Tensor]], name: str) -> float:
    """Median share that maps lack of what they are to add up to; not a number of other methods."""
    if name not in missing:
        return float("nan")
    lack, whole = missing[name]
    return float((lack / whole).abs().nanmedian())


def _line(
    name: str, saliency: Tensor, most: Tensor, least: Tensor, known: dict[str, Explainer]
) -> dict[str, object]:
    gain, flat = mean((area(least) - area(most)).double().cpu().numpy()), saliency.flatten(1)
    return {
        "method": name, "control": name in CONTROLS, "n": len(saliency),
        "forwards": spent_by(known[name]) if name in known else 0,
        **gain.columns("srg"),
        "most": float(area(most).mean()), "least": float(area(least).mean()),
        "sparseness": float(gini(flat).nanmean()), "complexity": float(entropy(flat).nanmean()),
    }  # fmt: skip


def _titles(classes: Sequence[str], label: Tensor, probability: Tensor) -> list[str]:
    """`seven 98 %, not one` over each of the first images."""
    sure, target = probability[:_SHOWN].max(1)
    return [
        f"{classes[k]} {100 * p:.0f} %" + ("" if k == y else f", not {classes[y]}")
        for k, p, y in zip(target.tolist(), sure.tolist(), label[:_SHOWN].tolist(), strict=True)
    ]


def _captions(most: Tensor, least: Tensor) -> list[str]:
    """The gain of each of the first images."""
    gains = (area(least) - area(most))[:_SHOWN].tolist()
    return [f"{round(gain, 2) + 0:+.2f}" for gain in gains]  # never "-0.00"
