"""A model and a data set: the images as the model sees them, and its features of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from callbacks.digests import model_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule
from datamodules.errors import UserError
from datamodules.fractions import Fraction, labelled, with_images
from datamodules.images import Images
from datamodules.preprocessing import CONVERSIONS, Preprocessing
from lightning_modules import Classifier
from lightning_modules.class_names import are_names, match, same_task
from lightning_modules.duplication import duplicate
from lightning_modules.examination import check_answers, examine
from lightning_modules.features import Features, cached, extract
from lightning_modules.heads import head_name, replace_head
from lightning_modules.sources import match_classes
from pipelines.study import Study
from pipelines.transfer.tasks import Model, Task

_EXAMINED = 16
_SIDE = 32  # of images of many sizes, for a model that wants none and does not say its data


@dataclass(frozen=True)
class Pair:
    """One model on one data set.

    Args:
        model: as it was trained.
        task: the data set.
        data: the data set as the model sees it; its `train` are all labelled images in use.
        chosen: positions among those, by fraction and seed.
        study: where features are computed and kept.
        matched: what was done to the order of the model's outputs; empty where nothing was.
    """

    model: Model
    task: Task
    data: ImageDataModule
    chosen: Mapping[tuple[str, int], Tensor]
    study: Study
    matched: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the data."""
        return self.data.classes

    @property
    def own_head(self) -> bool:
        """Whether the model's head answers the data's classes; see `same_task`."""
        source = self.model.source.data.name if self.model.source else ""
        return same_task(self.model.classifier.classes, self.classes, source, self.task.data.name)

    @property
    def pool(self) -> Images:
        """All labelled images in use."""
        return self.data.images("train")

    @property
    def test(self) -> Images:
        """The test images in use."""
        return self.data.images("test")

    @cached_property
    def features(self) -> Features:
        """Of the labelled images."""
        file = self._file(f"{self.pool.digest()[:32]}-pool")
        return self.extracted(self.model.classifier, self.pool, file)

    @cached_property
    def test_features(self) -> Features:
        """Of the test images."""
        return self.extracted(self.model.classifier, self.test, self._file("test"))

    @property
    def width(self) -> int:
        """How many features go into the head."""
        model = self.model.classifier.model
        return model.get_parameter(f"{head_name(model)}.weight").shape[1]

    @cached_property
    def digest(self) -> str:
        """Hashes weights, test images, how they are shown, and what they are computed on."""
        return fingerprint(
            {
                "weights": model_digest(self.model.classifier),
                "architecture": self.model.classifier.architecture,
                "images": self.test.digest(),
                "preprocessing": repr(self.data.preprocessing),
                "mean": repr(self.model.classifier.preprocessing),
                "classes": [*self.model.classifier.classes, "on", *self.classes],
                "computed": self.study.computed_on,
            }
        )

    def extracted(
        self, classifier: Classifier, images: Images, file: Path | None = None
    ) -> Features:
        """Runs images through any state of the network once, or reads what was kept in a file."""

        def make() -> Features:
            served = with_images(self.data, test=images)
            served.batch_size = self.study.chunk
            batches = (served.on_after_batch_transfer(b, 0) for b in served.test_dataloader())
            return extract(classifier, batches, self.study.device)

        return cached(file, make)

    def copied(self, seed: int) -> Classifier:
        """A copy of the classifier with a head for the data: its own, else a fresh one."""
        classifier = duplicate(self.model.classifier)
        if not self.own_head:
            torch.manual_seed(seed)
            replace_head(classifier.model, len(self.classes))
            classifier.classes = self.classes
        return classifier

    def notes(self) -> list[str]:
        """What was adapted so that model and data fit."""
        shown, native = self.data.preprocessing, self.data.native
        adapted = [self.matched.rstrip(".")] if self.matched else []
        if shown.channels != native.channels:
            adapted.append(CONVERSIONS[native.channels, shown.channels])
        if shown.resize is not None or shown.crop is not None:
            size = f"resized to {shown.resize}" if shown.resize else ""
            adapted.append(f"{size} cropped to {shown.crop}".strip() if shown.crop else size)
        if not self.own_head:
            own, source = self.model.classifier.classes, self.model.source
            others = f"{len(own)} source classes, other than these {len(self.classes)}"
            if own == self.classes and source is None:
                others = "equal numbers are no equal classes unless `--sources` says so"
            adapted.append(f"{others}: untouched reads them by what its answers mean (LEEP)")
        return adapted

    def _file(self, split: str) -> Path:
        return self.study.root / "mlruns" / "features" / f"{self.digest}-{split}.safetensors"


def make_pair(
    study: Study, model: Model, task: Task, fractions: Sequence[Fraction], seeds: Sequence[int]
) -> Pair:
    """Shows a data set to a model, restricted to the images that some cell needs.

    Args:
        study: where features are computed and kept.
        model: to be moved.
        task: to where; left as it is.
        fractions: of the labelled images.
        seeds: of the choice.

    Raises:
        UserError: a fraction that the data cannot give, or images that the model cannot answer.
    """
    data = task.data
    model, matched = _in_order(model, data.classes)
    test, every = data.images("test"), labelled(data)
    chosen = {
        (str(fraction), seed): fraction.choose(every.label, data.num_classes, seed)
        for fraction in fractions
        for seed in seeds
    }
    used = torch.cat(list(chosen.values())).unique()
    # From all that are labelled, so that no seed's choice depends on the other seeds.
    positions = {of: torch.searchsorted(used, rows) for of, rows in chosen.items()}
    pool = every.subset(used)
    # Subsets are images of their own, so that no two models share what is shown.
    test = test.subset(torch.arange(len(test)))
    shown = with_images(data, train=pool, val=pool.subset(torch.arange(0)), test=test)
    shown.adopt(_one_size(model, shown))
    image = shown.taken("test", _EXAMINED).image
    check_answers(model.classifier, image)
    if matched:  # a copy, which nobody has met
        examine(model.classifier, image)
    return Pair(model, task, shown, positions, study, matched)


def _in_order(model: Model, classes: tuple[str, ...]) -> tuple[Model, str]:
    """The model with its outputs in the data's order, where both name the same classes.

    Returns:
        A copy and what was done to it, or the model itself and nothing.
    """
    own = model.classifier.classes
    if own == classes or len(own) != len(classes) or not (are_names(own) and are_names(classes)):
        return model, ""
    try:
        found = match(own, classes, model.name, new_head=False)
    except UserError:  # they are others
        return model, ""
    copied = duplicate(model.classifier)
    match_classes(copied, classes)
    return replace(model, classifier=copied), found.note


def _one_size(model: Model, shown: ImageDataModule) -> Preprocessing:
    """What the model wants; images of many sizes are cropped to what it was trained on."""
    wanted = model.classifier.preprocessing
    shown.adopt(wanted)
    try:
        shown.images("train").check()
        shown.images("test").check()
    except UserError:
        seen = model.source and model.source.data.images("test").__getitems__([0]).image
        side = _SIDE if seen is None else min(seen.shape[2:])
        return replace(wanted, resize=side, crop=side)
    return wanted
