"""One cell of the matrix: a model moved to a data set in one mode, and what that did to it."""

import json
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from callbacks import PROBES, Budget
from callbacks.reductions import by_setting
from callbacks.rows import outcome_columns
from callbacks.shards import fingerprint
from callbacks.transfer import empirical_conditional, layer_similarity, weight_distance
from datamodules.fractions import Fraction, held_out
from lightning_modules import Classifier
from lightning_modules.blocks import blocks
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.evaluate.presets import PRESETS
from pipelines.trainer import made_trainer, uninterrupted
from pipelines.transfer.recipe import TRAINED, Recipe
from pipelines.transfer.source import Source
from pipelines.transfer.subject import Subject
from pipelines.transfer.training import train

_DRIFT_IMAGES, _DRIFT_BATCH = 512, 128


@dataclass(frozen=True)
class Cell:
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
        cell: which.
        status: `ok` or `failed`.
        samples: learnt from, selection included.
        val_acc: of the selection; NaN where there was none.
        seconds: it took.
        notes: what a reader must know.
        error: why it failed.
        strength: of the penalty that a probe selected; NaN elsewhere.
        distance: by block, and of all the backbone as "".
        similarity: CKA by block, before against after.
        forgotten: see `Source.forgotten`.
        robust: accuracy under each probe, with its interval.
        rows: one a test image.
    """

    cell: Cell
    status: str = "ok"
    samples: int = 0
    val_acc: float = float("nan")
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    error: str = ""
    strength: float = float("nan")
    distance: dict[str, float] = field(default_factory=dict)
    similarity: dict[str, float] = field(default_factory=dict)
    forgotten: dict[str, float] = field(default_factory=dict)
    robust: dict[str, list[float]] = field(default_factory=dict)
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    def save(self, folder: Path) -> None:
        """Writes rows, then facts, so that a folder with facts is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        self.rows.to_parquet(folder / "rows.parquet", index=False)
        facts = {k: v for k, v in asdict(self).items() if k != "rows"}
        unfinished = folder / "cell.json.part"
        unfinished.write_text(json.dumps(facts, indent=1))
        unfinished.replace(folder / "cell.json")

    @classmethod
    def load(cls, folder: Path, cell: Cell) -> "Outcome | None":
        """Reads what `save` wrote; None where there is nothing, or it is spoiled."""
        try:
            facts = json.loads((folder / "cell.json").read_text())
            rows = pd.read_parquet(folder / "rows.parquet")
            return cls(**{**facts, "cell": cell, "rows": rows})
        except (OSError, ValueError, TypeError):
            return None


def cell_key(cell: Cell, subject: Subject, source: Source | None, recipe: Recipe) -> str:
    """Hashes everything that may change the rows; failed cells are tried again."""
    rows = subject.rows_of(Fraction(cell.fraction), cell.seed)
    return fingerprint(
        {
            "subject": subject.digest,
            "learnt": subject.pool.index[rows].tolist() if cell.mode != "untouched" else "all",
            "mode": cell.mode,
            "seed": cell.seed,
            "source": source.subject.digest if source else None,
            "recipe": recipe.facts(cell.mode),
            "torch": torch.__version__,
        }
    )


def measured(cell: Cell, subject: Subject, source: Source | None, recipe: Recipe) -> Outcome:
    """Measures a cell; whatever goes wrong is kept as its outcome and takes no other down."""
    start = time.perf_counter()
    outcome = Outcome(cell)
    try:
        _measure(outcome, subject, source, recipe)
    except Exception as error:  # one cell of a long night
        outcome.status, outcome.error = "failed", f"{type(error).__name__}: {error}"
        outcome.notes.append(traceback.format_exc(limit=-4))
    outcome.seconds = time.perf_counter() - start
    return outcome


def _measure(outcome: Outcome, subject: Subject, source: Source | None, recipe: Recipe) -> None:
    cell, fraction = outcome.cell, Fraction(outcome.cell.fraction)
    classifier: Classifier | None = None
    if cell.mode == "untouched":
        logits = _untouched(subject)
        classifier = subject.model.classifier if subject.own_head else None
    elif cell.mode == "probe":
        logits, classifier = _probed(outcome, subject, fraction)
    else:
        trained = train(subject, cell.mode, fraction, cell.seed, recipe)
        classifier = trained.classifier
        outcome.samples, outcome.val_acc, notes = trained[1:]
        outcome.notes += notes
        logits = subject.extracted(classifier, subject.test).logits
        _moved(outcome, subject, classifier)
        if source:
            outcome.forgotten = source.forgotten(classifier)
    if source and cell.mode not in TRAINED:  # the backbone is what it was
        outcome.forgotten = {"old_head": 0.0, "reprobed": 0.0}
    outcome.rows = _rows(logits, subject)
    if recipe.probes and classifier is not None:
        outcome.robust = _robust(subject, classifier, recipe)


def _untouched(subject: Subject) -> Tensor:
    """The model's own answers; of other classes, read by what they mean among labelled images."""
    if subject.own_head:
        return subject.test_features.logits
    pool, test = (
        one.logits.double().softmax(1) for one in (subject.features, subject.test_features)
    )
    table = empirical_conditional(pool, subject.features.label, len(subject.classes))
    return (test @ table.T).clamp_min(1e-12).log().float()


def _probed(outcome: Outcome, subject: Subject, fraction: Fraction) -> tuple[Tensor, Classifier]:
    rows = subject.rows_of(fraction, outcome.cell.seed)
    known = subject.features.at(subject.pool.index[rows].sort().values)
    learn, select = held_out(known.label, outcome.cell.seed)
    probe = fit_linear_probe(
        known.feature[learn],
        known.label[learn],
        len(subject.classes),
        (known.feature[select], known.label[select]),
    )
    outcome.samples, outcome.val_acc, outcome.strength = len(rows), probe.accuracy, probe.strength
    classifier = subject.copied(outcome.cell.seed)
    probe.install(classifier.model)
    return probe(subject.test_features.feature), classifier.eval()


def _moved(outcome: Outcome, subject: Subject, after: Classifier) -> None:
    """How far weights and layers went."""
    before, after = subject.model.classifier.cpu(), after.cpu()
    names = blocks(before.model)[:-1]  # without the head, which may be another
    old, new = (dict(one.model.named_parameters()) for one in (before, after))
    backbone = {k: v for k, v in old.items() if not k.startswith(f"{blocks(before.model)[-1]}.")}
    outcome.distance = {"": weight_distance(backbone, new)}
    outcome.distance |= {name: weight_distance(backbone, new, f"{name}.") for name in names}
    images = subject.test.__getitems__(list(range(min(_DRIFT_IMAGES, len(subject.test)))))
    batch = subject.data.on_after_batch_transfer(images, 0).image
    parts = [part for part in batch.split(_DRIFT_BATCH) if len(part) >= 4]
    outcome.similarity = layer_similarity(before, after, parts, [f"model.{name}" for name in names])
    outcome.similarity = {k.removeprefix("model."): v for k, v in outcome.similarity.items()}


def _rows(logits: Tensor, subject: Subject) -> pd.DataFrame:
    test = subject.test_features
    columns = {"index": test.index, **outcome_columns(logits, test.label)}
    return pd.DataFrame({name: column.numpy() for name, column in columns.items()})


def _robust(subject: Subject, classifier: Classifier, recipe: Recipe) -> dict[str, list[float]]:
    """Accuracy under every probe at its usual severity."""
    quick = PRESETS["quick"]
    budget = Budget(
        limit=quick.limit,
        steps=quick.steps,
        restarts=quick.restarts,
        objective=quick.objective,
        curve=(1.0,),
        chunk=max(recipe.batch_size, 64),
    )
    probes = [PROBES[name](budget) for name in recipe.probes]
    flags = {**recipe.flags, "logger": False, "enable_checkpointing": False}
    flags |= {"enable_progress_bar": False, "enable_model_summary": False}
    flags["use_distributed_sampler"] = False
    trainer = made_trainer(flags, list(probes))
    if not uninterrupted(trainer, lambda: trainer.test(classifier, subject.data, verbose=False)):
        raise KeyboardInterrupt
    found = {}
    for probe in probes:
        table = by_setting(probe.rows)
        usual = getattr(probe, "headline", None)
        line = table.loc[(table["value"] - usual).abs().argmin()] if usual else table.iloc[-1]
        if probe.name != "clean":
            found[probe.name] = [float(line[name]) for name in ("acc", "acc_low", "acc_high")]
    classifier.cpu()
    return found
