"""What the features of a pair predict of its transfer, before anything is trained."""

from pathlib import Path

from callbacks.transfer import predicted_transfer
from datamodules.fractions import held_out
from datamodules.splits import limited
from lightning_modules.linear_probe import fit_linear_probe
from pipelines import cells
from pipelines.transfer.pair import Pair
from pipelines.transfer.recipe import VERSION

_SCORED = 5000
"""Labelled images that scores are computed on, at most: neighbours cost the square."""


def predicted_scores(pair: Pair) -> dict[str, float]:
    """Every score on labelled images only; empty where features are such that none is defined."""

    def work(_: Path) -> cells.Cell:
        rows = limited(pair.features.label, _SCORED, 0)
        known = pair.features.at(pair.features.index[rows])
        scores = predicted_transfer(known.feature, known.logits.softmax(1), known.label)
        learn, select = held_out(known.label, 0)
        chosen = (known.feature[select], known.label[select])
        classes = len(pair.classes)
        probe = fit_linear_probe(known.feature[learn], known.label[learn], classes, chosen)
        return cells.Cell({**scores, "probe": probe.accuracy})

    digests = [pair.digest, pair.pool.digest()]
    facts = {"cell": "predicted transfer", "pair": digests, "version": VERSION}
    try:
        return dict(pair.study.cells.measured(facts, work).facts)
    except Exception:  # the cells of the pair failed in the same way, and say why
        return {}
