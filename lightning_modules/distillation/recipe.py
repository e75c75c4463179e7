"""What a student learns from its teacher, in flat values."""

from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

from datamodules.errors import UserError

LossName = Literal["kd", "dkd", "fitnets", "attention", "rkd", "ard", "rslad"]


class Usual(NamedTuple):
    """Published settings of a loss; see `DistillationRecipe`."""

    hard_weight: float
    soft_weight: float
    feature_weight: float
    temperature: float


USUAL: dict[str, Usual] = {
    "kd": Usual(0.1, 0.9, 0.0, 4.0),
    "dkd": Usual(1.0, 1.0, 0.0, 4.0),
    "fitnets": Usual(1.0, 0.0, 100.0, 4.0),
    "attention": Usual(1.0, 0.0, 1000.0, 4.0),
    "rkd": Usual(1.0, 0.0, 1.0, 4.0),
    "ard": Usual(0.0, 1.0, 0.0, 30.0),
    "rslad": Usual(0.0, 1.0, 0.0, 1.0),
}
_WEIGHTS = ("hard_weight", "soft_weight", "feature_weight")
_FEATURE_LOSSES = ("fitnets", "attention", "rkd")
ROBUST_LOSSES = ("ard", "rslad")
_OF_LOSS = {
    "alpha": "dkd",
    "beta": "dkd",
    "clean_share": "rslad",
    "attention_form": "attention",
    "distance_weight": "rkd",
    "angle_weight": "rkd",
}
"""Options that one loss alone looks at."""


@dataclass(frozen=True)
class DistillationRecipe:
    """The loss is hard_weight · cross-entropy + soft_weight · soft + feature_weight · features.

    Args:
        loss: kd (soft targets), dkd (decoupled), fitnets, attention, rkd (features), ard, rslad
            (robust: need `perturb`). The feature losses take soft targets beside by `soft_weight`.
        temperature: of the soft targets, whose loss is multiplied by its square; None takes the
            published one, like the weights.
        hard_weight: of the labels.
        soft_weight: of the teacher's probabilities.
        feature_weight: of the features.
        alpha: of dkd: weight of the label's part.
        beta: of dkd: weight of the other classes' part; 2 to 8 are published.
        ramp: epochs over which the teacher's terms rise linearly; 20 of 240 is usual for dkd.
        clean_share: of rslad: weight of the undisturbed images.
        attention_form: of attention: "code", whose published weight is 1000, or "paper", which
            needs a `feature_weight`.
        distance_weight: of rkd: weight of the pairs' distances.
        angle_weight: of rkd: weight of the triples' angles.
        layers: feature layers by name, `NAME` or `STUDENTS=TEACHERS`, or head_input.
        teacher_weights: of several teachers; equal by default.
        labels: the hard labels: those of the data, or what the teacher predicts.
        init_from: layers of the teacher the student begins with, `NAME` or `STUDENTS=TEACHERS`.
        cache: keep the teacher's answers by sample index; None does where nothing is random.
        select: which epoch is kept; None takes robust_acc for ard and rslad, else acc.
    """

    loss: LossName = "kd"
    temperature: float | None = None
    hard_weight: float | None = None
    soft_weight: float | None = None
    feature_weight: float | None = None
    alpha: float = 1.0
    beta: float = 8.0
    ramp: int = 0
    clean_share: float = 1 / 6
    attention_form: Literal["code", "paper"] = "code"
    distance_weight: float = 25.0
    angle_weight: float = 50.0
    layers: tuple[str, ...] = ()
    teacher_weights: tuple[float, ...] = ()
    labels: Literal["data", "teacher"] = "data"
    init_from: tuple[str, ...] = ()
    cache: bool | None = None
    select: Literal["acc", "agreement", "robust_acc"] | None = None

    def __post_init__(self) -> None:
        """Refuses values that make no sense."""
        if self.loss not in USUAL:
            raise UserError(
                f"Expected `distillation.loss` to be one of {', '.join(USUAL)}, but got "
                f"{self.loss!r}."
            )
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise UserError(
                f"Expected `distillation.temperature` to be above 0, but got {self.temperature}."
            )
        for name in (*_WEIGHTS, "alpha", "beta", "ramp", "distance_weight", "angle_weight"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"Expected `distillation.{name}` of at least 0, but got {value}.")
        if not 0 <= self.clean_share <= 1:
            raise UserError(
                f"Expected `distillation.clean_share` in [0, 1], but got {self.clean_share}."
            )
        self._check_terms()
        self._check_own()

    def _check_own(self) -> None:
        """Refuses options of another loss, and a weight that nobody has published."""
        usual = {field.name: field.default for field in fields(self)}
        for name, loss in _OF_LOSS.items():
            if self.loss != loss and getattr(self, name) != usual[name]:
                raise UserError(
                    f"Got `distillation.{name}`, which only {loss!r} looks at, with "
                    f"{self.loss!r}: leave it out, or say --distillation.loss {loss}."
                )
        if self.attention_form == "paper" and self.feature_weight is None:
            raise UserError(
                "Expected `distillation.feature_weight` with the attention form 'paper': the "
                "published 1000 is of the form 'code'."
            )
        if self.loss == "rkd" and not self.distance_weight + self.angle_weight:
            raise UserError(
                "Expected `distillation.distance_weight` or `distillation.angle_weight` above 0."
            )

    def _check_terms(self) -> None:
        if not any(self._or_usual(name) for name in _WEIGHTS):
            raise UserError("Expected a weight above 0 in `distillation`, but all are 0.")
        if self.layers and not self.uses_features:
            raise UserError(
                f"Got `distillation.layers`, which {self.loss!r} does not look at: choose one of "
                f"{', '.join(_FEATURE_LOSSES)}."
            )
        if self.feature_weight and not self.uses_features:
            raise UserError(
                f"Got `distillation.feature_weight`, but {self.loss!r} has no features: choose one "
                f"of {', '.join(_FEATURE_LOSSES)}."
            )
        if self.loss in ("fitnets", "attention") and not self.layers:
            raise UserError(
                f"Expected `distillation.layers` for {self.loss!r}, but got none: name layers of "
                "both, like layer2, or pairs STUDENTS=TEACHERS."
            )

    @property
    def uses_features(self) -> bool:
        """Whether the loss looks at features."""
        return self.loss in _FEATURE_LOSSES

    @property
    def asks_teacher(self) -> bool:
        """Whether the training needs any answer of the teacher."""
        filled = self.filled()
        weights = filled.soft_weight, filled.feature_weight, self.labels == "teacher"
        return any(weights) or self.loss == "rslad"  # whose attack aims at the teacher's answers

    @property
    def is_robust(self) -> bool:
        """Whether the loss is about images that an attack disturbed."""
        return self.loss in ROBUST_LOSSES

    def filled(self) -> "DistillationRecipe":
        """Returns the recipe with the published number wherever none was given."""
        return replace(self, **{name: self._or_usual(name) for name in Usual._fields})

    def _or_usual(self, name: str) -> float:
        given = getattr(self, name)
        return getattr(USUAL[self.loss], name) if given is None else given
