"""One cell of the matrix: a model moved to a data set in one mode, and what that did to it."""

import time
import traceback
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from callbacks import probe_entries
from callbacks.reductions import accuracy
from callbacks.rows import outcome_columns
from callbacks.transfer import empirical_conditional, layer_similarity, weight_distance
from datamodules.fractions import held_out
from lightning_modules import Classifier
from lightning_modules.blocks import blocks
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.evaluate.measure import budget_of, measure, prepare_probes
from pipelines.report.result import save_result
from pipelines.study import Study, cells
from pipelines.transfer.pair import Pair
from pipelines.transfer.recipe import TRAINED, Recipe
from pipelines.transfer.source import Source
from pipelines.transfer.training import tuned

_DRIFT_IMAGES, _DRIFT_BATCH = 512, 128


class Transfer(NamedTuple):
    """Where a cell stands in the matrix.

    Args:
        model: name.
        data: name.
        mode: see `MODES`.
        fraction: of the labelled images.
        seed: of everything random.
    """

    model: str
    data: str
    mode: str
    fraction: str = "all"
    seed: int = 0

    def __str__(self) -> str:
        about = "" if self.mode == "untouched" else f" {self.fraction} s{self.seed}"
        return f"{self.model} on {self.data} {self.mode}{about}"


@dataclass
class Outcome:
    """What was measured of a cell.

    Args:
        transfer: which.
        samples: learnt from, selection included.
        val_acc: of the selection; NaN where there was none.
        seconds: it took.
        notes: how far its numbers can be trusted; of a failed cell, where it failed.
        error: why it failed.
        learnt: parameters that learnt.
        strength: of the penalty that a probe selected; NaN elsewhere.
        distance: of the backbone's weights; NaN where it is frozen.
        similarity: CKA by block, before against after.
        forgotten: see `Source.forgotten`.
        robust: accuracy under each probe, with its interval.
        rows: a line for each test image.
    """

    transfer: Transfer
    samples: int = 0
    val_acc: float = float("nan")
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    error: str = ""
    learnt: int = 0
    strength: float = float("nan")
    distance: float = float("nan")
    similarity: dict[str, float] = field(default_factory=dict)
    forgotten: dict[str, float] = field(default_factory=dict)
    robust: dict[str, list[float]] = field(default_factory=dict)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def status(self) -> str:
        """`ok` or `failed`."""
        return "failed" if self.error else "ok"

    @property
    def accuracy(self) -> float:
        """On the test images."""
        return float(self.rows["correct"].mean())

    def facts(self) -> dict[str, Any]:
        """Everything but the place and the rows, JSON-able."""
        facts = asdict(replace(self, rows=pd.DataFrame()))
        return {name: value for name, value in facts.items() if name not in ("transfer", "rows")}


def cell_facts(
    transfer: Transfer, pair: Pair, source: Source | None, recipe: Recipe
) -> dict[str, Any]:
    """Everything that may change the rows of a cell; seeds and fractions of others do not."""
    learnt = pair.pool
    if transfer.mode != "untouched":
        learnt = learnt.subset(pair.chosen[transfer.fraction, transfer.seed])
    augment = pair.data.augment if transfer.mode in TRAINED else "none"
    return {
        **({"augment": augment} if augment != "none" else {}),  # else the key of before
        "cell": "transfer",
        "pair": pair.digest,
        "learnt": None if transfer.mode == "untouched" and pair.own_head else learnt.digest(),
        "mode": transfer.mode,
        "seed": transfer.seed,
        "source": [source.pair.digest, source.pair.pool.digest()] if source else None,
        "recipe": recipe.facts(transfer.mode),
        "seed of probes": pair.study.seed if recipe.probes else None,
    }


def measured(
    study: Study, transfer: Transfer, pair: Pair, source: Source | None, recipe: Recipe
) -> Outcome:
    """Reads or measures a cell; one that fails takes no other down, and is tried again later."""
    start = time.perf_counter()

    def work(folder: Path) -> cells.Cell:
        outcome = Outcome(transfer)
        _measure(outcome, pair, source, recipe, folder)
        outcome.seconds = time.perf_counter() - start
        return cells.Cell(outcome.facts(), outcome.rows)

    try:
        cell = study.cells.measured(cell_facts(transfer, pair, source, recipe), work)
    except Exception as error:  # whatever it is, a night of other cells is worth more
        where = traceback.format_exc(limit=-4)
        message = f"{type(error).__name__}: {error}"
        return Outcome(transfer, error=message, notes=[where], seconds=time.perf_counter() - start)
    return Outcome(transfer, rows=cell.rows, **cell.facts)


def _measure(
    outcome: Outcome, pair: Pair, source: Source | None, recipe: Recipe, folder: Path
) -> None:
    _, _, mode, fraction, seed = outcome.transfer
    classifier: Classifier | None = None
    if mode == "untouched":
        logits = _untouched(pair)
        classifier = pair.model.classifier if pair.own_head else None
    elif mode == "probe":
        logits, classifier = _probed(outcome, pair, fraction, seed)
    else:
        origin = source.pair.model.classifier if source else None
        trained = tuned(pair, mode, fraction, seed, recipe, folder, origin)
        classifier, outcome.samples, outcome.val_acc, outcome.notes, outcome.learnt, old = trained
        logits = pair.extracted(classifier, pair.test).logits
        _measure_drift(outcome, pair, classifier)
        if source:
            outcome.forgotten = source.forgotten(classifier, old)
    if source and mode not in TRAINED:  # the backbone is what it was
        outcome.forgotten = {"old_head": 0.0, "reprobed": 0.0}
    outcome.rows = _rows(logits, pair)
    if recipe.probes and classifier is not None:
        outcome.robust = _robustness(pair, classifier, recipe, folder)


def _untouched(pair: Pair) -> Tensor:
    """The model's own answers; of other classes, read by what they mean among labelled images."""
    if pair.own_head:
        return pair.test_features.logits
    pool, test = (
        features.logits.double().softmax(1) for features in (pair.features, pair.test_features)
    )
    table = empirical_conditional(pool, pair.features.label, len(pair.classes))
    return (test @ table.T).clamp_min(1e-12).log().float()


def _probed(outcome: Outcome, pair: Pair, fraction: str, seed: int) -> tuple[Tensor, Classifier]:
    rows = pair.chosen[fraction, seed]
    known = pair.features.at(pair.pool.index[rows].sort().values)
    learn, select = held_out(known.label, seed)
    probe = fit_linear_probe(
        known.feature[learn],
        known.label[learn],
        len(pair.classes),
        (known.feature[select], known.label[select]),
    )
    outcome.samples, outcome.val_acc, outcome.strength = len(rows), probe.accuracy, probe.strength
    classifier = pair.copied(seed)
    probe.install(classifier.model)
    outcome.learnt = probe.weight.numel() + probe.bias.numel()
    return probe(pair.test_features.feature), classifier.eval()


def _measure_drift(outcome: Outcome, pair: Pair, after: Classifier) -> None:
    """How far weights and layers went."""
    before, after = pair.model.classifier.cpu(), after.cpu()
    *names, head = blocks(before.model)  # the head may be another, so it is left out
    old, new = (dict(state.model.named_parameters()) for state in (before, after))
    backbone = {k: v for k, v in old.items() if not k.startswith(f"{head}.")}
    outcome.distance = weight_distance(backbone, new)
    images = pair.test.__getitems__(list(range(min(_DRIFT_IMAGES, len(pair.test)))))
    batch = pair.data.on_after_batch_transfer(images, 0).image
    # Unbiased CKA needs four images.
    parts = [part for part in batch.split(_DRIFT_BATCH) if len(part) >= 4]
    layers = [f"model.{name}" for name in names]
    similarity = layer_similarity(before, after, parts, layers)
    outcome.similarity = {k.removeprefix("model."): v for k, v in similarity.items()}


def _rows(logits: Tensor, pair: Pair) -> pd.DataFrame:
    test = pair.test_features
    columns = {"index": test.index, **outcome_columns(logits, test.label)}
    return pd.DataFrame({name: column.numpy() for name, column in columns.items()})


def _robustness(
    pair: Pair, classifier: Classifier, recipe: Recipe, folder: Path
) -> dict[str, list[float]]:
    """Accuracy under every probe at its usual severity; the rows are kept with the cell."""
    budget = replace(budget_of("quick", pair.study), curve=(1.0,))
    probes = [probe_entries()[name](budget) for name in recipe.probes]
    prepare_probes(probes, classifier, pair.data, pair.study)
    evaluation = measure(pair.study, classifier, pair.data, probes)
    if evaluation.about.interrupted:
        raise KeyboardInterrupt
    save_result(evaluation, folder / "evaluation")
    classifier.cpu()
    return {
        result.name: list(accuracy(result.at_headline))
        for result in evaluation.results
        if result.name != "clean"
    }
