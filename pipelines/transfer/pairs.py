"""Every model on every data set, as far as it can see it."""

from collections.abc import Sequence
from itertools import product

from datamodules.errors import UserError
from datamodules.fractions import Fraction
from pipelines.study import Study
from pipelines.transfer.cell import Outcome, Transfer
from pipelines.transfer.pair import Pair, make_pair
from pipelines.transfer.tasks import Model, Task


def make_pairs(
    study: Study,
    models: Sequence[Model],
    tasks: Sequence[Task],
    fractions: Sequence[Fraction],
    seeds: Sequence[int],
) -> tuple[dict[tuple[str, str], Pair], list[Outcome]]:
    """Makes all pairs; one that is impossible takes no other down.

    Args:
        study: where features are computed and kept.
        models: to be moved.
        tasks: to where.
        fractions: of the labelled images.
        seeds: of the choice.

    Returns:
        The pairs by model and data, and a failed cell for each that is impossible.

    Raises:
        UserError: all are; why the first one is.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    impossible: list[Outcome] = []
    for model, task in product(models, tasks):
        made = _made(study, model, task, fractions, seeds)
        if isinstance(made, Pair):
            pairs[model.name, task.name] = made
        else:
            failed = Transfer(model.name, task.name, "untouched")
            impossible.append(Outcome(failed, error=str(made)))
    if not pairs:
        raise UserError(impossible[0].error)
    return pairs, impossible


def _made(
    study: Study, model: Model, task: Task, fractions: Sequence[Fraction], seeds: Sequence[int]
) -> Pair | UserError:
    """A pair, or why there is none."""
    try:
        return make_pair(study, model, task, fractions, seeds)
    except UserError as error:
        if "`--resize`" not in str(error):
            return error
        return UserError(f"{error} For this data set alone: --data.{task.name}.resize.")
