"""Models that will be damaged, opened, in the command itself and in each of its workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from datamodules.errors import UserError
from lightning_modules import Tuning
from lightning_modules.black_box import require_layers
from lightning_modules.trainer import device_flags
from pipelines.engine import Unit
from pipelines.recover.atlas import ATLASES, open_atlas
from pipelines.recover.cell import Experiment
from pipelines.recover.original import Original
from pipelines.recover.plan import Plan, Task
from pipelines.recover.strategies import checked_strategies
from pipelines.report.about import model_facts
from pipelines.study import Study, options_in

TRAINER = {"enable_progress_bar": False, "enable_model_summary": False}
"""What the many short trainings of repairs are in any case."""


@dataclass(frozen=True)
class Opened:
    """Everything that is known before anything is damaged.

    Args:
        study: of the command, or of a worker.
        experiments: one a model.
        name: of the run.
        atlas: its name; empty where the user named the model.
        inject_until: half-width of the rate of silent errors, if it is wanted.
    """

    study: Study
    experiments: Sequence[Experiment]
    name: str
    atlas: str
    inject_until: float | None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the result besides models and data."""
        asked = {
            e.original.label: (e.plan.parameters(), e.stage_settings) for e in self.experiments
        }
        return {**asked, "atlas": self.atlas or "none", "inject_until": self.inject_until}

    def units(self) -> list[Unit]:
        """The repairs of one damaged model together, where any of them is not there."""
        units = []
        for number, (experiment, tasks) in enumerate(self._groups):
            keys = [k for k in experiment.keys(tasks) if not self.study.cells.known(k)]
            name = f"{tasks[0]} draw {tasks[0].seed}" if tasks else "before any damage"
            if keys:
                units.append(Unit(number, f"{experiment.original.label} {name}", keys))
        return units

    def measure(self, number: int) -> None:
        """Measures the repairs of one damaged model, or the model before damage."""
        experiment, tasks = self._groups[number]
        if not tasks:
            experiment.whole()
        for task in tasks:
            experiment.measured(task)
            if experiment.described and task.strategy == "nothing":
                experiment.described_as(task)

    @cached_property
    def _groups(self) -> list[tuple[Experiment, list[Task]]]:
        """Each model before damage, where that is evaluated, and then damaged in each way."""
        groups: list[tuple[Experiment, list[Task]]] = []
        for experiment in self.experiments:
            by_damage: dict[tuple[Any, ...], list[Task]] = {}
            for task in experiment.plan.tasks(self.study.seed):
                by_damage.setdefault(task[:3], []).append(task)
            first = [[]] if experiment.probes is not None else []
            groups += [(experiment, tasks) for tasks in (*first, *by_damage.values())]
        return groups


def opened(asked: Mapping[str, Any]) -> Opened:
    """Opens models and data, and checks what is asked of them.

    Args:
        asked: arguments of `recover`, options included.

    Raises:
        UserError: something the user can mend.
    """
    study = Study("recover", "recoverability", options_in(asked), TRAINER)
    study.flags = _device_flags(study.flags)
    _check_recipes(asked)
    atlas = "" if asked["atlas"] == "none" else asked["atlas"]
    if atlas:
        subject = (asked["model"], asked["data"], asked["atlas_root"])
        planned = list(open_atlas(study, ATLASES[atlas], *subject))
        stages, name = None, study.name(f"atlas-{atlas}")
    else:
        planned = [_named(study, asked)]
        model = model_facts(planned[0][0].classifier)["name"]
        stages, name = asked["probes"] or ["clean"], study.name(model, asked["damage"])
    until = asked["inject_until"]
    for original, plan in planned:
        plan.check(original, until)
    experiments = [Experiment(study, *one, stages, bool(atlas)) for one in planned]
    return Opened(study, experiments, name, atlas, until)


def _named(study: Study, asked: Mapping[str, Any]) -> tuple[Original, Plan]:
    """The model that the user named, and what is done to it."""
    if asked["model"] is None or asked["data"] is None:
        raise UserError("Expected --model and --data (or --atlas quick): what is damaged?")
    effort, recipes = asked["effort"], asked["recipes"]
    efforts = [effort.by(recipe) for recipe in recipes] if recipes else [effort]
    plan = Plan(
        {asked["damage"]: asked["severities"] or ()}, checked_strategies(asked["strategies"]),
        efforts, asked["draws"], asked["limit"], asked["trainings"], asked["stored_in"],
        asked["layers"] or (), asked["spoil"],
    )  # fmt: skip
    data = study.open_data(asked["data"])
    classifier = study.open_model(asked["model"], data)
    require_layers(classifier, "Recovery")
    return Original.of(classifier, data, asked["stored_in"], asked["limit"]), plan


def _device_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Where to compute; how long and how a repair trains is its effort's matter."""
    kept = device_flags(flags)
    given = {name for name, value in flags.items() if TRAINER.get(name) is not value}
    if dropped := sorted(given - set(kept)):
        raise UserError(
            f"Expected no `trainer.{dropped[0]}`, which no repair would heed: how long and how "
            "they train is told by --effort, such as --effort.steps and --effort.tuning.lr."
        )
    return kept


def _check_recipes(asked: Mapping[str, Any]) -> None:
    """Refuses two ways to say the same."""
    tuning = asked["effort"].tuning
    if asked["recipes"] and (tuning.optimizer, tuning.lr) != (Tuning.optimizer, Tuning.lr):
        raise UserError(
            "Expected `recipes` or `effort.tuning.optimizer` and `effort.tuning.lr`, not both: "
            "recipes say optimizer and learning rate."
        )
