"""What a model still knows of the data it came from."""

import copy
from dataclasses import dataclass
from functools import cached_property

import torch

from callbacks.transfer import forgetting
from datamodules.fractions import held_out
from lightning_modules import Classifier
from lightning_modules.heads import head_name
from lightning_modules.linear_probe import fit_linear_probe
from pipelines.transfer.subject import Subject


@dataclass(frozen=True)
class Source:
    """The model on a part of its source data.

    Args:
        subject: model and source data.
    """

    subject: Subject

    @cached_property
    def before(self) -> tuple[float, float]:
        """Accuracy of the old head, and of a probe, on the untouched backbone."""
        return self._accuracies(self.subject.model.classifier)

    def forgotten(self, tuned: Classifier) -> dict[str, float]:
        """What fine-tuning lost on the source data: two numbers that answer two questions.

        Args:
            tuned: any state of the network after training.

        Returns:
            `old_head`: accuracy lost when the old head is put back on the new backbone;
            `reprobed`: accuracy lost of a probe solved anew, that is lost from the features for
            good. Positive is forgotten; with it the accuracies themselves.
        """
        restored = with_head_of(tuned, self.subject.model.classifier)
        old, probed = self._accuracies(restored)
        before_old, before_probed = self.before
        return {
            "old_head": forgetting([[before_old, 0.0], [old, 0.0]]).forgetting,
            "reprobed": forgetting([[before_probed, 0.0], [probed, 0.0]]).forgetting,
            "old_head_acc": old,
            "reprobed_acc": probed,
        }

    def _accuracies(self, classifier: Classifier) -> tuple[float, float]:
        subject = self.subject
        if classifier is subject.model.classifier:
            pool, test = subject.features, subject.test_features
        else:
            pool, test = (
                subject.extracted(classifier, images) for images in (subject.pool, subject.test)
            )
        learn, select = held_out(pool.label, 0)
        chosen = (pool.feature[select], pool.label[select])
        probe = fit_linear_probe(
            pool.feature[learn], pool.label[learn], len(subject.classes), chosen
        )
        right = [
            (logits.argmax(1) == test.label).double().mean()
            for logits in (test.logits, probe(test.feature))
        ]
        return float(right[0]), float(right[1])


def with_head_of(tuned: Classifier, original: Classifier) -> Classifier:
    """The tuned backbone under the original head; both are left as they are."""
    made = copy.deepcopy(tuned)
    name = head_name(original.model)
    parent, _, own = name.rpartition(".")
    head = copy.deepcopy(original.model.get_submodule(name))
    setattr(made.model.get_submodule(parent), own, head.to(next(tuned.parameters()).device))
    made.classes = original.classes
    with torch.no_grad():
        return made.eval()
