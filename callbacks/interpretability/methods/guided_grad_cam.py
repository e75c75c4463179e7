"""Guided backpropagation, kept where Grad-CAM looks."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from callbacks.interpretability.explainer import target_logit
from callbacks.interpretability.methods.functions import of_the_image, plain_name, watched_by
from callbacks.interpretability.methods.grad_cam import GradCAM
from callbacks.interpretability.methods.gradient import Channels, one_channel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_RECTIFIERS = {"relu", "relu6"}


@dataclass(frozen=True)
class GuidedGradCAM:
    """Guided backpropagation times the enlarged Grad-CAM (Selvaraju et al. 2017, 1610.02391).

    Guided backpropagation stops the negative part of the gradient at every rectifier (1412.6806,
    2014); it tells edges, and hardly which class (1810.03292, 2018). Captum's hooks do not see
    rectifiers that are functions; where they see all of them, its values are these.

    Args:
        layer: of Grad-CAM; None takes the last one whose places matter.
        channels: see `Gradient`.
    """

    layer: str | None = None
    channels: Channels = "max"
    forwards: int = field(default=2, init=False, repr=False)
    backwards: int = field(default=2, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`.

        Raises:
            UserError: the network has no rectifier.
        """
        guided = one_channel(guided_gradient(model, image, target), self.channels)
        return guided * GradCAM(self.layer)(model, image, target, draw)


def guided_gradient(model: Queries, image: Tensor, target: Tensor) -> Tensor:
    """Gradient of the target's logit whose negative part no rectifier lets through.

    Args:
        model: asked for N gradients.
        image: `(N, C, H, W)`.
        target: `(N,)`.

    Returns:
        `(N, C, H, W)`.

    Raises:
        UserError: the network has no rectifier, and this would be its ordinary gradient.
    """
    guide = _Guide()
    with watched_by(guide, model):
        _, _, gradient = model.gradient(image, target_logit, target)
    if not guide.rectifiers:
        raise UserError(
            "Guided backpropagation changes what rectifiers pass on, and this model calls neither "
            "relu nor relu6: explain it by grad_cam or gradient."
        )
    return gradient


class _Guide(TorchFunctionMode):
    """Lets positive gradients alone through rectifiers, in place or not, modules or functions."""

    def __init__(self) -> None:
        super().__init__()
        self.rectifiers = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Answers as the network does."""
        answer = func(*args, **(kwargs or {}))
        if plain_name(func) in _RECTIFIERS and of_the_image(answer):
            self.rectifiers += 1
            answer.register_hook(lambda gradient: gradient.clamp(min=0))
        return answer
