"""Ways to repair a damaged model, each declaring what it is allowed to know.

A new one is a function and a line in `STRATEGIES`; `assay recover`, the atlas and the contract
tests find it there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from callbacks.damage.layers import Shortcut
from callbacks.damage.selection import owner_of
from datamodules.errors import UserError, suggestion
from datamodules.suspects import suspects
from lightning_modules import Classifier
from lightning_modules.heads import head_name
from lightning_modules.recovery import Trainable, clipped, reestimate
from lightning_modules.recovery.batch_norm import NotApplicableError
from pipelines.recover.repair import Knowledge, Repair
from pipelines.recover.training import train


@dataclass(frozen=True)
class Strategy:
    """A way to repair.

    Args:
        apply: changes the repair's classifier, or replaces it.
        title: for tables and figures.
        knows: what it is allowed to know.
    """

    apply: Callable[[Repair], None]
    title: str
    knows: frozenset[Knowledge] = frozenset()

    @property
    def trains(self) -> bool:
        """Whether optimizer and learning rate matter."""
        return "labels" in self.knows or self.apply is _distil


def _knows(*what: Knowledge) -> frozenset[Knowledge]:
    return frozenset(what)


def _nothing(repair: Repair) -> None:
    """Leaves the damage: what every repair is to be compared with."""


def _retrain_all(repair: Repair) -> None:
    """Trains every weight on."""
    train(repair)


def _retrain_damaged(repair: Repair) -> None:
    """Elements that are not damaged keep their bits."""
    hit = {} if repair.held else repair.location()  # what is removed cannot learn
    trainable: Trainable = dict(hit) or _inside(repair.classifier, repair.damaged_layers())
    if not trainable:
        raise NotApplicableError("It is not known which weights are damaged.")
    train(repair, trainable)


def _regrow(repair: Repair) -> None:
    """Removed connections and channels come back, with no or fresh weights; all is trained."""
    kept = repair.kept_channels()
    if not repair.held and not kept:
        raise NotApplicableError("No connections and no channels were removed.")
    if kept:
        whole = repair.fresh_layers([""])[""]
        assert isinstance(whole, Classifier)
        _fill(whole, repair.classifier, kept)
        repair.classifier = whole
    repair.held = {}
    train(repair)


@torch.no_grad()
def _fill(whole: nn.Module, part: nn.Module, kept: dict[str, Tensor]) -> None:
    """Writes the numbers that are left into a network of the undamaged shapes."""
    state = whole.state_dict()
    for name, value in part.state_dict().items():
        if name in kept:
            state[name].put_(kept[name].to(value.device), value)
        else:
            state[name].copy_(value)


def _retrain_last(repair: Repair) -> None:
    """Trains the last layer alone."""
    try:
        head = f"model.{head_name(repair.classifier.model)}"
    except UserError as reason:
        raise NotApplicableError(str(reason)) from reason
    train(repair, _inside(repair.classifier, [head]))


def _restore_all(repair: Repair) -> None:
    """Takes the original back: what exact recovery would be."""
    repair.classifier = repair.original()


def _restore_worst_layer(repair: Repair) -> None:
    """Takes the most damaged layer from the original."""
    (layer, *_), shapes = _located(repair), dict(repair.classifier.named_parameters())
    if any(repair.shape(name) != p.shape for name, p in shapes.items()):
        raise NotApplicableError("Channels are gone: one layer alone no longer fits the others.")
    _restore(repair, [layer])


def _restore_half(repair: Repair) -> None:
    """A random half of the damaged elements, as after a checkpoint that is lost in part."""
    hit = repair.location()
    if not hit:
        raise NotApplicableError("There are no single damaged weights of which half is left.")
    original, state = repair.original().state_dict(), repair.classifier.state_dict()
    draw = torch.Generator().manual_seed(repair.seed)
    for name, mask in hit.items():
        chosen = mask & (torch.rand(mask.shape, generator=draw) < 0.5)
        state[name].copy_(torch.where(chosen.to(state[name].device), original[name], state[name]))


def _rebuild(repair: Repair) -> None:
    """Damaged layers begin anew, then everything is trained."""
    for name, layer in repair.fresh_layers(_located(repair)).items():
        _put(repair.classifier, name, layer)
    train(repair)


def _rebuild_pretrained(repair: Repair) -> None:
    """Damaged layers are taken from the original, then the last layers are trained."""
    _restore(repair, _located(repair))
    _retrain_last(repair)


def _reestimate(repair: Repair) -> None:
    """Measures batch-norm statistics anew on unlabelled images."""
    device = repair.classifier.device
    repair.spent.forwards += reestimate(repair.classifier, repair.images().to(device).split(128))


def _distil(repair: Repair) -> None:
    """Learns the original's answers to unlabelled images."""
    train(repair, teacher=repair.original())


def _clip(repair: Repair) -> None:
    """Keeps activations inside the range they had before the damage."""
    clipped(repair.classifier, repair.ranges())


def _zero_suspects(repair: Repair) -> None:
    """RADAR's repair: weights whose checksums differ are set to zero."""
    weights = _signed(repair)
    for name, mask in repair.signatures().suspects(weights).items():
        weights[name][mask.to(weights[name].device)] = 0


def _zero_suspects_reestimate(repair: Repair) -> None:
    """Zeroes what checksums point at, then measures batch norm anew."""
    _zero_suspects(repair)
    _reestimate(repair)


def _correct(repair: Repair) -> None:
    """Flips that the checksums can name are taken back."""
    weights = _signed(repair)
    signatures = repair.signatures()
    for name, corrected in signatures.mended(weights).items():
        weights[name].copy_(corrected)
    if left := signatures.differing(weights):
        groups = len(signatures.stored[0])
        repair.note = f"The checksums of {left:,} of {groups:,} groups still differ afterwards."


def _recollect(repair: Repair) -> None:
    """Trains on data as it was before it was spoiled."""
    train(repair, data=repair.undamaged_data())


def _pretraining_part(repair: Repair) -> None:
    """Retrains on a tenth of the undamaged training data."""
    data = repair.undamaged_data()
    images = data.images("train")
    draw = torch.Generator().manual_seed(repair.seed)
    part = torch.randperm(len(images), generator=draw)[: max(1, len(images) // 10)]
    train(repair, data=data.with_images(train=images.subset(part)))


def _drop_suspects(repair: Repair) -> None:
    """Leaves out training samples whose labels the damaged model itself finds suspicious."""
    images = repair.data.images("train")
    batch = repair.data.taken("train", len(images))
    with torch.no_grad():
        model = repair.classifier.eval()
        parts = batch.image.split(512)
        parts = [model(part.to(model.device)).softmax(1).cpu() for part in parts]
    repair.spent.forwards += len(images)
    repair.reads(len(images), len(images))
    suspect = suspects(torch.cat(parts).nan_to_num(0), batch.label)
    position = {index: row for row, index in enumerate(images.index.tolist())}
    kept = torch.tensor([position[index] for index in batch.index[~suspect].tolist()])
    train(repair, data=repair.data.with_images(train=images.subset(kept.sort().values)))


STRATEGIES: dict[str, Strategy] = {
    "nothing": Strategy(_nothing, "Do nothing"),
    "retrain_all": Strategy(_retrain_all, "Retrain all", _knows("labels")),
    "retrain_damaged": Strategy(
        _retrain_damaged, "Retrain the damaged", _knows("labels", "location")
    ),
    "retrain_last": Strategy(_retrain_last, "Retrain the last layer", _knows("labels")),
    "regrow": Strategy(_regrow, "Grow anew and retrain", _knows("labels", "location")),
    "restore_all": Strategy(_restore_all, "Restore all", _knows("original")),
    "restore_worst_layer": Strategy(
        _restore_worst_layer, "Restore worst layer", _knows("original", "location")
    ),
    "restore_half": Strategy(_restore_half, "Restore half", _knows("original", "location")),
    "rebuild": Strategy(_rebuild, "Rebuild and retrain", _knows("labels", "location")),
    "rebuild_pretrained": Strategy(
        _rebuild_pretrained, "Rebuild from original", _knows("original", "labels", "location")
    ),
    "reestimate_batch_norm": Strategy(_reestimate, "Batch norm anew", _knows("images")),
    "distil": Strategy(_distil, "Distil from original", _knows("original", "images")),
    "clip_activations": Strategy(_clip, "Clip activations", _knows("ranges")),
    "zero_suspects": Strategy(_zero_suspects, "Zero by checksum", _knows("signatures")),
    "zero_suspects_batch_norm": Strategy(
        _zero_suspects_reestimate, "Zero, batch norm anew", _knows("signatures", "images")
    ),
    "mend": Strategy(_correct, "Correct by checksum", _knows("signatures")),
    "recollect": Strategy(_recollect, "Collect data anew", _knows("labels", "clean data")),
    "pretraining_part": Strategy(
        _pretraining_part, "A tenth of old data", _knows("labels", "clean data")
    ),
    "drop_suspects": Strategy(_drop_suspects, "Drop suspected samples", _knows("labels")),
}


def strategy_named(name: str) -> Strategy:
    """A strategy; of one that is not known here, for instance of a result on disk, its name."""
    return STRATEGIES.get(name) or Strategy(_nothing, name)


def checked_strategies(names: Sequence[str] | None) -> list[str]:
    """Returns the names of strategies, "nothing" first; None takes all.

    Raises:
        UserError: there is none of a name.
    """
    wanted = list(STRATEGIES if names is None else names)
    if unknown := [name for name in wanted if name not in STRATEGIES]:
        raise UserError(f"There is no strategy {unknown[0]!r}.{suggestion(unknown[0], STRATEGIES)}")
    return list(dict.fromkeys(["nothing", *wanted]))


def _located(repair: Repair) -> list[str]:
    """The damaged layers, where it is known which they are."""
    layers = repair.damaged_layers()
    if not layers:
        raise NotApplicableError("It is not known which layers are damaged.")
    return layers


def _restore(repair: Repair, layers: list[str]) -> None:
    original = repair.original()
    for name in layers:
        _put(repair.classifier, name, original.get_submodule(name))


@torch.no_grad()
def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Gives a layer the parameters of another; a layer that is gone is put back whole.

    In place, because the layer may have a second name; and only what is its own, because an
    embedding belongs to the module that holds the whole network.
    """
    own = model.get_submodule(name)
    theirs = {n: p for n, p in layer.named_parameters() if owner_of(f"{name}.{n}") == name}
    mine = {n: p for n, p in own.named_parameters() if n in theirs}
    if isinstance(own, Shortcut) or any(mine[n].shape != p.shape for n, p in theirs.items()):
        model.set_submodule(name, layer)
        return
    for parameter, value in theirs.items():
        mine[parameter].copy_(value)


def _signed(repair: Repair) -> dict[str, Tensor]:
    """The weights that were signed, sharing the classifier's memory."""
    state, names = repair.classifier.state_dict(), list(repair.signatures().steps)
    if any(name not in state or state[name].shape != repair.shape(name) for name in names):
        raise NotApplicableError("The damaged model no longer has the weights that were signed.")
    return {name: state[name] for name in names}


def _inside(model: nn.Module, layers: list[str]) -> Trainable:
    """Every parameter of some modules, biases and norms included."""
    prefixes = tuple(f"{layer}." for layer in layers)
    return {name: None for name, _ in model.named_parameters() if name.startswith(prefixes)}
