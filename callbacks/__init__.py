"""Probes: what is measured in the one pass over the test data.

A new probe is a line in `PROBES`; `assay list`, `--probes`, presets, tables, plots, metric keys and
the contract tests find it there by name.
"""

from collections.abc import Callable

from callbacks.adversarial import FGSM, PGD, AdversarialProbe, AdversarialTraining, attacked_by
from callbacks.budget import Budget
from callbacks.clean import Clean
from callbacks.damage import (
    ActivationFault,
    BitError,
    BitFlip,
    BitFlipAttack,
    DamageProbe,
    Noise,
    SignFlip,
    Zero,
    damaged_by,
)
from callbacks.interpretability import (
    DeepLift,
    ExplanationProbe,
    GradCAM,
    Gradient,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Occlusion,
    PermutationImportance,
    Rise,
    SmoothGrad,
    explained_by,
)
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.progress import EvaluationProgress
from callbacks.queries import Queries
from callbacks.randomness import Draw

PROBES: dict[str, Callable[[Budget], Probe]] = {
    "clean": Clean.within,
    "fgsm": attacked_by(FGSM),
    "fgsm_l2": attacked_by(FGSM, norm="l2"),
    "pgd": attacked_by(PGD),
    "pgd_l2": attacked_by(PGD, norm="l2"),
    "pgd_targeted": attacked_by(PGD, targeted="least_likely"),
    "zero": damaged_by(Zero),
    "noise": damaged_by(Noise),
    "sign_flip": damaged_by(SignFlip),
    "bit_flip": damaged_by(BitFlip),
    "bit_error": damaged_by(BitError),
    "bit_flip_by_bit": damaged_by(BitFlip, severities=(100,), by="bit"),
    "bit_flip_by_layer": damaged_by(BitFlip, severities=(10,), by="layer"),
    "bit_flip_attack": damaged_by(BitFlipAttack),
    "activation_fault": damaged_by(ActivationFault),
    "explain_gradient": explained_by(Gradient),
    "explain_integrated_gradients": explained_by(IntegratedGradients),
    "explain_smoothgrad": explained_by(SmoothGrad),
    "explain_grad_cam": explained_by(GradCAM),
    "explain_occlusion": explained_by(Occlusion),
    "explain_input_x_gradient": explained_by(InputXGradient),
    "explain_gradient_shap": explained_by(GradientShap),
    "explain_deeplift": explained_by(DeepLift),
    "explain_rise": explained_by(Rise),
    "explain_permutation": explained_by(PermutationImportance),
    "explain_kernel_shap": explained_by(KernelShap),
    "explain_lime": explained_by(Lime),
}

__all__ = [
    "FGSM",
    "PGD",
    "PROBES",
    "AdversarialProbe",
    "AdversarialTraining",
    "Budget",
    "Clean",
    "DamageProbe",
    "Draw",
    "EvaluationProgress",
    "ExplanationProbe",
    "Measurement",
    "Probe",
    "Queries",
    "Samples",
    "Setting",
]
