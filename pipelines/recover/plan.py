"""What is done to a model: which damages, repaired how, how often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from callbacks.damage import Record
from callbacks.damage.exchange import check_exchangeable
from datamodules.errors import UserError
from pipelines.recover.damages import (
    CONTROLS,
    DATA_DAMAGES,
    Spoil,
    TrainingDamage,
    make_damage,
    recorded,
)
from pipelines.recover.original import Original
from pipelines.recover.repair import Effort
from pipelines.recover.strategies import STRATEGIES


class Task(NamedTuple):
    """One repair, or a control; `is_first` of its damage, severity and strategy."""

    damage: str
    severity: float
    seed: int
    strategy: str
    effort: Effort
    training_seed: int
    is_first: bool

    def __str__(self) -> str:
        return f"{self.damage} {self.severity:g}"


@dataclass(frozen=True)
class Plan:
    """What is done to one model.

    Args:
        damages: names with their severities; none takes the usual ones.
        strategies: names; "nothing" is always there.
        efforts: what a repair may spend; those that train try all of them.
        draws: damage seeds, each with a training seed of its own.
        limit: test images.
        trainings: training seeds of every draw.
        stored_in: number format of the weights.
        layers: the only modules that are damaged; empty for all.
        spoil: how is trained on damaged training data.
        for_data: strategies where training data is what was damaged; None for the same.
    """

    damages: Mapping[str, Sequence[float]]
    strategies: Sequence[str]
    efforts: Sequence[Effort]
    draws: int
    limit: int
    trainings: int = 1
    stored_in: str = "float32"
    layers: Sequence[str] = ()
    spoil: Spoil = Spoil()  # noqa: RUF009  (frozen)
    for_data: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuses names that are none, and nothing at all."""
        for name in ("draws", "trainings", "limit"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected `{name}` to be at least 1, but got {getattr(self, name)}."
                )
        for name in self.damages:
            self.damage(name)
        if self.spoil != Spoil() and not {*self.damages} & {*DATA_DAMAGES}:
            raise UserError(
                f"Got `spoil`, but {', '.join(map(repr, self.damages))} damages no training data: "
                "leave it out."
            )

    def damage(self, name: str) -> Any:
        """The damage of a name."""
        return make_damage(name, self.stored_in, tuple(self.layers), self.spoil)

    def grid(self) -> Iterator[tuple[str, float]]:
        """Every damage with every severity, each once: a copy would count its draws twice."""
        for name, severities in self.damages.items():
            yield from product([name], dict.fromkeys(severities or self.damage(name).severities))

    def check(self, original: Original, inject_until: float | None = None) -> None:
        """Refuses what makes no sense for a model, before anything is measured.

        Args:
            original: the model.
            inject_until: half-width of the rate of silent errors, if it is wanted.

        Raises:
            UserError: a severity, a layer, a width, or damage whose draws are not random.
        """
        if inject_until is not None and not 0 < inject_until < 0.5:
            raise UserError(f"Expected `inject_until` in (0, 0.5), but got {inject_until:g}.")
        image = original.test.image[:8].to(original.classifier.device)
        check_exchangeable(original.classifier, image)  # repairs train copies
        for name, severity in self.grid():
            damage, is_random = self.damage(name), False
            if isinstance(damage, TrainingDamage):  # whose constructor checks
                damage.make(severity)
            elif name != "bit_flip_attack":  # which searches for minutes
                is_random = isinstance(recorded(original, damage, severity, 0), Record)
            if inject_until is not None and not is_random:
                raise UserError(f"Only random damage of weights can be injected, not {name!r}.")

    def tasks(self, seed: int) -> Iterator[Task]:
        """All repairs, those of one damaged model one after the other; the controls first.

        Args:
            seed: of the first draw.
        """
        seeds = range(seed, seed + self.draws)
        for draw, effort, kind in product(seeds, self._efforts, CONTROLS):
            yield Task(kind, 0.0, draw, "retrain_all", effort, draw, False)  # as long as repairs
        for (name, severity), draw in product(self.grid(), seeds):
            given = self.for_data if name in DATA_DAMAGES and self.for_data else self.strategies
            for strategy in dict.fromkeys(("nothing", *given)):
                for effort, training in self._ways(strategy):
                    is_first = draw == seed and training == 0 and effort is self.efforts[0]
                    again = draw + 1000 * training  # far from the seeds of other draws
                    yield Task(name, severity, draw, strategy, effort, again, is_first)

    def parameters(self) -> dict[str, Any]:
        """In words, for comparing runs."""
        severities = {f"damage.{name}": "" for name in self.damages}
        for name, severity in self.grid():
            severities[f"damage.{name}"] += f" {severity:g}"
        return {
            **{name: text.strip() for name, text in severities.items()},
            "strategies": " ".join(self.strategies), "draws": self.draws,
            "trainings": self.trainings, "effort": "; ".join(map(repr, self.efforts)),
            "stored_in": self.stored_in, "layers": " ".join(self.layers) or "all",
            "limit": self.limit,
            **({"spoil": repr(self.spoil)} if {*self.damages} & {*DATA_DAMAGES} else {}),
        }  # fmt: skip

    def _ways(self, strategy: str) -> Iterator[tuple[Effort, int]]:
        """The recipes and trainings of a strategy; one that does not train has one of each."""
        if STRATEGIES[strategy].trains:
            return product(self._efforts, range(self.trainings))
        return product(self._efforts[:1], range(1))

    @property
    def _efforts(self) -> list[Effort]:
        """Each once, however often it is named."""
        return list(dict.fromkeys(self.efforts))
