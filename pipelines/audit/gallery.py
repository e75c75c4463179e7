"""Twins side by side, and images whose labels are suspected, to be looked at."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.words import number
from datamodules.images import Images
from datamodules.preprocessing import in_unit_range
from pipelines.audit.fingerprints import stored
from pipelines.audit.odd_images import RULES
from pipelines.report.figures import LOOK
from pipelines.report.images import shortened

_SIDE = 64
_TWINS, _LABELS, _ODD = 6, 12, 6


def shown_twins(findings: pd.DataFrame) -> pd.DataFrame:
    """The pairs to look at first: of test images, under other labels, the least alike."""
    pairs = findings.loc[findings["finding"].isin(["exact", "near"])]
    order = {
        "between": (pairs["split"] == pairs["partner_split"]).to_numpy(),
        "test": (pairs["split"] != "test").to_numpy(),
        "label": (pairs["label"] == pairs["partner_label"]).to_numpy(),
        "score": pairs["score"].to_numpy(),
    }
    return pairs.iloc[np.lexsort([*order.values()][::-1])][:_TWINS]


def shown_labels(findings: pd.DataFrame) -> pd.DataFrame:
    """The labels that probabilities speak against most, of test images first."""
    suspected = findings.loc[findings["finding"] == "label"]
    later = (suspected["split"] != "test").to_numpy()
    return suspected.iloc[np.lexsort([suspected["score"].to_numpy(), later])][:_LABELS]


def shown_odd(findings: pd.DataFrame) -> pd.DataFrame:
    """The first odd images."""
    return findings.loc[findings["finding"].isin(RULES)][:_ODD]


def pictures(images: Mapping[str, Images], findings: pd.DataFrame) -> dict[str, np.ndarray]:
    """Pixels `(n, ..., 64, 64, 3)` uint8 of what is to be shown, by gallery.

    Args:
        images: by split.
        findings: rows of the audit.
    """
    twins = shown_twins(findings)
    partner = _taken(images, twins["partner_split"].tolist(), twins["partner_index"].tolist())
    own = {
        name: _taken(images, rows["split"].tolist(), rows["index"].tolist())
        for name, rows in (
            ("twins", twins),
            ("labels", shown_labels(findings)),
            ("odd", shown_odd(findings)),
        )
    }
    return {**own, "twins": np.stack([own["twins"], partner], 1)}


def twin_figure(pixels: np.ndarray, findings: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """A column a pair: the image above, its twin below."""
    rows = shown_twins(findings).to_dict("records")
    captions = [
        [
            f"{row['split']} {row['index']:.0f}\n{shortened(classes[int(row['label'])], 14)}",
            f"{row['partner_split']} {row['partner_index']:.0f}\n"
            f"{shortened(classes[int(row['partner_label'])], 14)}",
        ]
        for row in rows
    ]
    return _grid(np.swapaxes(pixels, 0, 1), list(map(list, zip(*captions, strict=True))))


def label_figure(pixels: np.ndarray, findings: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Each with its given label, and what it is taken for."""
    captions = [
        f"{row['split']} {row['index']:.0f}: {shortened(classes[int(row['label'])], 12)}\n"
        f"taken for {shortened(classes[int(row['partner_label'])], 12)}"
        for row in shown_labels(findings).to_dict("records")
    ]
    width = min(6, len(captions))
    lines = range(0, len(captions), width)
    return _grid([pixels[i : i + width] for i in lines], [captions[i : i + width] for i in lines])


def odd_figure(pixels: np.ndarray, findings: pd.DataFrame) -> Figure:
    """Each with the rule that it fits."""
    captions = [
        f"{row['split']} {row['index']:.0f}\n{row['finding']} {number(row['score'], 2)}"
        for row in shown_odd(findings).to_dict("records")
    ]
    return _grid([pixels], [captions])


def _grid(lines: Sequence[np.ndarray] | np.ndarray, captions: Sequence[Sequence[str]]) -> Figure:
    columns = max(map(len, captions))
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(figsize=(1.5 * columns, 1.85 * len(captions)), layout="constrained")
        places = figure.subplots(len(captions), columns, squeeze=False)
        for axes in places.flat:
            axes.axis("off")
        for line, said, images in zip(places, captions, lines, strict=True):
            for axes, text, image in zip(line, said, images, strict=False):
                axes.imshow(image)
                axes.set_title(text, loc="center", fontsize=8, fontweight="normal")
    return figure


def _taken(
    images: Mapping[str, Images], splits: Sequence[str], indices: Sequence[float]
) -> np.ndarray:
    """Pixels of images by split and index."""
    shown = []
    for split, index in zip(splits, indices, strict=True):
        (row,) = (images[split].index == int(index)).nonzero()[:, 0].tolist()
        shown.append(_square(in_unit_range(next(stored(images[split], [row])))))
    empty = torch.zeros(0, _SIDE, _SIDE, 3, dtype=torch.uint8)
    return (torch.stack(shown) if shown else empty).numpy()


def _square(image: Tensor) -> Tensor:
    """`(1, C, H, W)` in [0, 1] to `(64, 64, 3)` uint8; what is not square gets a white margin."""
    scale = _SIDE / max(image.shape[-2:])
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    mode = "nearest" if scale > 1 else "bilinear"
    scaled = F.interpolate(image, size, mode=mode, antialias=scale <= 1)[0].expand(3, -1, -1)
    square = torch.ones(3, _SIDE, _SIDE)
    square[:, : size[0], : size[1]] = scaled
    return (255 * square).round().byte().movedim(0, -1)
