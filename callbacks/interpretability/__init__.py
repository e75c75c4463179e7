"""Explanations, and how far each can be believed."""

from callbacks.interpretability.activation_maximisation import ActivationMaximisation, Visualised
from callbacks.interpretability.captum_method import CaptumMethod
from callbacks.interpretability.completeness import Completeness
from callbacks.interpretability.complexity import Complexity
from callbacks.interpretability.controls import EdgeFilter, Inverse, RandomMap
from callbacks.interpretability.deeplift import DeepLift
from callbacks.interpretability.deletion import Deletion, Insertion
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.faithfulness_correlation import (
    FaithfulnessCorrelation,
    SingleDeletion,
)
from callbacks.interpretability.grad_cam import GradCAM
from callbacks.interpretability.gradient import Gradient, InputXGradient
from callbacks.interpretability.gradient_shap import GradientShap
from callbacks.interpretability.infidelity import Infidelity
from callbacks.interpretability.integrated_gradients import IntegratedGradients
from callbacks.interpretability.kernel_shap import KernelShap
from callbacks.interpretability.lime import Lime
from callbacks.interpretability.local_linear import LocalLinearity
from callbacks.interpretability.max_sensitivity import MaxSensitivity
from callbacks.interpretability.metric import Metric
from callbacks.interpretability.occlusion import Occlusion
from callbacks.interpretability.parameter_randomisation import ParameterRandomisation
from callbacks.interpretability.permutation_importance import PermutationImportance
from callbacks.interpretability.probe import ExplanationProbe, explained_by
from callbacks.interpretability.registry import CONTROLS, EXPLAINERS, METRICS, metric
from callbacks.interpretability.rise import Rise
from callbacks.interpretability.smoothgrad import SmoothGrad
from callbacks.interpretability.sparseness import Sparseness
from callbacks.interpretability.symmetric_relevance_gain import SymmetricRelevanceGain
from callbacks.interpretability.top_images import TopImages

__all__ = [
    "CONTROLS",
    "EXPLAINERS",
    "METRICS",
    "ActivationMaximisation",
    "CaptumMethod",
    "Completeness",
    "Complexity",
    "DeepLift",
    "Deletion",
    "EdgeFilter",
    "Explainer",
    "ExplanationProbe",
    "FaithfulnessCorrelation",
    "GradCAM",
    "Gradient",
    "GradientShap",
    "Infidelity",
    "InputXGradient",
    "Insertion",
    "IntegratedGradients",
    "Inverse",
    "KernelShap",
    "Lime",
    "LocalLinearity",
    "MaxSensitivity",
    "Metric",
    "Occlusion",
    "ParameterRandomisation",
    "PermutationImportance",
    "RandomMap",
    "Rise",
    "SingleDeletion",
    "SmoothGrad",
    "Sparseness",
    "SymmetricRelevanceGain",
    "TopImages",
    "Visualised",
    "explained_by",
    "metric",
]
