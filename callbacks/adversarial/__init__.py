"""Adversarial input: attacks that search a ball round each image, and the probe that judges.

A new attack is a file and a line in `PROBES`.
"""

from callbacks.adversarial.attack import Attack, AttackResult
from callbacks.adversarial.attack_set import AttackSet, attack_sets
from callbacks.adversarial.certified import (
    CertifiedProbe,
    Crown,
    IntervalBounds,
    Smoothing,
    SmoothingProbe,
)
from callbacks.adversarial.fgsm import FGSM
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.probe import AdversarialProbe, Norm, Target
from callbacks.adversarial.summary import summarise
from callbacks.adversarial.threat_models import L2, Linf
from callbacks.adversarial.training import AdversarialTraining
from callbacks.family import Entries, Entry, Family

PROBES: Entries = {
    "fgsm": Entry(AdversarialProbe, attack=FGSM),
    "fgsm_l2": Entry(AdversarialProbe, attack=FGSM, norm="l2"),
    "pgd": Entry(AdversarialProbe, attack=PGD),
    "pgd_l2": Entry(AdversarialProbe, attack=PGD, norm="l2"),
    "pgd_targeted": Entry(AdversarialProbe, attack=PGD, targeted="least_likely"),
    "interval_bounds": Entry(CertifiedProbe, certificate=IntervalBounds),
    "crown": Entry(CertifiedProbe, certificate=Crown),
    "crown_l2": Entry(CertifiedProbe, certificate=Crown, norm="l2"),
    "smoothing": Entry(SmoothingProbe),
}

FAMILY = Family(
    name="adversarial",
    title="Under attack",
    text=(
        "Every image is changed within a ball of the given radius so that the model errs. Each "
        "curve is an upper bound: a stronger attack can only lower it."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Robust accuracy": (
            "Counts an image only if the model gets it right and no attack of the set changed the "
            "answer at that radius or a smaller one. A weaker attack gives a higher number."
        ),
        "Certified accuracy": (
            "Counts an image only if no image in the ball can be answered otherwise, by bounds of "
            "the network itself: what is true lies between it and robust accuracy under attack."
        ),
        "Worst loss": (
            "The largest cross-entropy (nats) an attack found in the ball, averaged over images. "
            "Attacks that stop at the first error do not measure it."
        ),
    },
    presets={
        "quick": ("fgsm", "pgd"),
        "regular": ("fgsm", "pgd", "fgsm_l2", "pgd_l2"),
        "full": ("fgsm", "pgd", "pgd_targeted", "fgsm_l2", "pgd_l2"),
    },
)

__all__ = [
    "FAMILY",
    "FGSM",
    "L2",
    "PGD",
    "PROBES",
    "AdversarialProbe",
    "AdversarialTraining",
    "Attack",
    "AttackResult",
    "AttackSet",
    "CertifiedProbe",
    "Crown",
    "IntervalBounds",
    "Linf",
    "Norm",
    "Smoothing",
    "SmoothingProbe",
    "Target",
    "attack_sets",
]
