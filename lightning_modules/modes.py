"""What learns in each mode of a fine-tuning: the module that trains so."""

from dataclasses import replace

from datamodules.errors import UserError
from lightning_modules.blocks import blocks
from lightning_modules.classifier import Classifier
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.l2_sp import L2SPTuning
from lightning_modules.perturb import Perturb
from lightning_modules.probe_tuning import ProbeTuning
from lightning_modules.regularisers import Regularisation
from lightning_modules.staged import StagedTuning, Unfreezing, unfrozen_by
from lightning_modules.tuning import Tuning
from lightning_modules.update_tuning import UpdateTuning


def tuned_module(
    classifier: Classifier,
    tuning: Tuning,
    epochs: int,
    perturb: Perturb | None = None,
    regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
) -> FineTuning:
    """Makes the module of `tuning.mode`.

    Args:
        classifier: trained in place; for `lp_ft` its head is that of a linear probe already.
        tuning: the recipe.
        epochs: of the training, which `staged` divides into stages.
        perturb: see `FineTuning`.
        regularisation: see `FineTuning`.

    Raises:
        UserError: the network has too few blocks, or nobody knows how long is trained.
    """
    rest = (perturb, regularisation)
    if tuning.mode == "linear_probe":
        return ProbeTuning(classifier, tuning, *rest)
    if tuning.mode in UpdateTuning.modes:
        return UpdateTuning(classifier, tuning, *rest)
    if tuning.mode == "l2_sp":
        free = replace(tuning, weight_decay=0.0)  # it pulls to zero, away from where they started
        alpha = 0.1 if tuning.alpha is None else tuning.alpha
        return L2SPTuning(classifier, free, alpha, 0.01, *rest)
    if tuning.mode == "staged":
        if epochs < 1:
            raise UserError("Expected --trainer.max_epochs for tuning.mode staged, but got none.")
        return StagedTuning(classifier, tuning, unfrozen_by(classifier.model, epochs), *rest)
    if tuning.mode == "last_k":
        last_k = 1 if tuning.last_k is None else tuning.last_k
        names = blocks(classifier.model)
        if last_k >= len(names):
            raise UserError(
                f"Expected `last_k` below {len(names)}, the blocks of the network "
                f"({', '.join(names)}), but got {last_k}: that is mode full."
            )
        return StagedTuning(classifier, tuning, Unfreezing(last_k + 1, 0), *rest)
    return FineTuning(classifier, tuning, *rest)
