"""The clients of a federation, what each of them has, and what all of them may see."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from callbacks.digests import model_digest
from datamodules import ImageDataModule
from datamodules.errors import UserError
from datamodules.images import Images
from datamodules.partition import partition
from datamodules.splits import stratified_split
from lightning_modules import Classifier, Tuning
from lightning_modules.distillation import FederatedRecipe
from lightning_modules.duplication import duplicate
from lightning_modules.saved_model import plain_state
from pipelines.audit.fingerprints import pixel_digests, stored
from pipelines.distill.plan import adopted
from pipelines.study import DataLike, ModelLike, Study, unique

_VERSION = 2
"""To be raised with whatever changes the weights that a federation ends with."""


@dataclass(frozen=True)
class Client:
    """One of those who take part.

    Args:
        name: `1 lenet`.
        classifier: as it starts.
        images: its own.
        group: clients of one group have networks of one shape, which can be averaged.
        tuning: optimizer and schedule of every piece of its training, whose learning rate follows
            from how it starts: after its first piece all weights are trained ones.
    """

    name: str
    classifier: Classifier
    images: Images
    group: str
    tuning: Tuning


@dataclass(frozen=True)
class Plan:
    """Everything that decides what becomes of the clients.

    Args:
        clients: in their order.
        data: gives the test images.
        public: data module and images that all of them see, without labels.
        recipe: how they learn from each other.
        tuning: optimizer and schedule as the user said them; see `Client`.
        seed: of the order of images.
    """

    clients: Sequence[Client]
    data: ImageDataModule
    public: tuple[ImageDataModule, Images]
    recipe: FederatedRecipe
    tuning: Tuning
    seed: int

    @property
    def everything(self) -> Images:
        """The private images of all clients in one place."""
        whole = self.data.images("train")
        index = torch.cat([client.images.index for client in self.clients])
        return whole.subset(torch.isin(whole.index, index).nonzero()[:, 0])

    @property
    def counts(self) -> list[list[int]]:
        """Images of each class, a list for every client."""
        classes = self.data.num_classes
        return [c.images.label.bincount(minlength=classes).tolist() for c in self.clients]

    def facts(self, study: Study) -> dict[str, Any]:
        """What the weights and numbers of all clients depend on."""
        return {
            "version": _VERSION,
            "clients": [
                (model_digest(c.classifier), repr(c.classifier.preprocessing), c.images.digest())
                for c in self.clients
            ],
            "public": [self.public[1].digest(), self.public[0].as_trained_on()],
            "test": self.data.images("test").digest(),
            "recipe": asdict(self.recipe),
            "tuning": asdict(self.tuning),
            "data": self.data.as_trained_on(),
            "seed": self.seed,
            "flags": {k: repr(v) for k, v in sorted(study.flags.items())},
            **study.computed_on,
        }


def make_plan(
    study: Study,
    clients: Sequence[ModelLike],
    data: ImageDataModule,
    public: DataLike | None,
    recipe: FederatedRecipe,
    tuning: Tuning,
) -> Plan:
    """Opens the networks and deals out the images.

    Args:
        study: gets the clients as the models that it is about.
        clients: see `federate`, like all that follow.
        data: is split among the clients.
        public: other images; None takes a share of the training images.
        recipe: how they learn.
        tuning: how each trains.

    Raises:
        UserError: fewer than two clients, or too few images for them.
    """
    common, private = _divided(study, data, public, recipe)
    label = private.label
    parts = partition(label, len(clients), recipe.split, recipe.alpha, study.seed)
    networks = [_opened(study, model, data, i) for i, model in enumerate(clients)]
    groups = [_group(network) for network in networks]
    if recipe.method == "feddf":  # a server begins with one network a group
        leaders = [networks[groups.index(group)] for group in groups]
        study.notes += _replaced(networks, leaders)
        networks = [_started_as(*pair) for pair in zip(leaders, networks, strict=True)]
    names = [f"{i + 1} {_short(network)}" for i, network in enumerate(networks)]
    own = [tuning.filled(network.pretrained) for network in networks]
    shares = (private.subset(p) for p in parts)
    made = zip(unique(names), networks, shares, groups, own, strict=True)
    return Plan([Client(*one) for one in made], data, common, recipe, tuning, study.seed)


def _divided(
    study: Study, data: ImageDataModule, public: DataLike | None, recipe: FederatedRecipe
) -> tuple[tuple[ImageDataModule, Images], Images]:
    """The public images with the data they are of, and those that are dealt out."""
    train = data.images("train")
    if public is not None:
        if recipe.public_share != FederatedRecipe.public_share:
            raise UserError(
                "Got `federated.public_share` with `public` data: leave one of them out."
            )
        other = study.open_data(public)
        return (other, _unseen(study, other.images("train"), data.images("test"))), train
    rest, shared = stratified_split(train.label, recipe.public_share, study.seed)
    return (data, train.subset(shared)), train.subset(rest)


def _unseen(study: Study, public: Images, test: Images) -> Images:
    """Public images that are no test images: others would be answered after training on them."""
    known = {digest for block in stored(test) for digest in pixel_digests(block)}
    found = [digest in known for block in stored(public) for digest in pixel_digests(block)]
    if all(found):
        raise UserError("Expected `public` images of their own, but all are test images of `data`.")
    if count := sum(found):
        study.notes.append(f"{count:,} public images are test images too, and were left out.")
    return public.subset((~torch.tensor(found)).nonzero()[:, 0])


def _opened(study: Study, model: ModelLike, data: ImageDataModule, place: int) -> Classifier:
    """A client's network; fresh weights are drawn for each of them."""
    L.seed_everything(study.seed + place, verbose=False)
    arch = study.archs[min(place, len(study.archs) - 1)] if study.archs else None
    if not isinstance(model, str):
        model = duplicate(model)
    with adopted(data, data.native):
        return study.open_model(model, data, new_head=True, arch=arch)


def _group(classifier: Classifier) -> str:
    """What two networks share that can be averaged."""
    state = plain_state(classifier.model.state_dict())
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    return f"{classifier.architecture} {classifier.preprocessing} {shapes}"


def _replaced(networks: Sequence[Classifier], leaders: Sequence[Classifier]) -> list[str]:
    """Says whose trained weights are left for those of another client."""
    return [
        f"Client {i + 1} ({network.title}) starts with the weights of client "
        f"{networks.index(leader) + 1} ({leader.title}), not its own: a server of feddf begins "
        "with one network for all clients of one architecture; fedmd leaves each its own."
        for i, (network, leader) in enumerate(zip(networks, leaders, strict=True))
        if network.pretrained and not _equal(network, leader)
    ]


def _equal(one: Classifier, other: Classifier) -> bool:
    states = (plain_state(network.model.state_dict()) for network in (one, other))
    return all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def _started_as(first: Classifier, classifier: Classifier) -> Classifier:
    state: dict[str, Tensor] = first.model.state_dict()
    classifier.model.load_state_dict(state)
    return classifier


def _short(classifier: Classifier) -> str:
    return classifier.architecture.rpartition(":")[2]
