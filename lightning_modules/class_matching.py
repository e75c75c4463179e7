"""Makes a classifier's outputs the classes of the data."""

from collections.abc import Sequence
from dataclasses import replace

from datamodules.tasks import label_table
from lightning_modules.class_names import match
from lightning_modules.classifier import Classifier
from lightning_modules.heads import reorder_head, replace_head


def match_classes(classifier: Classifier, classes: Sequence[str], new_head: bool = False) -> None:
    """Makes the classifier's outputs those of the data's classes, by name; see `class_names`.

    The head's weights are put into the data's order, so that nothing else has to know of it; where
    there is no such layer the classifier's `answers` do it.

    A model with several heads keeps them: its tasks know the data's classes by name.

    Args:
        classifier: changed in place; what was done is noted.
        classes: of the data, in the order of its labels.
        new_head: replace the last layer when the classes are not the data's.

    Raises:
        UserError: the classes differ and no new head was asked for.
    """
    if classifier.tasks and not new_head:
        label_table(classifier.tasks, classes)  # refuses data that have nothing to do with a task
        return
    own, classifier.tasks = classifier.classes, ()
    matched = match(own, classes, classifier.title, new_head)
    if matched.order is None:
        give_head(classifier, matched.names)
    elif matched.order != tuple(range(len(own))):
        _reorder(classifier, matched.order)
    classifier.classes = matched.names
    if matched.note:  # matched once more, nothing is left to be done
        classifier.note(matched.note, "classes")


def give_head(classifier: Classifier, classes: Sequence[str]) -> None:
    """Gives a classifier a freshly drawn head for these classes.

    Raises:
        UserError: it has no layer whose output is the logits.
    """
    replace_head(classifier.model, len(classes))
    classifier.answers = replace(classifier.answers, order=())
    classifier.classes = tuple(classes)
    classifier.facts["fresh"] = True
    classifier.facts.pop("outputs", None)


def _reorder(classifier: Classifier, order: tuple[int, ...]) -> None:
    own = classifier.facts.get("outputs", range(classifier.num_classes))
    classifier.facts["outputs"] = [own[i] for i in order]  # of the network as it came
    before = classifier.answers.order
    if not before and reorder_head(classifier.model, order):
        return
    composed = tuple(before[i] for i in order) if before else order
    classifier.answers = replace(classifier.answers, order=composed)
