"""`assay federate`: clients teach each other by their answers to public images."""

from dataclasses import asdict
from typing import Any

from typing_extensions import Unpack  # Python 3.10 has none

from datamodules.errors import UserError
from lightning_modules import Classifier, Tuning, save_classifier
from lightning_modules.distillation import FederatedRecipe
from pipelines.cli import COMMANDS
from pipelines.federate.plan import Plan, make_plan
from pipelines.federate.result import FederationResult
from pipelines.federate.rounds import ARMS, Arm, run_arm
from pipelines.study import DataLike, ModelLike, Options, Study, slug
from pipelines.study.arguments import parse
from pipelines.study.trainer_flags import check_possible

_TRAINER = {"enable_model_summary": False}
_MODES = ("full", "linear_probe")
"""Of a recipe, that can be carried out in pieces."""


def main(words: list[str]) -> int:
    """Runs the command line."""
    federate(**parse(federate, words, _TRAINER, COMMANDS["federate"].example))
    return 0


def federate(
    clients: list[ModelLike],
    data: DataLike,
    public: DataLike | None = None,
    federated: FederatedRecipe = FederatedRecipe(),  # noqa: B008  (frozen)
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    **options: Unpack[Options],
) -> FederationResult:
    """Lets clients with images of their own teach each other, and measures what that brings.

    Each control trains the same networks from the same start for as many steps: every client alone,
    and with all private images in one place.

    Args:
        clients: the network of each, e.g. lenet lenet_wide checkpoint:FILE; a head for other
            classes is replaced. In Python also networks.
        data: whose training images are dealt out, and whose test images all are measured on.
        public: images that all clients see, whose labels are not used; default: a share of the
            training images of `data`.
        federated: how they learn from each other, and who has which images.
        tuning: optimizer and schedule of every piece of training, which is begun anew in every
            round.
        **options: see `Options`; `arch` is that of bare checkpoints, one for all or one each.

    Returns:
        All clients on the same test images, round by round, in three ways.

    Raises:
        UserError: something the user can mend, such as fewer than two clients.
        DivergedError: a loss is no number.
    """
    study = Study("federate", "distillation", options, _TRAINER)
    _check(study, tuning)
    opened = study.open_data(data)
    plan = make_plan(study, clients, opened, public, federated, tuning)
    settings = _settings(plan)
    name = study.name(federated.method, f"{len(plan.clients)}-clients")
    with study.running(name, {**settings, "flags": repr(study.flags)}):
        runs: dict[Arm, Any] = {arm: run_arm(study, plan, arm) for arm in ARMS}
        _keep(study, plan, runs["federated"][1])
        study.notes += _notes(plan)
        rows: dict[Arm, Any] = {arm: runs[arm][0] for arm in ARMS}
        names = [client.name for client in plan.clients]
        about = study.about(*runs["federated"][1])
        result = FederationResult(about, rows, names, plan.counts, settings)
        study.finish(result)
    return result


def _check(study: Study, tuning: Tuning) -> None:
    study.on_one_device("clients are trained one after another.")
    if named := {"max_epochs", "max_steps"} & set(study.flags):
        raise UserError(
            f"Got `trainer.{min(named)}`, but a round is as long as --federated.private_steps and "
            "--federated.public_steps say."
        )
    check_possible(study.flags)
    if tuning.mode not in _MODES:
        raise UserError(
            f"Expected `tuning.mode` {' or '.join(_MODES)} for a federation, whose "
            f"clients go on from round to round, but got {tuning.mode}."
        )
    if tuning.ema or tuning.mixup or tuning.cutmix:
        raise UserError("Got `tuning.ema`, `mixup` or `cutmix`, which a federation has not.")


def _settings(plan: Plan) -> dict[str, Any]:
    parts = {"federated": asdict(plan.recipe), "tuning": asdict(plan.tuning)}
    flat = {f"{part}.{k}": v for part, values in parts.items() for k, v in values.items()}
    public = plan.public[0].title
    return {**flat, "clients": [client.name for client in plan.clients], "public": public}


def _keep(study: Study, plan: Plan, networks: list[Classifier]) -> None:
    """Saves and logs every client's network as it is after the last round."""
    key = study.folder.name.rpartition("-")[2]
    for client, network in zip(plan.clients, networks, strict=True):
        folder = study.root / "mlruns" / "checkpoints" / slug(f"federate-{client.name}-{key}")
        if study.is_first:
            save_classifier(network, folder)
        network.source = f"checkpoint:{folder}"
        with study.stage(f"client {client.name}", model=network.source) as run:
            run.log_model(network)
        study.say(f"weights  {folder}")


def _notes(plan: Plan) -> list[str]:
    data, images = plan.public
    count = f"{len(images):,} images of {data.title}"
    return [
        f"Public are {count}, whose labels were not used; validation images were not used either: "
        "the last round counts.",
        "Intervals are over test images; another seed would deal the images out otherwise.",
    ]
