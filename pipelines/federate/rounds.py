"""Rounds of training and telling, of which each is a cell: a killed run goes on with the next."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import lightning as L
import pandas as pd
from torch import Tensor

from callbacks.rows import outcome_columns
from datamodules import ImageDataModule
from datamodules.images import Images
from lightning_modules import Classifier, FineTuning
from lightning_modules.distillation import ConsensusFitting, fused
from lightning_modules.duplication import duplicate
from lightning_modules.saved_model import load_weights, save_weights
from pipelines.distill.answers import answer_test
from pipelines.distill.plan import adopted
from pipelines.federate.plan import Client, Plan
from pipelines.study import Study
from pipelines.study.cells import Cell
from pipelines.study.training import train_steps

Arm = Literal["federated", "alone", "pooled"]
ARMS: dict[Arm, str] = {
    "federated": "by each other's answers to public images",
    "alone": "from its own images, as many steps",
    "pooled": "from all private images in one place, as many steps",
}
"""What the clients learn from."""
_KEPT = ("label", "prediction", "loss", "confidence", "correct")


def run_arm(study: Study, plan: Plan, arm: Arm) -> tuple[pd.DataFrame, list[Classifier]]:
    """Trains all clients in one way from their start, and measures them after every round.

    Args:
        study: of the cells.
        plan: clients, images, recipe.
        arm: what they learn from.

    Returns:
        A row for each round, client and test image, and the networks after the last round.
    """
    networks = [duplicate(client.classifier) for client in plan.clients]
    first = 0 if plan.recipe.method == "fedmd" else 1
    tables = []
    for turn in range(first, plan.recipe.rounds + 1):

        def work(folder: Path, turn: int = turn) -> Cell:
            study.say(f"round    {turn} of {plan.recipe.rounds}, {arm}")
            _turn(study, plan, arm, networks, turn)
            for i, network in enumerate(networks):
                save_weights(network.model.cpu(), folder / f"{i}.safetensors")
            return Cell({}, _measured(study, plan, networks))

        of = {"cell": "federate", **plan.facts(study), "arm": arm, "round": turn}
        cell = study.cells.measured(of, work)
        assert cell.folder is not None
        for i, network in enumerate(networks):  # what is shown is what is kept
            load_weights(network.model, cell.folder / f"{i}.safetensors")
            network.pretrained = True  # also where the round was not carried out here
        tables.append(cell.rows.assign(arm=arm, round=turn))
    return pd.concat(tables, ignore_index=True), networks


def _turn(study: Study, plan: Plan, arm: Arm, networks: list[Classifier], turn: int) -> None:
    """One round: fedmd tells and then trains, feddf trains and then tells."""
    if plan.recipe.method == "fedmd":
        if turn:
            _tell(study, plan, arm, networks, turn)
        _train(study, plan, arm, networks, turn, plan.recipe.private_steps, "private")
    else:
        _train(study, plan, arm, networks, turn, plan.recipe.private_steps, "private")
        _tell(study, plan, arm, networks, turn)


def _train(
    study: Study, plan: Plan, arm: Arm, networks: Sequence[Classifier], turn: int, steps: int,
    phase: str,
) -> None:  # fmt: skip
    """Trains each network on labelled images: its own, or in one arm those of all."""
    for client, network in zip(plan.clients, networks, strict=True):
        images = plan.everything if arm == "pooled" else client.images
        module = FineTuning(network, client.tuning)
        _fit(study, plan, module, (plan.data, images), steps, f"{phase} {turn} {client.name}")


def _tell(study: Study, plan: Plan, arm: Arm, networks: Sequence[Classifier], turn: int) -> None:
    """What is had by the others' answers; the controls train on instead, for as many steps."""
    steps = plan.recipe.public_steps
    if arm != "federated":
        _train(study, plan, arm, networks, turn, steps, "public")
        return
    index, consensus = _consensus(study, plan, networks)
    if plan.recipe.method == "feddf":
        _fuse(plan.clients, networks)
    done: dict[str, Classifier] = {}
    for client, network in zip(plan.clients, networks, strict=True):
        if plan.recipe.method == "feddf" and client.group in done:  # a server trains one for all
            network.model.load_state_dict(done[client.group].model.state_dict())
            continue
        module = ConsensusFitting(network, index, consensus, plan.recipe, client.tuning)
        _fit(study, plan, module, plan.public, steps, f"public {turn} {client.name}")
        done[client.group] = network


def _consensus(study: Study, plan: Plan, networks: Sequence[Classifier]) -> tuple[Tensor, Tensor]:
    """Indices of the public images, and the clients' mean logits for them."""
    data, images = plan.public
    index, total = None, 0
    for network in networks:
        view = data.with_images(test=images)
        with adopted(view, network.preprocessing):
            index, _, logits = answer_test([network.eval()], view, device=study.device)
        total = total + logits
    assert index is not None
    assert isinstance(total, Tensor)
    return index, total / len(networks)


def _fuse(clients: Sequence[Client], networks: Sequence[Classifier]) -> None:
    """Averages networks of one group, each weighing as much as it has images."""
    for group in dict.fromkeys(client.group for client in clients):
        members = [i for i, client in enumerate(clients) if client.group == group]
        states = [networks[i].model.state_dict() for i in members]
        mean = fused(states, [len(clients[i].images) for i in members])
        for i in members:
            networks[i].model.load_state_dict(mean)


def _fit(
    study: Study, plan: Plan, module: FineTuning, shown: tuple[ImageDataModule, Images],
    steps: int, name: str,
) -> None:  # fmt: skip
    """Trains for some steps; what is random depends on the seed and the name alone."""
    data, images = shown
    seed = zlib.crc32(f"{plan.seed} {name}".encode())
    L.seed_everything(seed, verbose=False)
    view = data.with_images(train=images)
    view.batch_size = plan.data.batch_size
    view.reseed(seed)
    with adopted(view, module.classifier.preprocessing):
        train_steps(module, view, steps, study.flags)


def _measured(study: Study, plan: Plan, networks: Sequence[Classifier]) -> pd.DataFrame:
    """A row for each client and test image."""
    tables = []
    for client, network in zip(plan.clients, networks, strict=True):
        with adopted(plan.data, network.preprocessing):
            index, label, logits = answer_test([network.eval()], plan.data, device=study.device)
        columns = outcome_columns(logits, label)
        frame = pd.DataFrame({name: columns[name].numpy() for name in _KEPT})
        frame = frame.assign(index=index.numpy(), client=client.name)
        tables.append(frame.astype({"correct": "int64"}))
    return pd.concat(tables, ignore_index=True)
