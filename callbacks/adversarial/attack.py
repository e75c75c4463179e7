"""What every attack is: data in the call, hyper-parameters in the constructor."""

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from callbacks.adversarial.threat_models import ThreatModel

if TYPE_CHECKING:
    from callbacks.queries import Queries
    from callbacks.randomness import Draw

Objective = Literal["verdict", "loss"]
"""Stop at the first adversarial iterate, or spend every step on the highest loss."""


class AttackResult(NamedTuple):
    """What an attack found; whoever called it projects and asks the model again.

    Args:
        image: `(N, C, H, W)`, the first adversarial iterate, else the one of highest loss.
        worst: `(N, C, H, W)`, the iterate of highest loss; `image` itself for objective "verdict".
        steps: `(N,)` int64 gradient evaluations spent on each image: a forward and a backward each.
        forwards: `(N,)` int64 further forwards, without a gradient.
    """

    image: Tensor
    worst: Tensor
    steps: Tensor
    forwards: Tensor


@runtime_checkable
class Attack(Protocol):
    """A search for the point of a threat model where the classifier does worst."""

    @property
    def gradients(self) -> int:
        """Gradient evaluations an image costs at most."""
        ...

    def __call__(
        self,
        model: "Queries",
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: "Draw",
        *,
        target: Tensor | None = None,
        objective: Objective = "verdict",
    ) -> AttackResult:
        """Attacks `(N, C, H, W)` images.

        Args:
            model: the classifier, whose calls are counted.
            image: `(N, C, H, W)` in [0, 1].
            label: `(N,)` true classes.
            threat: what an attacker may do to an image.
            draw: the samples' own random numbers.
            target: `(N,)` classes to be predicted instead; None: anything but the label.
            objective: "verdict" stops an image as soon as it is adversarial.
        """
        ...
