"""Explanations, and how far each can be believed."""

from callbacks.family import Entries, Family, each
from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.methods.captum_method import CaptumMethod
from callbacks.interpretability.methods.controls import EdgeFilter, Inverse, RandomMap
from callbacks.interpretability.methods.deeplift import DeepLift
from callbacks.interpretability.methods.grad_cam import GradCAM
from callbacks.interpretability.methods.gradient import Gradient, InputXGradient
from callbacks.interpretability.methods.gradient_shap import GradientShap
from callbacks.interpretability.methods.guided_grad_cam import GuidedGradCAM
from callbacks.interpretability.methods.integrated_gradients import IntegratedGradients
from callbacks.interpretability.methods.kernel_shap import KernelShap
from callbacks.interpretability.methods.lime import Lime
from callbacks.interpretability.methods.lrp import Lrp
from callbacks.interpretability.methods.occlusion import Occlusion
from callbacks.interpretability.methods.permutation_importance import PermutationImportance
from callbacks.interpretability.methods.rise import Rise
from callbacks.interpretability.methods.score_cam import ScoreCAM
from callbacks.interpretability.methods.smoothgrad import SmoothGrad
from callbacks.interpretability.methods.xrai import Xrai
from callbacks.interpretability.metric import Metric
from callbacks.interpretability.metrics.completeness import Completeness
from callbacks.interpretability.metrics.complexity import Complexity
from callbacks.interpretability.metrics.deletion import Deletion, Insertion
from callbacks.interpretability.metrics.faithfulness_correlation import (
    FaithfulnessCorrelation,
    SingleDeletion,
)
from callbacks.interpretability.metrics.infidelity import Infidelity
from callbacks.interpretability.metrics.max_sensitivity import MaxSensitivity
from callbacks.interpretability.metrics.parameter_randomisation import ParameterRandomisation
from callbacks.interpretability.metrics.sparseness import Sparseness
from callbacks.interpretability.metrics.symmetric_relevance_gain import SymmetricRelevanceGain
from callbacks.interpretability.probe import ExplanationProbe
from callbacks.interpretability.registry import CONTROLS, EXPLAINERS, METRICS, metric
from callbacks.interpretability.summary import summarise
from callbacks.interpretability.surrogates.local_linear import LocalLinearity
from callbacks.interpretability.visualisation.activation_maximisation import (
    ActivationMaximisation,
    Visualised,
)
from callbacks.interpretability.visualisation.top_images import TopImages

PROBES: Entries = each(EXPLAINERS, ExplanationProbe, "explainer", prefix="explain_")

FAMILY = Family(
    name="interpretability",
    title="Explained",
    text=(
        "Each image's predicted class is explained, and the map is judged beside a random map, an "
        "edge filter and its own inverse."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Relevance gain": (
            "Symmetric relevance gain (srg): how much later the score falls when the least "
            "influential pixels are removed first than when the most influential are. 0 is a "
            "random map."
        ),
        "Sparseness": "Gini index of the map: 0 is even, 1 is a single pixel.",
        "Max sensitivity": "The largest relative change of the map in a small ball; 0 is stable.",
    },
    headings={"srg": "relevance gain"},
)

__all__ = [
    "CONTROLS",
    "EXPLAINERS",
    "FAMILY",
    "METRICS",
    "PROBES",
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
    "GuidedGradCAM",
    "Infidelity",
    "InputXGradient",
    "Insertion",
    "IntegratedGradients",
    "Inverse",
    "KernelShap",
    "Lime",
    "LocalLinearity",
    "Lrp",
    "MaxSensitivity",
    "Metric",
    "Occlusion",
    "ParameterRandomisation",
    "PermutationImportance",
    "RandomMap",
    "Rise",
    "ScoreCAM",
    "SingleDeletion",
    "SmoothGrad",
    "Sparseness",
    "SymmetricRelevanceGain",
    "TopImages",
    "Visualised",
    "Xrai",
    "metric",
]
