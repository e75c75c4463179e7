"""Which training a disturbance of images asks for: an ordinary one, or one against an attack."""

from typing import Any

from callbacks.adversarial import PGD
from callbacks.adversarial.threat_models import THREAT_MODELS
from callbacks.adversarial.training import StillRight
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier, FineTuning, Perturb, Tuning
from lightning_modules.robust import RobustFineTuning, RobustRecipe


def made_module(
    classifier: Classifier,
    tuning: Tuning,
    perturb: Perturb | None,
    robust: RobustRecipe,
    data: ImageDataModule,
    seed: int,
) -> FineTuning:
    """Makes what trains: robustly where the training images are attacked.

    Args:
        classifier: trained in place.
        tuning: the recipe.
        perturb: disturbs training images; an attack has a `norm` and an `epsilon`.
        robust: the recipe of robust training.
        data: whose usual radius an attack without `epsilon` gets.
        seed: of the starts of validation attacks.

    Raises:
        UserError: robust training without an attack, or data without a usual radius.
    """
    if perturb is None or not hasattr(perturb, "epsilon"):
        if robust != RobustRecipe():
            raise UserError(
                "Expected `perturb` to be an attack for --robust options, but got "
                f"{type(perturb).__name__ if perturb is not None else 'none'}: give "
                "callbacks.AdversarialTraining, or --config pgd_at."
            )
        return FineTuning(classifier, tuning, perturb)
    fill_radius(perturb, data)
    attack: Any = perturb
    threat = THREAT_MODELS[attack.norm](attack.epsilon)
    still_right = StillRight(threat, PGD(steps=robust.steps), seed)
    return RobustFineTuning(classifier, tuning, perturb, robust, still_right)


def fill_radius(perturb: Perturb | None, data: ImageDataModule) -> None:
    """Gives an attack without a radius the data set's usual one, in place.

    Raises:
        UserError: there is none.
    """
    if perturb is None or getattr(perturb, "epsilon", 0) is not None:
        return
    attack: Any = perturb
    usual = data.epsilon.get(THREAT_MODELS[attack.norm].__name__)
    if usual is None:
        raise UserError(
            f"Expected `perturb.init_args.epsilon`, because {data.title} has no usual radius in "
            f"{attack.norm}."
        )
    attack.epsilon = usual
    data.note(f"Training images are attacked at the usual radius of {data.name}, {usual:.4g}.")
