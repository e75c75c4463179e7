"""Test images that a model finds far closer to one learnt image than to others: crops, takes."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.features import Features
from pipelines.audit.duplicates import NearRule
from pipelines.audit.fingerprints import Fingerprints

_BLOCK = 256
_NEIGHBOURS = 10
_EQUAL = 1e-6  # of a cosine in float32: what is nearer is one point


def find_feature_twins(
    features: Mapping[str, Features],
    prints: Mapping[str, Fingerprints],
    rule: NearRule,
    known: pd.DataFrame,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Candidates for twins by the rule of near-duplicates, in a model's features.

    Args:
        features: what goes into the head, by split.
        prints: of the same images.
        rule: its ratio is that of the distances (1 - cosine) to the nearest learnt image and to the
            tenth nearest of them.
        known: pairs that were found already, whose images are left out.
        device: where to compute.

    Returns:
        Rows as those of near-duplicates, `finding` is "features".
    """
    learnt = [name for name in ("train", "val") if name in features]
    if not learnt:
        return known.iloc[:0]
    points = {name: F.normalize(features[name].feature.to(device)) for name in features}
    others = torch.cat([points[name] for name in learnt])
    nearest, place, tenth = _nearest(points["test"], others)
    stands_out = (1 - nearest <= rule.ratio * (1 - tenth)) & (1 - tenth > _EQUAL)
    rows = np.flatnonzero(stands_out.cpu().numpy())
    here = prints["test"]
    twins = known.loc[(known["split"] == "test") & (known["partner_split"] != "test"), "index"]
    rows = rows[~np.isin(here.index.numpy()[rows], twins)]
    split = np.repeat(learnt, [len(prints[name]) for name in learnt])
    at, partner = place.cpu().numpy()[rows], {}
    for column in ("index", "label"):
        values = torch.cat([getattr(prints[name], column) for name in learnt]).numpy()
        partner[f"partner_{column}"] = values[at]
    files = [prints[name].name(row) for name in learnt for row in range(len(prints[name]))]
    return pd.DataFrame(
        {
            "index": here.index.numpy()[rows],
            "split": "test",
            "finding": "features",
            "partner_split": split[at],
            "score": nearest.cpu().numpy()[rows].astype(float),
            "label": here.label.numpy()[rows],
            "file": [here.name(row) for row in rows.tolist()],
            "partner_file": [files[row] for row in at.tolist()],
            **partner,
        }
    )


def _nearest(own: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine of the nearest of the others, which that is, and cosine of the tenth or last."""
    count = min(_NEIGHBOURS, len(others))
    parts = []
    for block in own.split(_BLOCK):
        value, place = (block @ others.T).topk(count)
        parts.append((value[:, 0], place[:, 0], value[:, -1]))
    nearest, place, tenth = (torch.cat(column) for column in zip(*parts, strict=True))
    return nearest, place, tenth
