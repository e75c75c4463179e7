"""Gradient masking: does a model stand up to attacks, or do they only not see where to go?"""

from callbacks.adversarial.masking.beside import masking_beside
from callbacks.adversarial.masking.probe import MaskingProbe
from callbacks.adversarial.masking.telling import Beside, is_masking, passes
from callbacks.adversarial.masking.verdict import Reason, masking_verdict

__all__ = [
    "Beside",
    "MaskingProbe",
    "Reason",
    "is_masking",
    "masking_beside",
    "masking_verdict",
    "passes",
]
