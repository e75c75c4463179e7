"""Gradient masking is looked for beside every attack, without being asked for."""

from collections.abc import Sequence

from callbacks.adversarial.masking.checks import LEAST_STEPS
from callbacks.adversarial.masking.probe import MaskingProbe
from callbacks.adversarial.minimum_norm.probe import MinimumNormProbe
from callbacks.adversarial.probe import AdversarialProbe
from callbacks.adversarial.threat_models import THREAT_MODELS
from callbacks.adversarial.universal.probe import UniversalProbe
from callbacks.budget import Budget
from callbacks.probe import Probe

_MOST_STEPS = 100
_Attack = AdversarialProbe | MinimumNormProbe | UniversalProbe


def masking_beside(probes: Sequence[Probe], budget: Budget) -> list[Probe]:
    """A `MaskingProbe` for every norm that some of the probes attack and none looks at yet.

    None for L0, which is no ball that gradients are followed in, nor for patches.

    Its steps are those of the attack with most of them, at most 100: a verdict should not be
    weaker than what it judges.

    Args:
        probes: of a run.
        budget: of its preset, for images, chunk and seed.
    """
    attacks: dict[str, list[_Attack]] = {}
    for probe in probes:
        if isinstance(probe, _Attack) and probe.norm in THREAT_MODELS:
            attacks.setdefault(probe.norm, []).append(probe)
    there = {probe.norm for probe in probes if isinstance(probe, MaskingProbe)}
    return [_beside(some, budget) for norm, some in attacks.items() if norm not in there]


def _beside(attacks: Sequence[_Attack], budget: Budget) -> MaskingProbe:
    """Of attacks of one norm; what has no radii of its own takes multiples of the usual one."""
    given = [epsilon for probe in attacks for epsilon in probe.epsilons or ()]
    usual = [factor for probe in attacks if probe.epsilons is None for factor in probe.curve]
    their = [getattr(probe.attack, "steps", 0) for probe in attacks]
    return MaskingProbe.within(
        budget,
        norm=attacks[0].norm,
        epsilons=None if usual else given,
        curve=usual,
        steps=min(max(budget.steps, LEAST_STEPS, *their), _MOST_STEPS),
    )
