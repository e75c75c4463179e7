"""Transfer: what breaks a model that the attacker has is tried on the model under test."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from callbacks.adversarial.apgd import APGD
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.losses import LossName
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.digests import model_digest
from callbacks.leave_no_trace import leave_no_trace
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True, repr=False)
class Transfer:
    """APGD on a surrogate, whose result is tried on the model (Papernot et al. 2016, 1605.07277).

    The model under test is asked nothing but the judge's one question. On the surrogate every step
    is taken and the point of highest loss returned, not the first error: what deceives one model
    with confidence deceives another more often. What the surrogate cost stands in columns of its
    own.

    Args:
        surrogate: from images `(N, C, H, W)` in [0, 1] to logits in the order of the model's
            classes, with its own mean and std inside; on the command line `--surrogate MODEL`.
        steps: of each restart.
        restarts: repetitions from other random points.
        loss: "ce", "margin" or "dlr".
    """

    surrogate: nn.Module | None = None
    steps: int = 100
    restarts: int = 1
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        self._attack  # noqa: B018  # refuses them

    def __repr__(self) -> str:
        return f"Transfer(surrogate={self.digest[:16]}, {self._attack!r})"

    @property
    def about(self) -> About:
        """In all three norms, targeted or not."""
        columns = ("surrogate_forwards", "surrogate_backwards")
        forwards = 3 * self._attack.gradients + self._attack.about.forwards
        return About("transfer", "Transfer", climbs=False, forwards=forwards, columns=columns)

    @property
    def gradients(self) -> int:
        """None of the model under test."""
        return 0

    @cached_property
    def digest(self) -> str:
        """Of all that the surrogate computes with, so that rows of another one are not reused."""
        return "" if self.surrogate is None else model_digest(self.surrogate)

    @property
    def _attack(self) -> APGD:
        return APGD(self.steps, self.restarts, self.loss)

    def fitted(self, classes: int, deterministic: bool) -> tuple["Transfer", str]:
        """Itself, with what has to be said of the surrogate.

        Raises:
            UserError: there is none, or it lets no gradient through.
        """
        surrogate = self._given()
        Queries(surrogate).require_gradients()
        called = getattr(surrogate, "title", type(surrogate).__name__)
        return self, f"Transfer: {self._attack.about.title} on the surrogate {called!r}."

    def __call__(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: Draw,
        *,
        target: Tensor | None = None,
        objective: Objective = "verdict",
    ) -> AttackResult:
        """Attacks the surrogate in the ball round every image; see `Attack`."""
        surrogate = self._given().to(image.device)
        with leave_no_trace(surrogate, "The surrogate"):
            queries = Queries(surrogate, model.chunk, model.context)
            result = self._attack(
                queries, image, label, threat, draw, target=target, objective="loss"
            )
        spent = {
            "surrogate_forwards": result.steps + result.forwards,
            "surrogate_backwards": result.steps,
        }
        nothing = result.steps * 0
        return AttackResult(result.worst, result.worst, nothing, nothing, columns=spent)

    def _given(self) -> nn.Module:
        if self.surrogate is None:
            raise UserError(
                "The attack 'transfer' needs a model to be carried out on: say `--surrogate`, e.g. "
                "--attack transfer --surrogate torchvision:resnet18 (in Python, "
                "`Transfer(surrogate=network)`)."
            )
        return self.surrogate
