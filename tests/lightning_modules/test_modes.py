"""Modes of a fine-tuning: what each changes, what is asked for once, what is refused."""

import copy
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from callbacks.adversarial import AdversarialTraining
from datamodules import Batch, Digits, Preprocessing, UserError
from lightning_modules import Classifier, FineTuning, GaussianNoise, Tuning
from lightning_modules.distillation.cache import AnswerCache
from lightning_modules.linear_probe import Regression, fit_linear_probe
from lightning_modules.modes import tuned_module
from lightning_modules.robust import RobustFineTuning, RobustRecipe

Fit = Callable[..., Any]
# The test network: convolution 0, batch norm 1, head 5.
HEAD, NORM = {"5.weight", "5.bias"}, {f"1.{n}" for n in ("weight", "bias", "running_mean")}
NORM |= {"1.running_var", "1.num_batches_tracked"}
ALL = HEAD | NORM | {"0.weight", "0.bias"}
CHANGED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "full": ({}, ALL),
    "linear_probe": ({}, HEAD),
    "last_k": ({}, HEAD | NORM),
    "staged": ({}, ALL - {"0.bias"}),  # its gradient is 0: the norm behind takes it off again
    "l2_sp": ({"alpha": 0.5}, ALL),
    "lp_ft": ({}, ALL),
}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}


@pytest.mark.parametrize("mode", CHANGED)
def test_what_a_mode_changes(mode: Any, classifier: Classifier, fit: Fit) -> None:
    options, expected = CHANGED[mode]
    before = copy.deepcopy(classifier.model.state_dict())
    fit(tuned_module(classifier, Tuning(mode=mode, **options), 3), max_epochs=3)
    assert changed(before, classifier.model) - {"0.bias"} == expected - {"0.bias"}


def counted(classifier: Classifier) -> list[int]:
    """How many images each call of the backbone has."""
    calls: list[int] = []
    classifier.model[0].register_forward_hook(lambda _, given, __: calls.append(len(given[0])))  # type: ignore[index]
    return calls


SGD = Tuning(mode="linear_probe", optimizer="sgd", lr=0.1)


def test_a_probe_on_kept_features_is_the_same_probe(classifier: Classifier, fit: Fit) -> None:
    plain, kept = classifier, copy.deepcopy(classifier)
    one, two = FineTuning(plain, SGD), tuned_module(kept, SGD, 4)
    calls = counted(kept)
    runs = [fit(module, max_epochs=4, num_sanity_val_steps=0) for module in (one, two)]
    assert calls == [50] * 8 + [8], "200 training and 200 validation images, once each, and a check"
    for found, wanted in zip(kept.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)  # batches of the cache round as the network's
    metrics = [run.callback_metrics for run in runs]
    assert metrics[0].keys() == metrics[1].keys()
    assert metrics[0]["val/acc"] == metrics[1]["val/acc"]


RANDOM: dict[str, dict[str, Any]] = {
    "noise": {"perturb": GaussianNoise()},
    "mixup": {"tuning": Tuning(mode="linear_probe", mixup=0.2)},
}


@pytest.mark.parametrize("case", RANDOM)
def test_random_images_are_asked_about_anew(case: str, classifier: Classifier, fit: Fit) -> None:
    options = {"tuning": SGD, **RANDOM[case]}
    module, calls = tuned_module(classifier, epochs=3, **options), counted(classifier)
    fit(module, max_epochs=3, num_sanity_val_steps=0)
    assert calls == [50] * (3 * 4 + 4) + [8], "only the validation images are kept, and checked"


@pytest.mark.parametrize(("augment", "asked"), [("none", 1), ("crop", 3)])
def test_augmented_images_too(augment: Any, asked: int, classifier: Classifier) -> None:
    data = Digits(limit=60, batch_size=64, augment=augment)
    images = len(data.images("train"))
    module, calls = tuned_module(classifier, SGD, 3), counted(classifier)
    quiet: Any = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=3, enable_checkpointing=False,
                        limit_val_batches=0, **quiet)  # fmt: skip
    trainer.fit(module, data)
    assert sum(calls) == asked * images + (8 if augment == "none" else 0)  # kept ones are checked


def test_a_conv_head_and_a_scaled_answer_are_answered_from_features(digits: Batch) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 10, 1)

        def forward(self, image: Tensor) -> Tensor:
            return 4 * self.head(self.body(image).relu().mean((2, 3), keepdim=True)).flatten(1)

    torch.manual_seed(0)
    gray = Preprocessing(channels=1, mean=(0.0,), std=(1.0,))
    net = Classifier(Net(), classes=10, preprocessing=gray, architecture="test")
    module: Any = tuned_module(net, SGD, 1)
    module._kept = {"train": AnswerCache()}
    module.on_train_batch_start(digits, 0)
    first, calls = module(digits.image), []
    net.model.body.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr]
    torch.testing.assert_close(module(digits.image), first)
    assert not calls


def test_a_probe_that_is_not_fitted_again_learns_from_its_own_samples(digits: Batch) -> None:
    feature, label = digits.image.flatten(1), digits.label
    held = (feature[150:], label[150:])
    probe = fit_linear_probe(feature[:150], label[:150], 10, held, refit=False)
    regression = Regression(feature[:150], label[:150], 10)
    wanted = regression.probe(regression.solve(probe.strength), probe.strength)
    torch.testing.assert_close(probe.weight, wanted.weight, rtol=1e-4, atol=1e-6)  # of the solver


def always(_: nn.Module, batch: Batch) -> Tensor:
    return torch.ones(len(batch.label), dtype=torch.bool)


MISTAKES: dict[str, tuple[Callable[[Classifier], Any], str]] = {
    "last_k elsewhere": (lambda _: Tuning(last_k=2), "tuning.last_k.*mode full"),
    "alpha elsewhere": (lambda _: Tuning(mode="staged", alpha=1), "tuning.alpha.*mode staged"),
    "last_k of nothing": (lambda _: Tuning(mode="last_k", last_k=0), "last_k"),
    "decay beside springs": (lambda _: Tuning(mode="l2_sp", weight_decay=0.1), "tuning.alpha"),
    "everything is last": (
        lambda c: tuned_module(c, Tuning(mode="last_k", last_k=3), 1),
        "below 3, the blocks of the network",
    ),
    "stages without an end": (
        lambda c: tuned_module(c, Tuning(mode="staged"), -1),
        "max_epochs",
    ),
    "another module": (lambda c: FineTuning(c, Tuning(mode="staged")), "got staged"),
    "robust": (
        lambda c: RobustFineTuning(
            c, Tuning(mode="l2_sp"), AdversarialTraining(0.1), RobustRecipe(), always
        ),
        "l2_sp with an attack",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str, classifier: Classifier) -> None:
    make, said = MISTAKES[case]
    with pytest.raises(UserError, match=said):
        make(classifier)
