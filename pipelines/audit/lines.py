"""What was found, counted: a line a split, and a line for each pair of splits."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from callbacks.statistics import Interval, rate
from lightning_modules.features import Features
from pipelines.audit.fingerprints import Fingerprints
from pipelines.audit.imbalance import Imbalance, difference
from pipelines.audit.label_errors import Suspects
from pipelines.audit.odd_images import RULES
from pipelines.audit.shift import find_shift

SPLITS = ("train", "val", "test")


def split_line(
    findings: pd.DataFrame, suspects: Suspects, imbalance: Imbalance, split: str, seed: int
) -> dict[str, Any]:
    """What was found inside a split."""
    images = int(imbalance.counts[split].sum())
    return {
        "split": split,
        "images": images,
        **_within(findings, split, images),
        **_judged(suspects),
        **imbalance.ratio(split).columns("ratio"),
        **imbalance.effective(split, seed).columns("effective"),
        "missing": ", ".join(imbalance.missing(split)),
    }


def compared(
    prints: Mapping[str, Fingerprints],
    features: Mapping[str, Features],
    counts: pd.DataFrame,
    findings: pd.DataFrame,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A line for each pair of splits, and the statistics of their images one by one."""
    lines, moved = [], []
    for first, second in combinations([name for name in SPLITS if name in prints], 2):
        one, other = prints[first], prints[second]
        shift = find_shift(_pixels(one), _pixels(other), one.statistics, other.statistics, seed)
        labels = difference(counts[first].tolist(), counts[second].tolist(), seed)
        own = findings.loc[(findings["split"] == second) & (findings["partner_split"] == first)]
        candidates = own["finding"] == "features"
        lines.append(
            {
                "first": first,
                "second": second,
                **_pairs(own.loc[~candidates], len(prints[second]), "twins"),
                "features": int(candidates.sum()),
                "compared": shift.images,
                **shift.apart.columns("auroc"),
                "p": shift.p,
                **_to_model(features, first, second, seed),
                **labels.effect.columns("cramers_v"),
                "label_p": labels.p,
            }
        )
        moved.append(
            shift.moved.rename(columns={"first": "mean", "second": "other_mean"}).assign(
                first=first, second=second
            )
        )
    empty = {"first": pd.Series(dtype=str), "second": pd.Series(dtype=str)}
    return (
        pd.DataFrame(lines) if lines else pd.DataFrame(empty),
        pd.concat(moved, ignore_index=True) if moved else pd.DataFrame(empty),
    )


def _within(findings: pd.DataFrame, split: str, images: int) -> dict[str, float]:
    """Duplicates inside a split, and odd images."""
    own = findings.loc[findings["split"] == split]
    pairs = own.loc[own["partner_split"] == split]
    odd = own.loc[own["finding"].isin(RULES)]
    return {
        **_pairs(pairs, images, "duplicates"),
        **rate(len(odd), images).columns("odd"),
    }


def _pairs(pairs: pd.DataFrame, images: int, name: str) -> dict[str, float]:
    """Images with a partner, exact, near, and under another label."""
    other = pairs.loc[pairs["label"] != pairs["partner_label"]]
    return {
        "exact": int(pairs.loc[pairs["finding"] == "exact", "index"].nunique()),
        "near": int(pairs.loc[pairs["finding"] == "near", "index"].nunique()),
        "other_label": int(other["index"].nunique()),
        **rate(int(pairs["index"].nunique()), images).columns(name),
    }


def _judged(found: Suspects) -> dict[str, Any]:
    return {
        "judged": found.of,
        "by": found.by,
        "suspected": len(found.rows),
        "believed": found.believed,
        **found.share.columns("suspects"),
        **found.accuracy.columns("judge_acc"),
        **found.recall.columns("planted_recall"),
        **found.precision.columns("planted_precision"),
    }


def _pixels(prints: Fingerprints) -> np.ndarray:
    """Thumbnails and plain statistics, which no model has learnt by heart."""
    return np.column_stack([prints.thumbnail.flatten(1).numpy(), prints.statistics])


def _to_model(
    features: Mapping[str, Features], first: str, second: str, seed: int
) -> dict[str, float]:
    """The shift in a model's features, which also tells what it has learnt by heart."""
    if not features:
        return {}
    one, other = (features[name].feature.numpy() for name in (first, second))
    shift = find_shift(one, other, pd.DataFrame(), pd.DataFrame(), seed)
    return {**shift.apart.columns("model_auroc"), "model_p": shift.p}


def told(line: Mapping[str, Any], name: str) -> Interval:
    """A number of a table with its ends."""
    return Interval(*(float(line[f"{name}{end}"]) for end in ("", "_low", "_high")))
