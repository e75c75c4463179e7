"""What learns and what stays bit-equal when a network is freed by blocks or held by springs."""

import copy
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules import UserError
from lightning_modules import Classifier, Tuning, build
from lightning_modules.blocks import block_of, blocks
from lightning_modules.l2_sp import L2SPTuning, l2_sp
from lightning_modules.staged import StagedTuning, Unfreezing, unfrozen_by

Fit = Callable[..., L.Trainer]
# The test network: convolution 0, batch norm 1, head 5.
HEAD, NORM = {"5.weight", "5.bias"}, {f"1.{n}" for n in ("weight", "bias", "running_mean")}
NORM |= {"1.running_var", "1.num_batches_tracked"}
STEM = {"0.weight"}  # without its bias, which the norm behind it takes off again: no gradient


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("lenet", "conv1 conv2 fc1 fc2 fc3"),
        ("cifar_resnet20", "conv1 bn1 layer1.0 layer1.1 layer1.2 layer2.0 layer2.1 layer2.2"),
        ("torchvision:resnet18", "conv1 bn1 layer1.0 layer1.1 layer2.0 layer2.1 layer3.0"),
        ("torchvision:vgg11", "features.0 features.3 features.6"),
        ("torchvision:vit_b_16", "conv_proj encoder.layers.encoder_layer_0"),
    ],
)
def test_blocks_of_networks(architecture: str, expected: str) -> None:
    with torch.device("meta"):
        model = build(architecture, 10)
    found = blocks(model)
    assert list(found[: len(expected.split())]) == expected.split()
    assert found[-1] in ("fc3", "linear", "fc", "classifier.6", "heads.head")
    assert len(found) == len(set(found)) <= 25
    owned = {block_of(found, name) for name, _ in model.named_parameters()}
    assert owned == set(found)


LAST: dict[str, tuple[Unfreezing, set[str]]] = {
    "head": (Unfreezing(1, 0), HEAD),
    "last block": (Unfreezing(2, 0), HEAD | NORM),
    "everything": (Unfreezing(9, 0), HEAD | NORM | STEM),
    "slowly": (Unfreezing(1, 1, every=2), HEAD | NORM),
    "quickly": (Unfreezing(1, 1), HEAD | NORM | STEM),
}


@pytest.mark.parametrize(("unfreezing", "expected"), LAST.values(), ids=LAST)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_what_is_free_changes(
    unfreezing: Unfreezing, expected: set[str], optimizer: str, classifier: Classifier, fit: Fit
) -> None:
    before = state(classifier.model)
    tuning = Tuning(optimizer=optimizer, weight_decay=0.1)  # type: ignore[arg-type]
    fit(StagedTuning(classifier, tuning, unfreezing), max_epochs=3)
    assert changed(before, classifier.model) - {"0.bias"} == expected


def test_stages_after_a_resume(classifier: Classifier, fit: Fit, tmp_path: Path) -> None:
    """Lightning's own helper re-freezes, or frees too early, when it is resumed."""
    start = state(classifier.model)

    def train(epochs: int, **more: object) -> StagedTuning:
        torch.manual_seed(1)
        classifier.model.load_state_dict(start)
        module = StagedTuning(classifier, Tuning(schedule="constant", warmup=0), Unfreezing())
        fit(module, max_epochs=epochs, enable_checkpointing=True, **more)
        return module

    def keep(name: str) -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, name)

    train(1, callbacks=[keep("first")])
    assert changed(start, classifier.model) == HEAD
    first = state(classifier.model)
    module = train(2, ckpt_path=tmp_path / "first.ckpt", callbacks=[keep("second")])
    assert changed(first, classifier.model) == HEAD | NORM
    assert changed(start, classifier.model) == HEAD | NORM
    assert module.learning == ("1", "5")
    train(3, ckpt_path=tmp_path / "second.ckpt", callbacks=[keep("third")])
    assert changed(start, classifier.model) - {"0.bias"} == HEAD | NORM | STEM


def test_the_held_part_is_in_eval_mode(classifier: Classifier) -> None:
    module = StagedTuning(classifier, unfreezing=Unfreezing())
    module.train()
    assert [n for n, part in classifier.model.named_modules() if part.training] == ["5"]
    module.free(1)
    assert [n for n, part in classifier.model.named_modules() if part.training] == ["1", "5"]
    module.free(2)
    assert all(part.training for part in classifier.model.modules())
    module.eval()
    module.free(1)
    assert not any(part.training for part in module.modules())


def test_every_network_is_free_in_time() -> None:
    for name, epochs in (("lenet", 3), ("cifar_resnet20", 5), ("cifar_resnet56", 10)):
        model = build(name, 10)
        assert unfrozen_by(model, epochs).learning(epochs - 1) >= len(blocks(model))
    assert unfrozen_by(build("lenet", 10), 1).first == 1


def test_the_penalty_has_a_closed_form() -> None:
    weights = {"a": torch.tensor([3.0, 4.0]), "head": torch.tensor([2.0])}
    start = {"a": torch.tensor([0.0, 0.0])}
    assert float(l2_sp(weights, start, 0.5, 0.1)) == pytest.approx(0.25 * 25 + 0.05 * 4)
    assert float(l2_sp(weights, weights, 1, 1)) == 0


def test_springs_hold(classifier: Classifier, fit: Fit) -> None:
    """With a hard spring the backbone hardly moves; the head, which has none, does."""
    start, ways = state(classifier.model), []
    for alpha in (0.0, 100.0):
        torch.manual_seed(0)
        classifier.model.load_state_dict(start)
        recipe = Tuning(optimizer="sgd", lr=0.005, momentum=0.0, weight_decay=0.0)
        module = L2SPTuning(classifier, recipe, alpha=alpha, beta=0.0)
        assert set(module.start) == {"0.weight", "0.bias", "1.weight", "1.bias"}
        assert not [name for name in module.state_dict() if "_start" in name]
        fit(module, max_epochs=3)
        ways.append(float((classifier.model.state_dict()["0.weight"] - start["0.weight"]).norm()))
        assert changed(start, classifier.model) >= HEAD
    assert ways[1] < 0.5 * ways[0]


def test_the_gradient_is_the_springs(classifier: Classifier) -> None:
    module = L2SPTuning(classifier, Tuning(weight_decay=0), alpha=0.3, beta=0.2)
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.add_(0.1)
    weights = dict(classifier.model.named_parameters())
    l2_sp(weights, module.start, module.alpha, module.beta).backward()
    assert torch.allclose(weights["0.weight"].grad, torch.tensor(0.03), atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(weights["5.weight"].grad, 0.2 * weights["5.weight"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: StagedTuning(c, Tuning(mode="linear_probe")), "mode` full"),
        (lambda c: L2SPTuning(c, Tuning(mode="linear_probe")), "mode` full"),
        (lambda c: L2SPTuning(c, alpha=-1), "at least 0, but got -1"),
        (lambda c: Unfreezing(first=0), "`first` of the unfreezing to be at least 1, but got 0"),
    ],
)
def test_mistakes(
    make: Callable[[Classifier], object], message: str, classifier: Classifier
) -> None:
    with pytest.raises(UserError, match=message):
        make(classifier)
