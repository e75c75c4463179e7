"""Explainers and metrics by name; a new one is a line here."""

from dataclasses import fields
from typing import Any

from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.methods.controls import EdgeFilter, RandomMap
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
from callbacks.interpretability.surrogates.local_linear import LocalLinearity
from datamodules.errors import UserError, suggestion

EXPLAINERS: dict[str, type] = {
    "gradient": Gradient,
    "input_x_gradient": InputXGradient,
    "integrated_gradients": IntegratedGradients,
    "smoothgrad": SmoothGrad,
    "gradient_shap": GradientShap,
    "deeplift": DeepLift,
    "lrp": Lrp,
    "grad_cam": GradCAM,
    "guided_grad_cam": GuidedGradCAM,
    "score_cam": ScoreCAM,
    "xrai": Xrai,
    "occlusion": Occlusion,
    "rise": Rise,
    "permutation": PermutationImportance,
    "kernel_shap": KernelShap,
    "lime": Lime,
}

METRICS: dict[str, type] = {
    "deletion": Deletion,
    "insertion": Insertion,
    "srg": SymmetricRelevanceGain,
    "infidelity": Infidelity,
    "faithfulness_correlation": FaithfulnessCorrelation,
    "single_deletion": SingleDeletion,
    "max_sensitivity": MaxSensitivity,
    "parameter_randomisation": ParameterRandomisation,
    "completeness": Completeness,
    "sparseness": Sparseness,
    "complexity": Complexity,
    "local_linearity": LocalLinearity,
}

CONTROLS: dict[str, Explainer] = {"random": RandomMap(), "edges": EdgeFilter()}


def named_explainer(name: str, **options: Any) -> Explainer:
    """Makes an explainer by name.

    Raises:
        UserError: there is no such explainer, or it has no such option.
    """
    if name not in EXPLAINERS:
        raise UserError(f"There is no explainer {name!r}.{suggestion(name, EXPLAINERS)}")
    known = [field.name for field in fields(EXPLAINERS[name]) if field.init]
    for option in options:
        if option not in known:
            raise UserError(f"{name} has no option {option!r}.{suggestion(option, known)}")
    return EXPLAINERS[name](**options)


def metric(name: str, explainer: Explainer, **options: Any) -> Metric:
    """Makes a metric by name; one that explains again is given the explainer.

    One that compares with a baseline takes the explainer's own baseline or fill, if it has one and
    the options name none.

    Raises:
        UserError: there is no such metric.
    """
    if name not in METRICS:
        raise UserError(f"There is no explanation metric {name!r}.{suggestion(name, METRICS)}")
    kind = METRICS[name]
    known = {field.name for field in fields(kind)}
    own = getattr(explainer, "baseline", getattr(explainer, "fill", None))
    if "baseline" in known and own is not None:
        options = {"baseline": own, **options}
    return kind(explainer, **options) if "explainer" in known else kind(**options)
