"""Which training a disturbance of images asks for: ordinary, consistent, or against an attack."""

from collections.abc import Mapping
from typing import Any

from callbacks.adversarial import PGD
from callbacks.adversarial.threat_models import THREAT_MODELS
from callbacks.adversarial.training import StillRight
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier, FineTuning, Perturb, Regularisation, Tuning
from lightning_modules.consistency import ConsistentFineTuning
from lightning_modules.modes import tuned_module
from lightning_modules.robust import RobustFineTuning, RobustRecipe
from pipelines.study.radius import fill_radius


def made_module(
    classifier: Classifier,
    tuning: Tuning,
    perturb: Perturb | None,
    robust: RobustRecipe,
    data: ImageDataModule,
    seed: int,
    flags: Mapping[str, Any],
    regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
) -> FineTuning:
    """Makes what trains: robustly where the training images are attacked.

    Consistently where the disturbance has a `consistency`, as AugMix has.

    Args:
        classifier: trained in place.
        tuning: the recipe.
        perturb: disturbs training images; an attack has a `norm` and an `epsilon`.
        robust: the recipe of robust training.
        data: whose usual radius an attack without `epsilon` gets.
        seed: of the starts of validation attacks.
        flags: of the Trainer.
        regularisation: what is added to the loss.

    Raises:
        UserError: robust training without an attack, data without a usual radius, or flags of the
            Trainer that a training which steps by itself would ignore.
    """
    if perturb is None or not hasattr(perturb, "epsilon"):
        if robust != RobustRecipe():
            raise UserError(
                "Expected `perturb` to be an attack for --robust options, but got "
                f"{type(perturb).__name__ if perturb is not None else 'none'}: give "
                "callbacks.AdversarialTraining, or --config pgd_at."
            )
        if perturb is not None and getattr(perturb, "consistency", 0):
            if regularisation.chosen:
                raise UserError(
                    f"Got `regulariser` {regularisation} with the consistency loss of `perturb`, "
                    "which has a step of its own: leave it out, or set "
                    "--perturb.init_args.consistency 0."
                )
            return ConsistentFineTuning(classifier, tuning, perturb)
        epochs = int(flags.get("max_epochs") or -1)
        return tuned_module(classifier, tuning, epochs, perturb, regularisation)
    fill_radius(perturb, data)
    ignored = flags.get("gradient_clip_val") or flags.get("accumulate_grad_batches", 1) > 1
    if hasattr(perturb, "replays") and ignored:
        raise UserError(
            "Got --trainer.gradient_clip_val or --trainer.accumulate_grad_batches with free "
            "training, which steps by itself: leave them out."
        )
    attack: Any = perturb
    threat = THREAT_MODELS[attack.norm](attack.epsilon)
    still_right = StillRight(threat, PGD(steps=robust.steps), seed)
    return RobustFineTuning(classifier, tuning, perturb, robust, still_right, regularisation)
