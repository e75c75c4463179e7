"""The regularisers R(f) of a training step, by the name of their weight.

A new one is a file, a line here, and a field of `Regularisation`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_modules.regularisers.input_gradient import input_gradient_penalty
from lightning_modules.regularisers.logit_pairing import clean_logit_pairing, logit_pairing
from lightning_modules.regularisers.noise_consistency import noise_consistency
from lightning_modules.regularisers.step import Step


def paired_with_disturbed(step: Step) -> Tensor:
    """Adversarial logit pairing (1803.06373): the same logits for an image and its disturbed form.

    It needs `perturb`, an attack as published. The step's own loss is that of the disturbed images.
    """
    return logit_pairing(step.logits(step.disturbed), step.logits(step.image))


def paired_with_others(step: Step) -> Tensor:
    """Clean logit pairing (1803.06373): similar logits for any two images of the step."""
    return clean_logit_pairing(step.logits(step.disturbed))


def input_gradient(step: Step) -> Tensor:
    """Input-gradient penalty (1711.09404): the squared gradient of the loss by the clean image."""
    return input_gradient_penalty(step.ask, step.image, step.label)


def consistent_under_noise(step: Step) -> Tensor:
    """Noise consistency (1604.04326): KL of the answers to an image and to a noisy copy of it."""
    noisy = (step.image + step.noise * torch.randn_like(step.image)).clamp(0, 1)
    return noise_consistency(step.logits(noisy), step.logits(step.image))


REGULARISERS: dict[str, Callable[[Step], Tensor]] = {
    "logit_pairing": paired_with_disturbed,
    "clean_logit_pairing": paired_with_others,
    "input_gradient": input_gradient,
    "noise_consistency": consistent_under_noise,
}
