"""Images that are there more than once, pixel by pixel or nearly, within and between splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datamodules.errors import UserError
from pipelines.audit.fingerprints import Fingerprints
from pipelines.audit.perceptual_hash import TURNS, hamming, hashed, position, spectrum, turned

LEARNT_LAST = ("test", "val", "train")
"""A pair between splits is told at the one that is measured, of the one that was learnt from."""
_BLOCK = 256
_NEIGHBOURS = 10
_FLAT = 0.03  # length of a thumbnail without its mean: a standard deviation of a thousandth
_AT_ONCE = 4096  # pairs whose thumbnails are compared at once


@dataclass(frozen=True)
class NearRule:
    """When two images are near-duplicates: their hashes are close, and they stand out as a pair.

    Digits of one class look alike without being copies, photographs do not: so the distance of a
    pair is compared with that to other images that are like it, as Lowe (2004) matches keypoints.

    Args:
        radius: bits of 63 by which their perceptual hashes (pHash) may differ.
        ratio: of the distance (1 - correlation of grey 32x32 thumbnails) to that of the tenth
            nearest image of all splits, at most.
        turned: look for mirrored and turned copies too, which takes eight times as long.
    """

    radius: int = 12
    ratio: float = 0.4
    turned: bool = True

    def __post_init__(self) -> None:
        """Refuses what is no radius or ratio."""
        if not 0 <= self.radius <= 63:
            raise UserError(f"Expected `near.radius` from 0 to 63 bits, but got {self.radius}.")
        if not 0 < self.ratio < 1:
            raise UserError(f"Expected `near.ratio` between 0 and 1, but got {self.ratio:g}.")

    def __str__(self) -> str:
        turns = ", in any of eight positions" if self.turned else ""
        return (
            f"perceptual hashes within {self.radius} of 63 bits{turns}, and thumbnails at most "
            f"{self.ratio:g} times as far apart as the tenth nearest image"
        )


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Args:
        pairs: `index, split, finding, partner_split, partner_index, score, label, partner_label,
            hamming, turn, file, partner_file`: of each image its nearest partner in each split.
        unrelated: pairs of images under different labels that were compared.
        by_chance: how many of them are near-duplicates by the rule all the same; real duplicates
            under two labels are among them, and pairs under one label are more alike.
    """

    pairs: pd.DataFrame
    unrelated: int
    by_chance: int


def find_duplicates(
    splits: Mapping[str, Fingerprints], rule: NearRule, device: torch.device | str = "cpu"
) -> Duplicates:
    """Compares every image with every other by matrix products of their hashes.

    Args:
        splits: of `LEARNT_LAST`.
        rule: for those that are not equal.
        device: where to compute.
    """
    found: list[pd.DataFrame] = []
    unrelated = by_chance = 0
    names = [name for name in LEARNT_LAST if name in splits]
    prepared = {name: _Prepared(splits[name], rule, device) for name in names}
    everything = torch.cat([part.thumbnail for part in prepared.values()]).flatten(1)
    for one, other in combinations_with_replacement(names, 2):
        here, there = splits[one], splits[other]
        exact = _exact(here, there, one == other)
        found.append(_told(exact, here, there, one, other, "exact"))
        near = _near(prepared[one], prepared[other], everything, one == other, rule)
        apart = near.loc[here.label.numpy()[near["i"]] != there.label.numpy()[near["j"]]]
        by_chance += len(apart)
        unrelated += _different(here.label, there.label, one == other)
        found.append(_told(near, here, there, one, other, "near"))
    return Duplicates(pd.concat(found, ignore_index=True), unrelated, by_chance)


class _Prepared:
    """Hashes in all positions, and thumbnails of mean 0 and length 1, of one split."""

    def __init__(self, prints: Fingerprints, rule: NearRule, device: torch.device | str) -> None:
        thumbnail = prints.thumbnail.to(device)
        thumbnail = thumbnail - thumbnail.mean((1, 2), keepdim=True)
        length = thumbnail.flatten(1).norm(dim=1)[:, None, None]
        # What has no contrast looks like nothing, and correlates with nothing.
        self.thumbnail = torch.where(length > _FLAT, thumbnail / length, 0)
        low = spectrum(self.thumbnail)
        plain = (length > _FLAT).to(low.dtype)[:, :, 0]
        self.hashes = [hashed(part) * plain for part in (turned(low) if rule.turned else [low])]
        self.digest = np.asarray(prints.digest)


def _exact(here: Fingerprints, there: Fingerprints, same: bool) -> pd.DataFrame:
    """Pairs of rows with equal pixels: each row with the first one there that is like it."""
    first: dict[str, int] = {}
    for row, digest in enumerate(there.digest):
        first.setdefault(digest, row)
    pairs = [(row, first[d]) for row, d in enumerate(here.digest) if d in first]
    if same:
        pairs = [(row, partner) for row, partner in pairs if partner < row]
    frame = pd.DataFrame(pairs, columns=["i", "j"]).astype("int64")
    return frame.assign(score=1.0, hamming=0, turn=TURNS[0])


def _near(
    here: _Prepared, there: _Prepared, everything: Tensor, same: bool, rule: NearRule
) -> pd.DataFrame:
    """Pairs of rows that fit the rule and are not equal."""
    parts = [
        _close(own, there.hashes[0], same, rule.radius).assign(turn=turn)
        for turn, own in enumerate(here.hashes)
    ]
    pairs = pd.concat(parts, ignore_index=True)
    pairs = pairs.loc[here.digest[pairs["i"]] != there.digest[pairs["j"]]]
    limit = rule.ratio * _tenth_nearest(here, everything, pairs["i"].unique())
    apart = [_distance(here, there, part, turn) for turn, part in pairs.groupby("turn")]
    pairs = pairs.sort_values("turn", kind="stable")
    pairs["score"] = 1 - np.concatenate([np.zeros(0), *apart])
    near = pairs.loc[1 - pairs["score"] <= limit[pairs["i"]]]
    near = near.sort_values("score", ascending=False, kind="stable").drop_duplicates(["i", "j"])
    return near.assign(turn=[TURNS[turn] for turn in near["turn"]])


def _close(own: Tensor, others: Tensor, same: bool, radius: int) -> pd.DataFrame:
    """Pairs of rows whose hashes are within the radius; within a split each once, at the later."""
    parts = []
    for first in range(0, len(own), _BLOCK):
        block = own[first : first + _BLOCK]
        # As many bits are equal as the product says; one comparison for millions of pairs.
        i, j = (block @ others.T >= others.shape[1] - 2 * radius).nonzero(as_tuple=True)
        bits = hamming(block[i], others[j])
        parts.append(torch.stack([i + first, j, bits.to(i.dtype)]))
    i, j, bits = torch.cat(parts, 1).cpu().numpy()
    frame = pd.DataFrame({"i": i, "j": j, "hamming": bits})
    return frame.loc[frame["j"] < frame["i"]] if same else frame


def _tenth_nearest(here: _Prepared, everything: Tensor, rows: np.ndarray) -> np.ndarray:
    """Distance of some rows to the tenth nearest of all images, or the farthest of fewer."""
    found = np.zeros(len(here.digest))
    count = min(_NEIGHBOURS + 1, len(everything))  # an image is its own nearest
    for part in torch.tensor(rows).split(_BLOCK):
        alike = here.thumbnail.flatten(1)[part.to(everything.device)] @ everything.T
        found[part.numpy()] = 1 - alike.topk(count).values[:, -1].cpu().numpy()
    return found


def _distance(here: _Prepared, there: _Prepared, pairs: pd.DataFrame, turn: int) -> np.ndarray:
    """1 - Pearson's correlation of thumbnails, the first of each pair turned."""
    device = here.thumbnail.device
    i, j = (torch.tensor(pairs[side].to_numpy()).to(device) for side in ("i", "j"))
    parts = [
        (position(here.thumbnail[a], turn) * there.thumbnail[b]).sum((1, 2))
        for a, b in zip(i.split(_AT_ONCE), j.split(_AT_ONCE), strict=True)
    ]
    return 1 - torch.cat(parts).cpu().numpy().astype(float)


def _told(
    pairs: pd.DataFrame, here: Fingerprints, there: Fingerprints, one: str, other: str, finding: str
) -> pd.DataFrame:
    """Of each image its best partner, with indices, labels and files of both."""
    best = pairs.sort_values("score", ascending=False, kind="stable").drop_duplicates("i")
    best = best.sort_values("i")
    i, j = best["i"].to_numpy("int64"), best["j"].to_numpy("int64")
    return pd.DataFrame(
        {
            "index": here.index.numpy()[i],
            "split": one,
            "finding": finding,
            "partner_split": other,
            "partner_index": there.index.numpy()[j],
            "score": best["score"].to_numpy(float),
            "label": here.label.numpy()[i],
            "partner_label": there.label.numpy()[j],
            "hamming": best["hamming"].to_numpy("int64"),
            "turn": best["turn"].to_numpy(str),
            "file": [here.name(row) for row in i.tolist()],
            "partner_file": [there.name(row) for row in j.tolist()],
        }
    )


def _different(one: Tensor, other: Tensor, same: bool) -> int:
    """Pairs of images under different labels."""
    classes = int(max(one.max(), other.max())) + 1
    a, b = one.bincount(minlength=classes), other.bincount(minlength=classes)
    pairs = len(one) * len(other) - int((a * b).sum())
    return pairs // 2 if same else pairs
