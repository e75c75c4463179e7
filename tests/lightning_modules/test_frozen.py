"""In every mode and odd network: what is frozen keeps its bits, and what is shown is what is saved.

The oracle is a forward of the saved weights that is written out by hand.
"""

import sys
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules import Batch, UserError
from lightning_modules import Classifier, Tuning, load_classifier
from lightning_modules.examination import examine
from lightning_modules.modes import tuned_module
from lightning_modules.probe_tuning import ProbeTuning
from lightning_modules.trial import is_lazy

MODES = ("linear_probe", "last_k", "staged", "l2_sp", "full", "lora", "adapter")
ByHand = Callable[[Any, Tensor], Tensor]


class AliasedWeight(nn.Module):
    """The weight of a layer is a parameter of the network too, which reads it by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 64)
        self.w, self.fc = self.inner.weight, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x.flatten(1)).relu()
        return self.fc(x + F.linear(x, self.w).relu())


def aliased_weight_by_hand(net: Any, x: Tensor) -> Tensor:
    x = (x.flatten(1) @ net.w.T + net.inner.bias).clamp_min(0)
    return (x + (x @ net.w.T).clamp_min(0)) @ net.fc.weight.T + net.fc.bias


class TiedEmbedding(nn.Module):
    """One weight in a linear layer and in an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.table = nn.Linear(64, 32), nn.Embedding(16, 32)
        self.code, self.fc = nn.Linear(32, 16, bias=False), nn.Linear(48, 10)
        self.code.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        code = self.code(self.inner(x.flatten(1)).relu())
        return self.fc(torch.cat([code.relu(), self.table(code.argmax(1))], 1))


def tied_embedding_by_hand(net: Any, x: Tensor) -> Tensor:
    w = net.table.weight
    code = (x.flatten(1) @ net.inner.weight.T + net.inner.bias).clamp_min(0) @ w.T
    both = torch.cat([code.clamp_min(0), w[code.argmax(1)]], 1)
    return both @ net.fc.weight.T + net.fc.bias


class SharedBlock(nn.Module):
    """One convolution and batch norm in two blocks."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.stem, self.one = nn.Conv2d(1, 8, 3, padding=1), nn.Sequential(block)
        self.two = nn.Sequential(nn.Conv2d(8, 8, 1), block)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.two(self.one(self.stem(x).relu())).mean((2, 3)))


def shared_block_by_hand(net: Any, x: Tensor) -> Tensor:
    conv, norm, _ = net.one[0]

    def block(x: Tensor) -> Tensor:
        mean, variance = (v[:, None, None] for v in (norm.running_mean, norm.running_var))
        x = (F.conv2d(x, conv.weight, conv.bias, padding=1) - mean) / (variance + 1e-5).sqrt()
        return (x * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp_min(0)

    x = block(F.conv2d(x, net.stem.weight, net.stem.bias, padding=1).clamp_min(0))
    x = block(F.conv2d(x, net.two[0].weight, net.two[0].bias))
    return x.mean((2, 3)) @ net.fc.weight.T + net.fc.bias


class TiedHead(nn.Module):
    """The last layer and one before it have one weight, which an attribute may hide."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.inner, self.fc = nn.Linear(64, 10), nn.Linear(10, 10)
        self.kept = (self.fc.weight,)  # no registered parameter
        if not hidden:
            self.mid = self.fc.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x.flatten(1)).relu()
        return self.fc(x + F.linear(x, self.kept[0]).relu())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], ByHand]] = {
    "aliased weight": (AliasedWeight, aliased_weight_by_hand),
    "tied embedding": (TiedEmbedding, tied_embedding_by_hand),
    "shared block": (SharedBlock, shared_block_by_hand),
}


def batches(digits: Batch, shape: tuple[int, ...], classes: int) -> list[Batch]:
    """Digits of another size and number of channels, as batches of 50."""
    image = F.interpolate(digits.image, shape[1:]).expand(-1, shape[0], -1, -1).contiguous()
    whole = Batch(image, digits.label % classes, digits.index)
    return [Batch(*(c[i : i + 50] for c in whole)) for i in range(0, 200, 50)]


def trained(module: L.LightningModule, parts: list[Batch], epochs: int) -> L.Trainer:
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", devices=1, max_epochs=epochs,
                        enable_checkpointing=False, **quiet)  # fmt: skip
    first, second = (DataLoader(parts, batch_size=None) for _ in range(2))  # type: ignore[arg-type]
    trainer.fit(module, first, second)
    return trainer


def frozen_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters without gradient and update; statistics of norms that are so, or in eval mode."""
    found = {
        name: p
        for name, p in model.named_parameters()
        if not p.requires_grad and "parametrizations." not in name
    }
    for place, part in model.named_modules():
        norm = isinstance(part, nn.modules.batchnorm._BatchNorm)
        flags = [p.requires_grad for p in part.parameters()]
        if norm and (not part.training or (flags and not any(flags))):
            found |= {f"{place}.{name}": b for name, b in part.named_buffers(recurse=False)}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def check(
    make: Callable[[], nn.Module], by_hand: ByHand | None, mode: Any, parts: list[Batch], k: int
) -> bool:
    """Holds a mode to its word; False where it refuses, in a sentence."""
    names = [f"class {i}" for i in "abcdefghij"[:k]]
    classifier = load_classifier(make(), data_classes=names)
    examine(classifier, parts[0].image[:12])
    try:
        module = tuned_module(classifier, Tuning(mode=mode, lr=0.01), 3)
    except UserError:
        return False
    module.train()
    frozen = frozen_state(classifier.model)
    learning = {p: p.detach().clone() for p in classifier.model.parameters() if p.requires_grad}
    trainer = trained(module, parts, 1 if mode == "staged" else 2)
    assert any(not torch.equal(p, before) for p, before in learning.items())
    module.finish()
    state = classifier.model.state_dict()
    assert all(torch.equal(state[name], before) for name, before in frozen.items())
    if by_hand is not None:
        fresh: Any = load_classifier(make(), data_classes=names).model  # without wrappers
        if is_lazy(fresh):
            fresh(parts[0].image)
        fresh.load_state_dict(state)
        with torch.no_grad():
            right = [(by_hand(fresh, b.image).argmax(1) == b.label).sum().item() for b in parts]
        shown = float(trainer.callback_metrics["val/acc"])
        assert shown == pytest.approx(sum(right) / 200, abs=0.0051)  # one that is nearly a tie
    return True


REFUSED = {("aliased weight", "adapter"), ("tied embedding", "adapter")}  # no convolution


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_shared_weights(name: str, mode: str, digits: Batch) -> None:
    make, by_hand = NETWORKS[name]

    def drawn() -> nn.Module:
        torch.manual_seed(0)
        return make().eval()

    parts = batches(digits, (1, 8, 8), 10)
    assert check(drawn, by_hand, mode, parts, 10) == ((name, mode) not in REFUSED)


QUICK = ("aliases", "tied", "transformer encoder", "rectifier in place")


def answers(odd: Any) -> bool:
    """Whether it can learn at all, in a type that does not round its steps away."""
    return not odd.refused and odd.gradient and odd.tolerance <= 1e-5


@pytest.mark.odd(where=answers)
@pytest.mark.odd(where=lambda odd: odd.name in QUICK)
@pytest.mark.parametrize("mode", MODES)
def test_odd_networks(odd: Any, mode: str, digits: Batch) -> None:
    check(odd.network, odd.by_hand, mode, batches(digits, odd.shape, odd.classes), odd.classes)


@pytest.mark.slow
@pytest.mark.odd(where=answers)
@pytest.mark.odd(where=lambda odd: odd.name not in QUICK)
@pytest.mark.parametrize("mode", MODES)
def test_all_other_odd_networks(odd: Any, mode: str, digits: Batch) -> None:
    check(odd.network, odd.by_hand, mode, batches(digits, odd.shape, odd.classes), odd.classes)


def test_a_shared_block_learns_with_its_last_place(digits: Batch) -> None:
    torch.manual_seed(0)
    classifier = load_classifier(SharedBlock(), data_classes="abcdefghij")
    module = tuned_module(classifier, Tuning(mode="last_k", last_k=2), 1)
    learning = {name for name, p in classifier.model.named_parameters() if p.requires_grad}
    assert learning == {
        f"{part}.{tensor}" for part in ("one.0.0", "one.0.1", "fc") for tensor in ("weight", "bias")
    }
    trained(module, batches(digits, (1, 8, 8), 10), 1)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_head_that_the_backbone_reads_is_refused(hidden: bool) -> None:
    """By its name, or because what goes into it moves with it."""
    classifier = load_classifier(TiedHead(hidden), data_classes="abcdefghij")
    with pytest.raises(UserError, match="stays as it is" if hidden else "weights of its own"):
        tuned_module(classifier, Tuning(mode="linear_probe"), 1)


def test_a_weight_that_is_read_unseen_takes_no_update() -> None:
    class Hidden(AliasedWeight):
        def __init__(self) -> None:
            super().__init__()
            own = self.w
            del self.w
            self.kept = (own,)

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner(x.flatten(1)).relu()
            return self.fc(x + F.linear(x, self.kept[0]).relu())

    classifier = load_classifier(Hidden(), data_classes="abcdefghij")
    with pytest.raises(UserError, match="beside its weights and within them"):
        tuned_module(classifier, Tuning(mode="lora"), 1)


ASKED = {"dropout in tests": "is random", "batch statistics": "other images of a batch",
         "one logit": "no linear function", "own hook": "no plain layer"}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_what_cannot_be_kept_is_asked_every_time_and_said(name: str, digits: Batch) -> None:
    odd = next(odd for odd in sys.modules["odd_networks"].ODD if odd.name == name)
    parts = batches(digits, odd.shape, odd.classes)
    classifier: Classifier = load_classifier(odd.network(), data_classes="abcd"[: odd.classes])
    examine(classifier, parts[0].image[:12])
    module = tuned_module(classifier, Tuning(mode="linear_probe"), 1)
    assert ASKED[name] in module.told
    calls: list[int] = []
    convolution: Any = classifier.model.get_submodule("conv")
    convolution.register_forward_hook(lambda *_: calls.append(1))
    trained(module, parts, 2)
    assert len(calls) == 2 * 8 + 2, "two epochs of training and validation, and two to try"


def test_kept_features_of_changing_images_are_found_out(digits: Batch) -> None:
    """The same index is another image in every epoch, which no option says."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    classifier = load_classifier(network, data_classes="abcdefghij")
    module = tuned_module(classifier, Tuning(mode="linear_probe", lr=0.1), 2)
    assert isinstance(module, ProbeTuning)
    parts = batches(digits, (1, 8, 8), 10)

    class Changing(torch.utils.data.Dataset[Batch]):
        epoch = 0

        def __len__(self) -> int:
            return 4

        def __getitem__(self, i: int) -> Batch:
            self.epoch += i == 0
            return parts[i]._replace(image=parts[i].image.roll(self.epoch, -1))

    with pytest.raises(UserError, match="as from its kept features"):
        trained(module, Changing(), 3)  # type: ignore[arg-type]
