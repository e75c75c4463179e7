"""`--attack NAME` with its norm, radii, steps and target: a probe without YAML."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from callbacks.adversarial import (
    ATTACKS,
    MINIMUM_NORM,
    SPATIAL,
    UNIVERSAL,
    AdversarialProbe,
    MinimumNormProbe,
    SpatialProbe,
    UniversalProbe,
)
from callbacks.adversarial.minimum_norm import Distance
from callbacks.budget import Budget
from datamodules.errors import UserError, suggestion

_ALL = {**ATTACKS, **MINIMUM_NORM, **SPATIAL, **UNIVERSAL}
"""Of `--attack NAME`."""
AttackProbe = AdversarialProbe | MinimumNormProbe | SpatialProbe | UniversalProbe


@dataclass(frozen=True)
class AttackOption:
    """What the command line says of one attack; None where it says nothing.

    Args:
        attack: name of the attack.
        norm: of the ball, or what is least.
        epsilon: radii in pixel units; of minimum-norm attacks those of the curve; of `spatial` the
            largest angles in degrees, of `patch` shares of the image.
        steps: of the attack.
        restarts: of the attack.
        target: next, least_likely, random, or a class by name or number.
        eot: draws that every gradient is averaged over.
        surrogate: that a transfer attack is carried out on; opened before `probe`.
    """

    attack: str | None = None
    norm: Distance | None = None
    epsilon: Sequence[float | str] | None = None
    steps: int | None = None
    restarts: int | None = None
    target: str | int | None = None
    surrogate: str | nn.Module | None = None
    eot: int | None = None

    @property
    def asks_for_surrogate(self) -> bool:
        """Whether the attack takes one."""
        return "surrogate" in self._parameters()

    def probe(self, budget: Budget, classes: Sequence[str]) -> AttackProbe | None:
        """Makes the probe; None where no attack is named.

        Without a radius the data set's usual one is taken, without steps those of the attack.

        Args:
            budget: of the preset, for samples, chunk, seed and objective.
            classes: names, in the order of the model's outputs.

        Raises:
            UserError: a combination that makes no sense.
        """
        if self.surrogate is not None and not self.asks_for_surrogate:
            raise UserError("`--surrogate` is of `--attack transfer`: name it, or leave it out.")
        if self.attack is None:
            self._refuse_the_rest()
            return None
        if self.attack not in _ALL:
            raise UserError(
                f"There is no attack {self.attack!r}.{suggestion(self.attack, _ALL)} See: assay "
                "list attacks minimum_norm spatial universal"
            )
        if self.attack in MINIMUM_NORM:
            return self._minimum_norm(budget)
        if self.attack in SPATIAL:
            return self._spatial(budget)
        if self.attack in UNIVERSAL:
            return self._universal(budget, classes)
        attack = ATTACKS[self.attack](**self._effort())
        return AdversarialProbe.within(
            budget,
            attack=lambda: attack,
            norm=self.norm or "linf",  # type: ignore[arg-type]
            epsilons=self.epsilon,
            curve=(1.0,),
            targeted=self._target(classes),
            **self._draws(),
        )

    def _minimum_norm(self, budget: Budget) -> MinimumNormProbe:
        """Searches the least change; radii cost nothing, so without any the preset's are shown."""
        if self.target is not None:
            raise UserError(
                f"The attack {self.attack!r} goes to whichever class is nearest: leave `--target` "
                "out."
            )
        attack = MINIMUM_NORM[str(self.attack)](**self._effort())
        return MinimumNormProbe.within(
            budget, attack=lambda: attack, norm=self.norm, epsilons=self.epsilon, **self._draws()
        )

    def _spatial(self, budget: Budget) -> SpatialProbe:
        """Rotates and shifts; up to 30 degrees where no angle is given."""
        for name, given in (("norm", self.norm), ("target", self.target)):
            if given is not None:
                raise UserError(
                    f"The attack {self.attack!r} has no `{name}`: leave `--{name}` out; "
                    "`--epsilon` is its largest angle in degrees."
                )
        attack = SPATIAL[str(self.attack)](**self._effort())
        return SpatialProbe.within(budget, attack=lambda: attack, epsilons=self.epsilon)

    def _universal(self, budget: Budget, classes: Sequence[str]) -> UniversalProbe:
        """Learns one pattern for all images."""
        attack = UNIVERSAL[str(self.attack)](**self._effort())
        return UniversalProbe.within(
            budget,
            attack=lambda: attack,
            norm=self.norm,
            epsilons=self.epsilon,
            curve=(1.0,),
            targeted=self._target(classes),
        )

    def _refuse_the_rest(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if given:
            raise UserError(f"`--{given[0]}` is of an attack: name one by `--attack`, e.g. apgd.")

    def _effort(self) -> dict[str, Any]:
        """Steps, restarts and the like, as far as they are given, and the attack has them."""
        known = self._parameters()
        given = {"steps": self.steps, "restarts": self.restarts, "surrogate": self.surrogate}
        if self._averages or self.attack in {**SPATIAL, **UNIVERSAL}:
            given["eot"] = self.eot
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in known:
                raise UserError(
                    f"The attack {self.attack!r} has no `{name}`: leave `--{name}` out."
                )
        return given

    def _draws(self) -> dict[str, int]:
        """Of the probe, which averages for any attack but the one that does so of itself."""
        return {} if self.eot is None or self._averages else {"eot": self.eot}

    @property
    def _averages(self) -> bool:
        return self.attack == "autoattack_rand"

    def _parameters(self) -> Mapping[str, Any]:
        """Of the attack's constructor; none where there is no such attack."""
        attack = _ALL.get(str(self.attack))
        return inspect.signature(attack).parameters if attack else {}

    def _target(self, classes: Sequence[str]) -> str | int | None:
        """A class by its name is the class of that number; other words are the probe's to judge."""
        if self.target in classes:
            return list(classes).index(str(self.target))
        number = str(self.target)
        return int(number) if number.lstrip("-").isdigit() else self.target
