"""What is added to a training's loss, in flat values: loss + lambda R(f)."""

from dataclasses import asdict, dataclass

from datamodules.errors import UserError
from lightning_modules.regularisers.terms import REGULARISERS


@dataclass(frozen=True)
class Regularisation:
    """The weight of each regulariser; several add up. 0 leaves one out.

    Label smoothing, weight decay and dropout are `tuning`'s; TRADES and MART, which have a loss of
    their own, are `robust.loss`.

    Args:
        logit_pairing: weight of adversarial logit pairing (Kannan et al. 2018); needs `perturb`;
            0.5 is usual.
        clean_logit_pairing: weight of clean logit pairing (Kannan et al. 2018); 0.5 is usual.
        input_gradient: weight of the input-gradient penalty (Ross & Doshi-Velez 2018); costs a
            second backward pass.
        noise_consistency: weight of the divergence of noisy answers (Zheng et al. 2016).
        noise: standard deviation of that noise in pixel units; None takes 0.1.
        awp: gamma, the relative length of adversarial weight perturbation (Wu et al. 2020): .01 is
            published for adversarial training, .005 for trades; costs one more pass.
        awp_from: epoch, from 0, in which it begins.
    """

    logit_pairing: float = 0.0
    clean_logit_pairing: float = 0.0
    input_gradient: float = 0.0
    noise_consistency: float = 0.0
    noise: float | None = None
    awp: float = 0.0
    awp_from: int = 0

    def __post_init__(self) -> None:
        """Refuses what makes no sense or would act on nothing."""
        for name, value in asdict(self).items():
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"Expected `regulariser.{name}` of at least 0, but got {value}.")
        if self.noise is not None and not (self.noise and self.noise_consistency):
            raise UserError(
                f"Got `regulariser.noise` {self.noise:g} with `regulariser.noise_consistency` "
                f"{self.noise_consistency:g}: it acts where both are above 0."
            )
        if self.awp_from and not self.awp:
            raise UserError("Got `regulariser.awp_from` without `regulariser.awp`.")

    @property
    def weights(self) -> dict[str, float]:
        """Of the regularisers that act, by name."""
        named = {name: float(getattr(self, name)) for name in REGULARISERS}
        return {name: weight for name, weight in named.items() if weight}

    @property
    def chosen(self) -> dict[str, float]:
        """Everything that is not left out, for a line that says what is trained."""
        return {k: v for k, v in asdict(self).items() if v}

    def __str__(self) -> str:
        """`input_gradient 0.1, awp 0.01`."""
        return ", ".join(f"{name} {value:g}" for name, value in self.chosen.items()) or "none"
