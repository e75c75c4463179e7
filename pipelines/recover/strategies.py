"""Ways to bring a damaged model back, each declaring what it is allowed to know.

A new one is a function and a line in `STRATEGIES`; `assay recover`, the atlas and the contract
tests find it there.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from datamodules.errors import UserError, suggestion
from datamodules.suspects import suspects
from lightning_modules import Classifier
from lightning_modules.heads import head_name
from lightning_modules.recovery import Trainable, clipped, reestimate
from lightning_modules.recovery.batch_norm import NotApplicableError
from pipelines.recover.patient import Knowledge, Patient
from pipelines.recover.training import train


@dataclass(frozen=True)
class Strategy:
    """A repair.

    Args:
        repair: changes the patient's classifier, or replaces it.
        title: for tables and plots.
        knows: what it is allowed to know.
        trains: whether optimizer and learning rate matter.
    """

    repair: Callable[[Patient], None]
    title: str
    knows: frozenset[Knowledge] = frozenset()

    @property
    def trains(self) -> bool:
        """Whether optimizer and learning rate matter."""
        return "labels" in self.knows or self.repair is _distil


def _nothing(patient: Patient) -> None:
    """Leaves the damage: what every repair is to be compared with."""


def _retrain_all(patient: Patient) -> None:
    """Trains every weight on."""
    train(patient)


def _retrain_damaged(patient: Patient) -> None:
    """Elements that are not damaged keep their bits."""
    hit = patient.location()
    trainable: Trainable = (
        dict(hit) if hit else _below(patient.classifier, patient.damaged_layers())
    )
    if not trainable:
        raise NotApplicableError("It is not known which weights are damaged.")
    train(patient, trainable)


def _retrain_last(patient: Patient) -> None:
    """Trains the last layer alone."""
    train(patient, _below(patient.classifier, [_head(patient.classifier)]))


def _restore_all(patient: Patient) -> None:
    """Takes the original back: what exact recovery would be."""
    patient.classifier = patient.original()


def _restore_worst_layer(patient: Patient) -> None:
    """Takes the most damaged layer from the original."""
    _restore(patient, patient.damaged_layers()[:1])


def _restore_half(patient: Patient) -> None:
    """A random half of the damaged elements, as after a checkpoint that is lost in part."""
    hit = patient.location()
    if not hit:
        raise NotApplicableError("It is not known which weights are damaged.")
    original, state = patient.original().state_dict(), patient.classifier.state_dict()
    draw = torch.Generator().manual_seed(patient.seed)
    for name, mask in hit.items():
        chosen = mask & (torch.rand(mask.shape, generator=draw) < 0.5)
        state[name].copy_(torch.where(chosen.to(state[name].device), original[name], state[name]))


def _rebuild(patient: Patient) -> None:
    """Damaged layers begin anew, then everything is trained."""
    layers = _known(patient)
    with torch.random.fork_rng():
        torch.manual_seed(patient.seed)
        for name in layers:
            fresh = copy.deepcopy(patient.stored.original.get_submodule(name))  # its shape alone
            for part in fresh.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()  # type: ignore[operator]
            patient.classifier.set_submodule(name, fresh)
    train(patient)


def _rebuild_pretrained(patient: Patient) -> None:
    """Damaged layers are taken from the original, then the last layers are trained."""
    _restore(patient, _known(patient))
    _retrain_last(patient)


def _reestimate(patient: Patient) -> None:
    """Measures batch-norm statistics anew on unlabelled images."""
    device = patient.classifier.device
    used = reestimate(patient.classifier, patient.images().to(device).split(128))
    patient.spent.forwards += used


def _distil(patient: Patient) -> None:
    """Learns the original's answers to unlabelled images."""
    train(patient, teacher=patient.original())


def _clip(patient: Patient) -> None:
    """Keeps activations inside the range they had before the damage."""
    clipped(patient.classifier, patient.ranges())


def _zero_suspects(patient: Patient) -> None:
    """RADAR's repair: weights whose checksums differ are set to zero."""
    weights = _signed(patient)
    for name, mask in patient.signatures().suspects(weights).items():
        weights[name][mask.to(weights[name].device)] = 0


def _zero_suspects_reestimate(patient: Patient) -> None:
    """Zeroes what checksums point at, then measures batch norm anew."""
    _zero_suspects(patient)
    _reestimate(patient)


def _mend(patient: Patient) -> None:
    """Flips that the checksums can name are taken back."""
    weights = _signed(patient)
    for name, mended in patient.signatures().mended(weights).items():
        weights[name].copy_(mended)


def _recollect(patient: Patient) -> None:
    """Trains on data as it was before it was spoiled."""
    train(patient, data=patient.undamaged_data())


def _pretraining_part(patient: Patient) -> None:
    """Retrains on a tenth of the undamaged training data."""
    data = copy.copy(patient.undamaged_data())
    images = data.images("train")
    draw = torch.Generator().manual_seed(patient.seed)
    part = torch.randperm(len(images), generator=draw)[: max(1, len(images) // 10)]
    data._splits = {**data._splits, "train": images.subset(part)}
    train(patient, data=data)


def _drop_suspects(patient: Patient) -> None:
    """Leaves out training samples whose labels the damaged model itself finds suspicious."""
    data = copy.copy(patient.data)
    images = data.images("train")
    batch = data.taken("train", len(images))
    with torch.no_grad():
        parts = [patient.classifier.eval()(part).softmax(1) for part in batch.image.split(512)]
    patient.spent.forwards += len(images)
    doubtful = suspects(torch.cat(parts).nan_to_num(0), batch.label)
    position = {index: row for row, index in enumerate(images.index.tolist())}
    kept = torch.tensor([position[i] for i in batch.index[~doubtful].tolist()])
    data._splits = {**data._splits, "train": images.subset(kept.sort().values)}
    train(patient, data=data)


STRATEGIES: dict[str, Strategy] = {
    "nothing": Strategy(_nothing, "Do nothing"),
    "retrain_all": Strategy(_retrain_all, "Retrain all", frozenset({"labels"})),
    "retrain_damaged": Strategy(
        _retrain_damaged, "Retrain the damaged", frozenset({"labels", "location"})
    ),
    "retrain_last": Strategy(_retrain_last, "Retrain the last layer", frozenset({"labels"})),
    "restore_all": Strategy(_restore_all, "Restore all", frozenset({"original"})),
    "restore_worst_layer": Strategy(
        _restore_worst_layer, "Restore the worst layer", frozenset({"original", "location"})
    ),
    "restore_half": Strategy(_restore_half, "Restore half", frozenset({"original", "location"})),
    "rebuild": Strategy(_rebuild, "Rebuild and retrain", frozenset({"labels", "location"})),
    "rebuild_pretrained": Strategy(
        _rebuild_pretrained,
        "Rebuild from the original",
        frozenset({"original", "labels", "location"}),
    ),
    "reestimate_batch_norm": Strategy(_reestimate, "Batch norm anew", frozenset({"images"})),
    "distil": Strategy(_distil, "Distil from the original", frozenset({"original", "images"})),
    "clip_activations": Strategy(_clip, "Clip activations", frozenset({"ranges"})),
    "zero_suspects": Strategy(_zero_suspects, "Zero by checksum", frozenset({"signatures"})),
    "zero_suspects_batch_norm": Strategy(
        _zero_suspects_reestimate, "Zero, batch norm anew", frozenset({"signatures", "images"})
    ),
    "mend": Strategy(_mend, "Mend by checksum", frozenset({"signatures"})),
    "recollect": Strategy(_recollect, "Collect data anew", frozenset({"labels", "clean data"})),
    "pretraining_part": Strategy(
        _pretraining_part, "A tenth of the old data", frozenset({"labels", "clean data"})
    ),
    "drop_suspects": Strategy(_drop_suspects, "Drop suspected samples", frozenset({"labels"})),
}


def checked_strategies(names: Sequence[str] | None) -> list[str]:
    """Returns the names of strategies, "nothing" first; None takes all.

    Raises:
        UserError: there is none of a name.
    """
    wanted = list(STRATEGIES if names is None else names)
    if unknown := [name for name in wanted if name not in STRATEGIES]:
        raise UserError(f"There is no strategy {unknown[0]!r}.{suggestion(unknown[0], STRATEGIES)}")
    return list(dict.fromkeys(["nothing", *wanted]))


def _known(patient: Patient) -> list[str]:
    layers = patient.damaged_layers()
    if not layers:
        raise NotApplicableError("It is not known which layers are damaged.")
    return layers


@torch.no_grad()
def _restore(patient: Patient, layers: list[str]) -> None:
    if not layers:
        raise NotApplicableError("It is not known which layers are damaged.")
    original = patient.original()
    for name in layers:
        patient.classifier.set_submodule(name, original.get_submodule(name))


def _signed(patient: Patient) -> dict[str, torch.Tensor]:
    """The weights that were signed, sharing the classifier's memory."""
    state = patient.classifier.state_dict()
    names = patient.signatures().steps
    patient.spent.storage_bits -= patient.stored.signatures.bits  # asked twice, stored once
    if any(name not in state for name in names):
        raise NotApplicableError("The damaged model no longer has the weights that were signed.")
    weights = {name: state[name] for name in names}
    original = patient.stored.original.state_dict()
    if any(weights[name].shape != original[name].shape for name in names):
        raise NotApplicableError("The damaged model no longer has the weights that were signed.")
    return weights


def _below(model: nn.Module, layers: list[str]) -> Trainable:
    """Every parameter of some modules, the bias and norms included."""
    found = tuple(f"{layer}." for layer in layers)
    return {name: None for name, _ in model.named_parameters() if name.startswith(found)}


def _head(classifier: Classifier) -> str:
    return f"model.{head_name(classifier.model)}"
