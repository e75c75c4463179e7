"""The radius of an attack in training, where the user gave none."""

from typing import Any

from callbacks.adversarial.threat_models import THREAT_MODELS
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Perturb


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
