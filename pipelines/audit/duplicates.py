"""Images that are there more than once, pixel by pixel or nearly, within and between splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.statistics import Interval, rate
from datamodules.errors import UserError
from pipelines.audit.fingerprints import Fingerprints
from pipelines.audit.perceptual_hash import TURNS, hamming, hashed, positions, spectrum, turned

LEARNT_LAST = ("test", "val", "train")
"""A pair between splits is told at the one that is measured, of the one that was learnt from."""
_BLOCK = 1024
_AT_ONCE = 4096  # pairs whose thumbnails are compared at once


@dataclass(frozen=True)
class NearRule:
    """When two images are near-duplicates.

    Args:
        radius: bits of 63 by which their perceptual hashes (pHash) may differ.
        correlation: of their grey 32x32 thumbnails, at least.
        turned: look for mirrored and turned copies too, which takes eight times as long.
    """

    radius: int = 8
    correlation: float = 0.95
    turned: bool = True

    def __post_init__(self) -> None:
        """Refuses what is no radius or correlation."""
        if not 0 <= self.radius <= 63:
            raise UserError(f"Expected `near.radius` from 0 to 63 bits, but got {self.radius}.")
        if not 0 < self.correlation <= 1:
            raise UserError(f"Expected `near.correlation` in (0, 1], but got {self.correlation:g}.")

    def __str__(self) -> str:
        turns = ", in any of eight positions" if self.turned else ""
        return (
            f"perceptual hashes within {self.radius} of 63 bits and thumbnails with a correlation "
            f"of at least {self.correlation:g}{turns}"
        )


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Args:
        pairs: `index, split, finding, partner_split, partner_index, score, label, partner_label,
            hamming, turn, file, partner_file`: of each image its nearest partner in each split.
        unrelated: pairs of images under different labels that were compared.
        by_chance: how many of them are near-duplicates by the rule all the same.
    """

    pairs: pd.DataFrame
    unrelated: int
    by_chance: int

    @property
    def false_positives(self) -> Interval:
        """Share of pairs under different labels that the rule takes for near-duplicates.

        Real duplicates under two labels are among them; pairs under one label are more alike.
        """
        return rate(self.by_chance, self.unrelated)


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
    for one, other in combinations_with_replacement(names, 2):
        here, there = splits[one], splits[other]
        exact = _exact(here, there, one == other)
        found.append(_told(exact, here, there, one, other, "exact"))
        near = _near(prepared[one], prepared[other], one == other, rule)
        apart = near.loc[here.label.numpy()[near["i"]] != there.label.numpy()[near["j"]]]
        by_chance += len(apart)
        unrelated += _different(here.label, there.label, one == other)
        found.append(_told(near, here, there, one, other, "near"))
    return Duplicates(pd.concat(found, ignore_index=True), unrelated, by_chance)


class _Prepared:
    """Hashes in all positions, and thumbnails of mean 0 and length 1, of one split."""

    def __init__(self, prints: Fingerprints, rule: NearRule, device: torch.device | str) -> None:
        thumbnail = prints.thumbnail.to(device)
        low = spectrum(thumbnail)
        self.hashes = [hashed(part) for part in (turned(low) if rule.turned else [low])]
        self.thumbnail = thumbnail
        self.digest = np.asarray(prints.digest)
        # What has no contrast looks like nothing, and correlates with nothing.
        self.usable = thumbnail.flatten(1).std(1) > 1e-3


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


def _near(here: _Prepared, there: _Prepared, same: bool, rule: NearRule) -> pd.DataFrame:
    """Pairs of rows that fit the rule and are not equal."""
    parts = []
    for turn, own in enumerate(here.hashes):
        for first in range(0, len(own), _BLOCK):
            close = hamming(own[first : first + _BLOCK], there.hashes[0])
            fits = (close <= rule.radius) & here.usable[first : first + _BLOCK, None] & there.usable
            if same:  # each pair once, at the later of the two
                fits = fits.tril(first - 1)
            i, j = fits.nonzero(as_tuple=True)
            bits = close[i, j]
            i = i + first
            alike = _correlation(here.thumbnail, there.thumbnail, i, j, turn)
            kept = alike >= rule.correlation
            columns = {"i": i, "j": j, "score": alike, "hamming": bits}
            frame = pd.DataFrame({k: v[kept].cpu().numpy() for k, v in columns.items()})
            parts.append(frame.assign(turn=TURNS[turn]))
    pairs = pd.concat(parts, ignore_index=True)
    equal = here.digest[pairs["i"]] == there.digest[pairs["j"]]
    best = pairs.loc[~equal].sort_values("score", ascending=False, kind="stable")
    return best.drop_duplicates(["i", "j"]).astype({"hamming": "int64"})


def _correlation(one: Tensor, other: Tensor, i: Tensor, j: Tensor, turn: int) -> Tensor:
    """Pearson's, of pairs of thumbnails, the first one turned."""
    if not len(i):
        return one.new_empty(0)
    parts = [
        (_normalised(positions(one[a])[turn]) * _normalised(other[b])).sum(1)
        for a, b in zip(i.split(_AT_ONCE), j.split(_AT_ONCE), strict=True)
    ]
    return torch.cat(parts)


def _normalised(thumbnail: Tensor) -> Tensor:
    flat = thumbnail.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True)


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
