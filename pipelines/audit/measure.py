"""The audit itself: every split is read once, and everything is asked of what is kept of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from callbacks.statistics import rate
from datamodules import ImageDataModule
from datamodules.errors import UserError
from datamodules.images import Images
from lightning_modules import Classifier
from lightning_modules.features import Features, extract
from pipelines.audit.duplicates import NearRule, find_duplicates
from pipelines.audit.feature_twins import find_feature_twins
from pipelines.audit.fingerprints import Fingerprints, fingerprints
from pipelines.audit.gallery import pictures
from pipelines.audit.imbalance import count
from pipelines.audit.judges import judged
from pipelines.audit.label_errors import Suspects
from pipelines.audit.lines import compared, split_line
from pipelines.audit.odd_images import find_odd
from pipelines.audit.twins import has_twin


@dataclass(frozen=True)
class Measured:
    """What an audit has found, as tables.

    Args:
        findings: a row for each image and finding: `index, split, finding, partner_split,
            partner_index, score, label, partner_label, hamming, turn, file, partner_file`.
        splits: a line a split.
        between: a line for each pair of splits.
        moved: statistics of images of each pair of splits.
        classes: images by class and split.
        answers: `index, label, prediction, correct, twin` of the model to the test images.
        pictures: pixels of what is shown, by gallery.
        facts: `rule`, `unrelated`, `by_chance`, and `notes`.
    """

    findings: pd.DataFrame = field(repr=False)
    splits: pd.DataFrame
    between: pd.DataFrame
    moved: pd.DataFrame = field(repr=False)
    classes: pd.DataFrame = field(repr=False)
    answers: pd.DataFrame | None = field(repr=False)
    pictures: Mapping[str, np.ndarray] = field(repr=False)
    facts: Mapping[str, Any]


def measure(
    data: ImageDataModule,
    classifier: Classifier | None = None,
    near: NearRule = NearRule(),  # noqa: B008  (frozen)
    seed: int = 0,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Audits a data set.

    Args:
        data: whose splits are read; without training images only the test images are.
        classifier: judges labels, and gives features that twins are looked for in, too.
        near: when two images are near-duplicates.
        seed: of folds, halves and planted errors.
        device: where to compute.
        say: tells what is done.
    """
    images, notes = _splits(data)
    say(f"reading  {sum(map(len, images.values())):,} images")
    prints = {split: fingerprints(part) for split, part in images.items()}
    say("looking for duplicates")
    duplicates = find_duplicates(prints, near, device)
    features: dict[str, Features] = {}
    if classifier is not None:
        say("asking the model")
        features = {s: _extracted(classifier, data, part, device) for s, part in images.items()}
    pairs = duplicates.pairs
    if features:
        pairs = pd.concat(
            [pairs, find_feature_twins(features, prints, near, pairs, device)], ignore_index=True
        )
    say("looking for label errors")
    suspects = {split: judged(split, prints, features, data.num_classes, seed) for split in images}
    odd = [find_odd(part, split) for split, part in prints.items()]
    say("comparing the splits")
    findings = _findings(pairs, suspects, odd, prints)
    labels = {split: part.label.numpy() for split, part in images.items()}
    imbalance = count(labels, [str(name) for name in data.classes])
    lines = [split_line(findings, suspects[split], imbalance, split, seed) for split in images]
    table = pd.DataFrame(lines)
    table["learnt"] = _learnt(features) if features else False
    between, moved = compared(prints, features, imbalance.counts, findings, seed)
    return Measured(
        findings,
        table,
        between,
        moved,
        imbalance.counts.assign(**{"class": imbalance.names}),
        _answers(features.get("test"), duplicates.pairs),
        pictures(images, findings),
        {
            "rule": str(near),
            "unrelated": duplicates.unrelated,
            "by_chance": duplicates.by_chance,
            "notes": notes,
        },
    )


def _splits(data: ImageDataModule) -> tuple[dict[str, Images], list[str]]:
    """All splits that can be read; test images there must be."""
    images = {"test": data.images("test")}
    notes = []
    try:
        images = {"train": data.images("train"), "val": data.images("val"), **images}
    except UserError as problem:
        notes.append(f"Only test images were audited, since there are no others: {problem}")
    if data.limit is not None:
        notes.append(
            f"With `limit` {data.limit} only a part of every split was read: twins outside of it "
            "were not seen."
        )
    if "val" in images and not data.has_val:
        notes.append(
            "Validation images are a part of the training images, chosen at random: that these two "
            "are alike says nothing."
        )
    return images, notes


def _extracted(
    classifier: Classifier, data: ImageDataModule, images: Images, device: torch.device | str
) -> Features:
    served = data.with_images(test=images)
    batches = (served.on_after_batch_transfer(batch, 0) for batch in served.test_dataloader())
    found = extract(classifier, batches, device, classifier.chunk).at(images.index)
    classifier.cpu()
    return found


def _findings(
    pairs: pd.DataFrame,
    suspects: Mapping[str, Suspects],
    odd: list[pd.DataFrame],
    prints: Mapping[str, Fingerprints],
) -> pd.DataFrame:
    """All rows in one table, the numbers of what a finding has not are missing."""
    judged = []
    for split, part in suspects.items():
        if not part.believed:
            continue
        names = dict(zip(prints[split].index.tolist(), prints[split].files, strict=False))
        judged.append(part.rows.assign(file=[names.get(i, "") for i in part.rows["index"]]))
    parts = [part for part in (pairs, *judged, *odd) if len(part)]
    table = pd.concat(parts, ignore_index=True) if parts else pairs
    whole = ["index", "partner_index", "label", "partner_label", "hamming"]
    words = ["split", "finding", "partner_split", "turn", "file", "partner_file"]
    table = table.reindex(columns=pairs.columns).astype(dict.fromkeys(whole, "Int64"))
    return table.fillna(dict.fromkeys(words, "")).astype(dict.fromkeys(words, str))


def _learnt(features: Mapping[str, Features]) -> list[bool]:
    """Of each split whether the model is right more often than on test images, beyond chance."""
    right = {s: (part.logits.argmax(1) == part.label) for s, part in features.items()}
    found = {s: rate(int(part.sum()), len(part)) for s, part in right.items()}
    return [part.low > found["test"].high for part in found.values()]


def _answers(features: Features | None, pairs: pd.DataFrame) -> pd.DataFrame | None:
    if features is None:
        return None
    prediction = features.logits.argmax(1)
    return pd.DataFrame(
        {
            "index": features.index.numpy(),
            "label": features.label.numpy(),
            "prediction": prediction.numpy(),
            "correct": (prediction == features.label).long().numpy(),
            "twin": has_twin(pairs, features.index.numpy()),
        }
    )
