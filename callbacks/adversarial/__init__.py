"""Adversarial input: attacks that search a ball round each image, and the probe that judges."""

from collections.abc import Callable

from callbacks.adversarial.attack import Attack, AttackResult
from callbacks.adversarial.fgsm import FGSM
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.probe import AdversarialProbe, Norm, Target
from callbacks.adversarial.threat_models import L2, Linf
from callbacks.adversarial.training import AdversarialTraining
from callbacks.budget import Budget

ATTACKS: dict[str, type] = {"fgsm": FGSM, "pgd": PGD}

__all__ = [
    "ATTACKS",
    "FGSM",
    "L2",
    "PGD",
    "AdversarialProbe",
    "AdversarialTraining",
    "Attack",
    "AttackResult",
    "Linf",
    "attacked_by",
]


def attacked_by(
    attack: type, norm: Norm = "linf", targeted: Target | None = None
) -> Callable[[Budget], AdversarialProbe]:
    """Returns what makes a probe of an attack within a budget.

    Args:
        attack: FGSM, or one that takes `steps` and `restarts`.
        norm: of the ball.
        targeted: towards which class, if any.
    """

    def within(budget: Budget) -> AdversarialProbe:
        iterative = attack is not FGSM
        made = attack(steps=budget.steps, restarts=budget.restarts) if iterative else attack()
        return AdversarialProbe(
            made,
            norm,
            curve=budget.curve,
            targeted=targeted,
            objective=budget.objective,
            limit=budget.limit,
            chunk=budget.chunk,
            seed=budget.seed,
        )

    return within
