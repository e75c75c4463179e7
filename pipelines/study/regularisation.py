"""What regularises a training, said before it begins."""

from lightning_modules import Classifier, Regularisation, Tuning
from lightning_modules.dropout import dropout_layers
from pipelines.study.study import Study


def tell_regularisation(
    study: Study, regularisation: Regularisation, tuning: Tuning, classifier: Classifier
) -> None:
    """Says what is added to the loss, and in how many layers dropout was set.

    Args:
        study: says it.
        regularisation: of the training.
        tuning: with its dropout.
        classifier: the model.
    """
    if tuning.dropout is not None:
        layers = len(dropout_layers(classifier.model))
        where = "1 layer" if layers == 1 else f"{layers} layers"
        study.say(f"dropout  {tuning.dropout:g} in {where}")
    if tuning.mode == "l2_sp":
        study.say("decay    0, because the springs of l2_sp take the place of weight decay")
    if regularisation.chosen:
        study.say(f"loss     + {regularisation}")
