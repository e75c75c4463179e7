"""Regularisers: the R(f) of loss + lambda R(f), one file a concept."""

from lightning_modules.regularisers.adversarial_weights import AdversarialWeights, worst_offsets
from lightning_modules.regularisers.input_gradient import input_gradient_penalty
from lightning_modules.regularisers.logit_pairing import clean_logit_pairing, logit_pairing
from lightning_modules.regularisers.noise_consistency import noise_consistency
from lightning_modules.regularisers.regularisation import Regularisation
from lightning_modules.regularisers.step import Step
from lightning_modules.regularisers.terms import REGULARISERS

__all__ = [
    "REGULARISERS",
    "AdversarialWeights",
    "Regularisation",
    "Step",
    "clean_logit_pairing",
    "input_gradient_penalty",
    "logit_pairing",
    "noise_consistency",
    "worst_offsets",
]
