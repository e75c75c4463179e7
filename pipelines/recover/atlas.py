"""The atlas: many damages, repairs and severities on MNIST's LeNet and CIFAR's ResNet-20."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from callbacks.digests import model_digest
from datamodules import CIFAR10, MNIST
from datamodules.errors import UserError
from lightning_modules import FineTuning, Tuning, save_classifier
from lightning_modules.saved_model import load_into
from pipelines.recover.damages import Spoil
from pipelines.recover.original import Original
from pipelines.recover.plan import Plan
from pipelines.recover.repair import Effort
from pipelines.study import DataLike, ModelLike, Study
from pipelines.study.cells import Cell
from pipelines.study.training import train_steps

_FOR_DATA = (
    "retrain_all", "retrain_last", "recollect", "pretraining_part", "drop_suspects", "distil",
    "clip_activations", "restore_all",
)  # fmt: skip
_SGD = Tuning(optimizer="sgd", lr=0.01, weight_decay=1e-4)
_PLAIN_SGD = Tuning(
    optimizer="sgd", lr=0.001, weight_decay=0, schedule="constant", warmup=0, nesterov=False
)
_LENET_STEPS = 1000
_PUBLISHED = "resnet20-12fca82f.th"
_LENET_DAMAGES = {
    "zero": (0.1, 0.3, 0.5), "zero_largest": (0.01, 0.05, 0.1), "randomise": (0.1, 0.3, 0.5),
    "noise": (0.3, 1.0, 2.0), "sign_flip": (0.05, 0.1, 0.3), "bit_flip": (1, 10, 100),
    "bit_error": (1e-5, 1e-4, 1e-3), "stuck_at": (1e-4, 1e-3, 1e-2),
    "bit_flip_attack": (1, 5, 20), "quantise": (4, 3, 2), "prune": (0.5, 0.8, 0.95),
    "remove_channels": (0.1, 0.3, 0.5), "label_noise": (0.2, 0.4, 0.6),
    "bad_nets": (0.01, 0.05, 0.1),
}  # fmt: skip
_MANY_KINDS = {
    "zero": (0.3, 0.6), "noise": (0.7, 1.4), "sign_flip": (0.1, 0.2), "shuffle": (0.3, 0.6),
    "bit_error": (3e-5, 3e-4), "bit_flip_attack": (3, 10), "quantise": (3, 2),
    "prune": (0.8, 0.95), "remove_channels": (0.3, 0.5), "input_noise": (0.5, 1.0),
    "label_noise": (0.4, 0.6),
}  # fmt: skip
_RESNET_DAMAGES = {
    "zero": (0.1, 0.3), "noise": (0.3, 0.6), "bit_flip": (100, 1000), "bit_flip_attack": (5, 20),
    "quantise": (4, 3), "prune": (0.5, 0.8), "remove_layers": (1, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Atlas:
    """Plans for both models.

    Args:
        purpose: one sentence.
        lenet: for MNIST's LeNet, and for a model of one's own.
        resnet: for CIFAR's ResNet-20; None leaves it out.
        batch_size: of MNIST.
        mean: that MNIST's LeNet subtracts where the user says nothing, see `--mean`.
    """

    purpose: str
    lenet: Plan
    resnet: Plan | None = None
    batch_size: int = 128
    mean: str | None = None


ATLASES: dict[str, Atlas] = {
    "example": Atlas(
        "a tenth of every parameter tensor zeroed, two epochs of plain SGD",
        Plan(
            {"zero_everywhere": (0.1,)}, ("retrain_all", "retrain_damaged", "restore_half"),
            [Effort(epochs=2, tuning=_PLAIN_SGD)], draws=3, limit=10_000,
        ),
        batch_size=100, mean="half",
    ),
    "quick": Atlas(
        "a first look in about 5 minutes",
        Plan(
            {"zero": (0.1, 0.3, 0.5), "noise": (1.0,), "bit_error": (1e-4,),
             "bit_flip_attack": (5,), "prune": (0.9,)},
            ("retrain_all", "retrain_last", "distil", "clip_activations", "mend"),
            [Effort(steps=50)], draws=3, limit=1000, for_data=_FOR_DATA,
        ),
        Plan(
            {"bit_flip_attack": (5,)}, ("reestimate_batch_norm", "zero_suspects", "mend"),
            [Effort(steps=10, tuning=_SGD)], draws=1, limit=500, stored_in="int8",
        ),
    ),
    "predictor": Atlas(
        "many kinds of damage, few repairs: what comes back, told before it is repaired",
        Plan(
            _MANY_KINDS, ("retrain_all", "retrain_last", "clip_activations"),
            [Effort(steps=50, points=2)], draws=3, limit=1000, spoil=Spoil(steps=100, rounds=3),
        ),
    ),
    "small": Atlas(
        "the table of docs/results.md in about an hour",
        Plan(
            _LENET_DAMAGES,
            ("retrain_all", "retrain_damaged", "retrain_last", "rebuild", "distil", "restore_half",
             "clip_activations", "mend"),
            [Effort(steps=60)], draws=3, limit=1500, for_data=_FOR_DATA,
        ),
        Plan(
            _RESNET_DAMAGES,
            ("retrain_all", "retrain_last", "distil", "reestimate_batch_norm", "clip_activations",
             "zero_suspects_batch_norm", "mend"),
            [Effort(steps=20, tuning=_SGD)], draws=1, limit=1017, stored_in="int8",
        ),
    ),
}  # fmt: skip


def open_atlas(
    study: Study, atlas: Atlas, model: ModelLike | None, data: DataLike | None, places: Path | None
) -> Iterator[tuple[Original, Plan]]:
    """Yields the models of an atlas with what is done to them.

    Args:
        study: opens them.
        atlas: an entry of `ATLASES`.
        model: one's own; None takes MNIST's LeNet and CIFAR's ResNet-20.
        data: one's own.
        places: folder with `MNIST`, `cifar10` and `weights`; None for the usual ones.

    Raises:
        UserError: a model without data, or data without a model.
    """
    if (model is None) != (data is None):
        raise UserError("Expected --model and --data together, or neither of them, for an atlas.")
    if model is not None and places is not None:
        raise UserError(
            "Got `atlas_root`, where the atlas' own data are, with --model and --data of your own: "
            "leave out the one or the other."
        )
    if model is not None and data is not None:
        opened = study.open_data(data)
        classifier = study.open_model(model, opened)
        yield Original.of(classifier, opened, atlas.lenet.stored_in, atlas.lenet.limit), atlas.lenet
        return
    yield _lenet(study, atlas, places), atlas.lenet
    if atlas.resnet is None:
        return
    cifar = CIFAR10(places and places / "cifar10", batch_size=128)
    weights = (places or cifar.root.parent) / "weights" / _PUBLISHED
    if not weights.is_file():
        study.notes.append(f"ResNet-20 is left out: there are no weights in {str(weights)!r}.")
        return
    classifier = study.open_model(
        f"checkpoint:{weights}", study.open_data(cifar), arch="cifar_resnet20"
    )
    label, plan = "ResNet-20/CIFAR-10", atlas.resnet
    yield Original.of(classifier, cifar, plan.stored_in, plan.limit, label), plan


def _lenet(study: Study, atlas: Atlas, places: Path | None) -> Original:
    """A LeNet trained for a thousand steps, once for all atlases of a folder."""
    plan, data = atlas.lenet, MNIST(root=places, batch_size=atlas.batch_size)
    if study.said.normalisation is None:
        study.said = replace(study.said, mean=atlas.mean)
    classifier = study.open_model("lenet", study.open_data(data)).train()
    facts = {
        "atlas": "lenet", "start": model_digest(classifier), "data": data.training_digest(),
        "steps": _LENET_STEPS, "batch_size": data.batch_size, "torch": torch.__version__,
    }  # fmt: skip

    def work(folder: Path) -> Cell:
        study.say(f"training LeNet on MNIST, {_LENET_STEPS:,} steps ...")
        train_steps(FineTuning(classifier, Tuning()), data, _LENET_STEPS, study.flags)
        save_classifier(classifier, folder)
        return Cell({})

    cell = study.cells.measured(facts, work)
    assert cell.folder is not None
    load_into(classifier, cell.folder)
    return Original.of(classifier.eval(), data, plan.stored_in, plan.limit, "LeNet/MNIST")
