"""The least change that errs: attacks that look for the nearest adversarial point, in no ball.

A new attack is a file and a line in `MINIMUM_NORM` (`callbacks/adversarial/__init__.py`).
"""

from callbacks.adversarial.minimum_norm.carlini_wagner import CarliniWagner
from callbacks.adversarial.minimum_norm.ddn import DDN
from callbacks.adversarial.minimum_norm.deepfool import DeepFool
from callbacks.adversarial.minimum_norm.fmn import FMN
from callbacks.adversarial.minimum_norm.nearest import Distance, MinimumNormAttack, NearestResult
from callbacks.adversarial.minimum_norm.probe import MinimumNormProbe

__all__ = [
    "DDN",
    "FMN",
    "CarliniWagner",
    "DeepFool",
    "Distance",
    "MinimumNormAttack",
    "MinimumNormProbe",
    "NearestResult",
]
