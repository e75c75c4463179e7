"""What every attack is: data in the call, hyper-parameters in the constructor."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from callbacks.adversarial.threat_models import ThreatModel
from datamodules.errors import UserError

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
        backwards: `(N,)` int64 further backwards, through a forward that is counted already.
        columns: further `(N,)` columns, as `About.columns` names them.
    """

    image: Tensor
    worst: Tensor
    steps: Tensor
    forwards: Tensor
    backwards: Tensor | None = None
    columns: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class About:
    """What an attack says of itself, in its property `about`; see the function of that name.

    Args:
        name: in metric keys, e.g. `apgd_ce`.
        title: in tables and plots, e.g. `APGD-CE`.
        norms: of the balls that it searches.
        targeted: whether it can look for one class.
        climbs: whether it looks for the highest loss; presets ask others for the verdict only.
        forwards: that an image costs at most, besides those of gradients.
        columns: of its own, for the rows.
    """

    name: str
    title: str
    norms: tuple[str, ...] = ("linf", "l2", "l1")
    targeted: bool = True
    climbs: bool = True
    forwards: int = 1
    columns: tuple[str, ...] = ()

    def norm(self, given: str | None) -> str:
        """The norm of the ball: the given one, or the first that the attack searches.

        Raises:
            UserError: it does not search balls of that norm.
        """
        if given is not None and given not in self.norms:
            raise UserError(
                f"Expected `norm` to be one of {', '.join(self.norms)} for {self.title}, but got "
                f"{given!r}."
            )
        return self.norms[0] if given is None else given


def about(attack: "Attack") -> About:
    """What an attack says of itself, or what its class is called."""
    said: About | None = getattr(attack, "about", None)
    return said or About(type(attack).__name__.lower(), type(attack).__name__)


@runtime_checkable
class Attack(Protocol):
    """A search for the point of a threat model where the classifier does worst.

    It may have more, which is looked for by name: `about`, see `About`; `fitted(classes,
    deterministic)`, itself as it suits a model and what has to be said of that;
    `certificate(norm)`, what it spends; `keeps_budget`, where presets must not change that.
    """

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
