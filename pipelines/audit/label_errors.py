"""Labels that probabilities speak against, and how many planted errors are found that way."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from callbacks.statistics import Interval, rate
from datamodules.folds import Predict, out_of_sample
from datamodules.label_noise import SymmetricLabelNoise
from datamodules.suspects import suspects

PLANTED = 0.03
"""Share of the labels that are changed, in a copy, to see how many of them are found."""
_BELIEVED = 0.25
"""Planted errors among what is marked; below it a judge marks what it does not know itself."""
_CENTRES = 400
"""Of the kernel machine on pixels: right on 95 % of MNIST after 5,000 images, two seconds a fit."""
_PARTS = 5

Ask = Callable[[Tensor], Tensor]
"""From labels `(N,)` to probabilities `(N, K)` for the same images, out of sample."""


@dataclass(frozen=True)
class Suspects:
    """Suspected label errors of one split.

    Args:
        rows: `index, split, finding, score, label, partner_label` of the suspects, the worst first;
            the score is the probability of the given label minus that of the best other one,
            `partner_label` that other one.
        of: images that were judged.
        by: who gave the probabilities.
        accuracy: of these probabilities against the labels as they are.
        recall: share of planted errors that are found.
        precision: share of what is found after planting that was planted, a lower bound: real
            errors count against it.
    """

    rows: pd.DataFrame
    of: int
    by: str
    accuracy: Interval
    recall: Interval
    precision: Interval

    @property
    def believed(self) -> bool:
        """Whether what is marked is mostly more than the judge's own errors."""
        return self.precision.value >= _BELIEVED

    @property
    def share(self) -> Interval:
        """Share of suspects."""
        return rate(len(self.rows), self.of)


def find_suspects(
    ask: Ask, label: Tensor, index: Tensor, split: str, by: str, seed: int = 0
) -> Suspects:
    """Suspects labels by confident learning (Northcutt et al. 2021), pruned by noise rate.

    Args:
        ask: gives probabilities by a model that has not learnt from these images.
        label: `(N,)`.
        index: `(N,)`.
        split: its name.
        by: what gives the probabilities, for the reader.
        seed: of the planted errors.
    """
    probability = ask(label)
    margin, other = _margin(probability, label)
    rows = suspects(probability, label, "noise_rate").nonzero()[:, 0]
    rows = rows[margin[rows].argsort()]
    table = {"index": index, "score": margin, "label": label, "partner_label": other}
    frame = pd.DataFrame({name: column[rows].numpy() for name, column in table.items()})
    planted, changed = _planted(label, probability.shape[1], seed)
    again = suspects(ask(changed), changed, "noise_rate")
    hits = int((again & planted).sum())
    return Suspects(
        frame.assign(split=split, finding="label"),
        len(label),
        by,
        rate(int((probability.argmax(1) == label).sum()), len(label)),
        rate(hits, int(planted.sum())),
        rate(hits, int(again.sum())),
    )


def cross_validated(feature: Tensor, classes: int, pixels: bool, seed: int) -> Ask:
    """Probabilities of a probe that is fitted five times, without those that it is asked about.

    Args:
        feature: `(N, D)`.
        classes: how many there are.
        pixels: the features are pixels, which a linear probe knows too little of: a kernel machine.
        seed: of folds and kernel centres.
    """

    def ask(label: Tensor) -> Tensor:
        def fit(rows: Tensor) -> Predict:
            probe = fitted(feature[rows], label[rows], classes, pixels, seed)
            return lambda asked: probe(feature[asked])

        if len(label) < 2:  # nothing is left to learn from
            return torch.full((len(label), classes), 1 / classes, dtype=torch.float64)
        return out_of_sample(fit, label, min(_PARTS, len(label)), seed)

    return ask


def fitted(
    feature: Tensor, label: Tensor, classes: int, pixels: bool, seed: int
) -> Callable[[Tensor], Tensor]:
    """Fits a probe, see `cross_validated`, and returns what gives its probabilities."""
    given, known = feature.numpy(), label.unique()
    if len(known) == 1:  # nothing to learn: all is that class
        return lambda asked: torch.zeros(len(asked), classes).double().index_fill(1, known, 1.0)
    kernel = Nystroem(
        gamma=1 / (given.shape[1] * max(float(given.var()), 1e-9)),
        n_components=min(_CENTRES, len(given)),
        random_state=seed,
    )
    steps = [kernel] if pixels else []
    # With C = 0.1 scores of few images a feature do not become certainties.
    probe = make_pipeline(*steps, StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    probe.fit(given, label.numpy())

    def predict(asked: Tensor) -> Tensor:
        found = torch.zeros(len(asked), classes, dtype=torch.float64)
        found[:, known] = torch.from_numpy(np.asarray(probe.predict_proba(asked.numpy()))).double()
        return found

    return predict


def _planted(label: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Marks some images, at least one, and changes their labels to others at random."""
    place = torch.arange(len(label))
    share = max(PLANTED, 1 / len(label))
    spoiling = SymmetricLabelNoise(share)(label, place, classes, seed)
    assert spoiling.label is not None
    marked = torch.zeros(len(label), dtype=torch.bool).index_fill(0, spoiling.index, True)
    return marked, label.index_put((spoiling.index,), spoiling.label)


def _margin(probability: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the label minus that of the best other class, and which that is."""
    own = probability.gather(1, label[:, None])
    best, other = probability.scatter(1, label[:, None], -1.0).max(1)
    return own[:, 0] - best, other
