"""One pattern for every image: learnt on some images, tried on others."""

from callbacks.adversarial.universal.learning import Learnt, UniversalAttack
from callbacks.adversarial.universal.patch import Patch
from callbacks.adversarial.universal.perturbation import Universal
from callbacks.adversarial.universal.placement import Placement, pasted
from callbacks.adversarial.universal.probe import UniversalProbe

__all__ = [
    "Learnt",
    "Patch",
    "Placement",
    "Universal",
    "UniversalAttack",
    "UniversalProbe",
    "pasted",
]
