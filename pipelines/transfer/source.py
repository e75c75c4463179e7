"""What a model still knows of the data it came from."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from callbacks.statistics import paired_difference
from datamodules.fractions import Fraction, held_out
from lightning_modules import Classifier
from lightning_modules.duplication import duplicate
from lightning_modules.heads import head_name
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.study import Study
from pipelines.transfer.pair import Pair, make_pair
from pipelines.transfer.tasks import Model

_LABELLED, _TEST = 2000, 1000
"""Images of the source data that forgetting is measured with."""


@dataclass(frozen=True)
class Source:
    """The model on a part of its source data.

    Args:
        pair: model and source data.
    """

    pair: Pair

    @cached_property
    def before(self) -> tuple[Tensor, Tensor]:
        """Which test images the old head, and a probe, get right on the untouched backbone."""
        return self._right(self.pair.model.classifier)

    def forgotten(
        self, tuned: Classifier, remembering: Classifier | None = None
    ) -> dict[str, float]:
        """What fine-tuning lost on the source data: two numbers that answer two questions.

        Args:
            tuned: any state of the network after training.
            remembering: holds what has become of the old head, where it went on learning.

        Returns:
            `old_head`: accuracy lost when the old head is put back on the new backbone;
            `reprobed`: accuracy lost of a probe solved anew, that is lost from the features for
            good. Positive is forgotten; each with its paired interval and the accuracy itself.
        """
        after = self._right(with_head_of(tuned, remembering or self.pair.model.classifier))
        numbers: dict[str, float] = {}
        for name, old, new in zip(("old_head", "reprobed"), self.before, after, strict=True):
            numbers |= paired_difference(new, old).columns(name)
            numbers[f"{name}_acc"] = float(new.mean())
        return numbers

    def _right(self, classifier: Classifier) -> tuple[Tensor, Tensor]:
        pair = self.pair
        if classifier is pair.model.classifier:
            pool, test = pair.features, pair.test_features
        else:
            pool, test = (pair.extracted(classifier, images) for images in (pair.pool, pair.test))
        learn, select = held_out(pool.label, 0)
        chosen = (pool.feature[select], pool.label[select])
        probe = fit_linear_probe(pool.feature[learn], pool.label[learn], len(pair.classes), chosen)
        old, probed = (
            (logits.argmax(1) == test.label).double()
            for logits in (test.logits, probe(test.feature))
        )
        return old, probed


def make_source(study: Study, model: Model) -> Source | None:
    """The model on a part of its source data, where that is known."""
    if model.source is None:
        return None
    few = Fraction(str(max(_LABELLED, model.source.data.num_classes)))
    return Source(make_pair(study, model, model.source.with_test(_TEST, 0), [few], [0]))


def with_head_of(tuned: Classifier, original: Classifier) -> Classifier:
    """The tuned backbone under the original head; both are left as they are."""
    restored = duplicate(tuned)
    name = head_name(original.model)
    parent, _, own = name.rpartition(".")
    head = duplicate(original.model.get_submodule(name))
    setattr(restored.model.get_submodule(parent), own, head.to(next(tuned.parameters()).device))
    restored.classes = original.classes
    with torch.no_grad():
        return restored.eval()
