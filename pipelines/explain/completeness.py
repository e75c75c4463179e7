"""Whether maps add up to what they are to explain."""

from torch import Tensor

from callbacks.interpretability import Completeness
from callbacks.interpretability.explainer import Explainer, target_logit
from callbacks.interpretability.regions.fill import FillName
from callbacks.queries import Queries
from callbacks.randomness import Draw

OF_THE_LOGIT = ("lrp",)
"""Methods whose map is to add up to the logit itself, less what biases take."""
COMPLETE = ("integrated_gradients", "deeplift", "kernel_shap", *OF_THE_LOGIT)
"""Methods whose map is to add up to what the image changes of the logit, or to the logit."""


def gap(
    name: str, explainer: Explainer, model: Queries, image: Tensor, target: Tensor,
    saliency: Tensor, draw: Draw,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What maps `(N, 1, H, W)` of a complete method lack of what they are to add up to.

    Args:
        name: of the method, one of `COMPLETE`.
        explainer: whose own baseline counts.
        model: asked for both ends.
        image: `(N, C, H, W)`.
        target: `(N,)`.
        saliency: the maps.
        draw: of the samples.

    Returns:
        What is missing `(N,)`, and what they are to add up to `(N,)`, in logits.
    """
    if name in OF_THE_LOGIT:
        whole = target_logit(model(image), target)
    else:
        own: FillName = getattr(explainer, "baseline", getattr(explainer, "fill", "black"))
        whole = Completeness(own).gain(model, image, target, draw)
    return whole - saliency.flatten(1).sum(1), whole
