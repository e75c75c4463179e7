"""Training: what learns, what must not, and what is left in a checkpoint."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules import Batch, Preprocessing, UserError
from lightning_modules import (
    Classifier,
    DivergedError,
    FineTuning,
    GaussianNoise,
    Tuning,
    build,
    load_classifier,
    weight_average,
)

Fit = Callable[..., L.Trainer]
GREY = Preprocessing(channels=1, mean=(0.3,), std=(0.4,))


def state(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    """Names of what is not bit-equal any more."""
    return {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}


HEAD = {"5.weight", "5.bias"}
PROBES: dict[str, dict[str, Any]] = {
    "plain": {},
    "sgd with decay": {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.1},
    "noise": {"perturb": GaussianNoise(0.2)},
    "mixed": {"mixup": 0.4, "cutmix": 1.0},
    "averaged": {"ema": 0.9},
}


@pytest.mark.parametrize("case", PROBES.values(), ids=PROBES)
def test_a_linear_probe_changes_the_head_alone(
    case: dict[str, Any], classifier: Classifier, fit: Fit
) -> None:
    case = dict(case)
    perturb = case.pop("perturb", None)
    module = FineTuning(classifier, Tuning(mode="linear_probe", **case), perturb)
    average = [weight_average(case["ema"])] if "ema" in case else []
    before = state(classifier.model)
    fit(module, callbacks=average)
    assert changed(before, classifier.model) == HEAD


def test_frozen_also_after_a_resume(classifier: Classifier, fit: Fit, tmp_path: Path) -> None:
    before, tuning = state(classifier.model), Tuning(mode="linear_probe")
    keep = ModelCheckpoint(tmp_path, "x", save_last=True)
    fit(FineTuning(classifier, tuning), enable_checkpointing=True, callbacks=[keep], max_epochs=1)
    second = copy.deepcopy(classifier)
    second.model.load_state_dict(before)
    fit(FineTuning(second, tuning), ckpt_path=tmp_path / "x.ckpt", max_epochs=3)
    assert changed(before, second.model) == HEAD
    assert changed(state(classifier.model), second.model) == HEAD, "the second part trained on"


def test_the_frozen_part_stays_in_eval_mode(classifier: Classifier) -> None:
    module = FineTuning(classifier, Tuning(mode="linear_probe"))
    for _ in range(2):
        module.train()
        assert [name for name, part in classifier.model.named_modules() if part.training] == ["5"]
        module.eval()
        assert not any(part.training for part in module.modules())


def test_a_full_training_changes_everything(classifier: Classifier, fit: Fit) -> None:
    classifier.eval().requires_grad_(False)  # as an evaluation leaves it
    before = state(classifier.model)
    fit(FineTuning(classifier))
    assert changed(before, classifier.model) == set(before)


def test_learns_digits(classifier: Classifier, fit: Fit, digits: Batch) -> None:
    module = FineTuning(classifier, Tuning(lr=0.01))
    trainer = fit(module, max_epochs=20)
    assert set(trainer.callback_metrics) == {"train/loss", "val/loss", "val/acc"}
    classifier.eval()
    right = (classifier(digits.image).argmax(1) == digits.label).float().mean()
    assert trainer.callback_metrics["val/acc"] == pytest.approx(float(right))
    loss = nn.functional.cross_entropy(classifier(digits.image), digits.label)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(
        float(loss.detach()), rel=1e-4
    )
    assert right > 0.95


RECIPES: list[dict[str, Any]] = [
    {"schedule": "constant"},
    {"schedule": "cosine"},
    {"schedule": "step", "optimizer": "adam"},
    {"schedule": "onecycle", "optimizer": "sgd", "lr": 0.1},
    {"ema": 0.9, "loss": "mse", "label_smoothing": 0.1, "dropout": 0.1, "mixup": 0.2},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_checkpoints_load_safely_and_resume(
    recipe: dict[str, Any], fit: Fit, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "kept" / "x.ckpt"

    def module() -> FineTuning:
        lenet = build("lenet", 10, 1)
        made = Classifier(lenet, classes=10, preprocessing=GREY, architecture="builtin:lenet")
        return FineTuning(made, Tuning(**recipe))

    def extras() -> list[L.Callback]:
        keep = ModelCheckpoint(file.parent, "x", enable_version_counter=False)
        return [keep, *([weight_average(recipe["ema"])] if "ema" in recipe else [])]

    first = module()
    fit(first, enable_checkpointing=True, callbacks=extras(), max_epochs=1)
    torch.load(file, weights_only=True)
    loaded = load_classifier(f"checkpoint:{file}")
    assert not changed(state(first.classifier.model), loaded.model)
    assert loaded.architecture == "builtin:lenet"
    trainer = fit(
        module(),
        file,
        enable_checkpointing=True,
        callbacks=extras(),
        max_epochs=2,
    )
    assert trainer.global_step == 8


def test_the_average_is_what_is_validated_and_kept(classifier: Classifier, fit: Fit) -> None:
    """With a decay of 1/2 the average of weights w1..w4 has a closed form."""
    seen: list[Tensor] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            seen.append(classifier.model[5].bias.detach().clone())

    fit(
        FineTuning(classifier, Tuning(warmup=0.0)),
        callbacks=[weight_average(0.2), Watch()],
        max_epochs=1,
    )
    expected = seen[0]  # the first update copies
    for step, weights in enumerate(seen[1:], 1):
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(classifier.model[5].bias.detach(), expected)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_average_refuses(decay: float) -> None:
    with pytest.raises(UserError, match=r"Expected the `ema` decay in \(0, 1\)"):
        weight_average(decay)


def test_perturbs_a_model_in_eval_mode_and_restores_it(
    classifier: Classifier, digits: Batch
) -> None:
    seen = {}

    def attack(model: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        seen["training"] = any(part.training for part in model.modules())
        seen["learning"] = any(p.requires_grad for p in model.parameters())
        image = image.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(image), label, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, image)
        seen["image"] = (image + 0.1 * gradient.sign()).clamp(0, 1)
        return seen["image"]

    module = FineTuning(classifier, Tuning(lr=0.01), attack).train()
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    classifier.model[2].eval()  # modules may differ in mode
    classifier.model[0].bias.requires_grad_(False)  # and in what learns
    before, modes = state(classifier), [part.training for part in classifier.modules()]
    loss = module.training_step(digits, 0)
    assert seen["training"] is False
    assert seen["learning"] is False
    assert modes == [part.training for part in classifier.modules()]
    assert [p.requires_grad for p in classifier.model[0].parameters()] == [True, False]
    assert changed(before, classifier) == {
        f"model.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }, "one step of statistics"
    assert classifier.model[1].num_batches_tracked == 1
    assert all(p.grad is None for p in classifier.parameters())
    loss.backward()
    assert classifier.model[0].weight.grad is not None


def test_flags_are_restored_after_an_exception(classifier: Classifier, digits: Batch) -> None:
    def broken(*_: Any) -> Tensor:
        raise RuntimeError("attack failed")

    module = FineTuning(classifier, None, broken).train()
    with pytest.raises(RuntimeError, match="attack failed"):
        module.training_step(digits, 0)
    assert all(part.training for part in classifier.modules())
    assert all(p.requires_grad for p in classifier.parameters())


def test_a_perturbation_must_keep_the_shape(classifier: Classifier, digits: Batch) -> None:
    module = FineTuning(classifier, None, lambda model, image, label: image[:, :, :4])
    with pytest.raises(UserError, match=r"shape \(200, 1, 8, 8\), but got \(200, 1, 4, 8\)"):
        module.training_step(digits, 0)


def test_noise_stays_in_the_box(digits: Batch) -> None:
    torch.manual_seed(0)
    noisy = GaussianNoise(0.5)(nn.Identity(), digits.image, digits.label)
    assert noisy.min() == 0
    assert noisy.max() == 1
    grey = torch.full((100, 1, 8, 8), 0.5)
    assert float((GaussianNoise(0.1)(nn.Identity(), grey, grey) - grey).std()) == pytest.approx(
        0.1, 0.05
    )
    with pytest.raises(UserError, match="to be positive, but got -1"):
        GaussianNoise(-1)


def test_stops_when_the_loss_is_no_number(classifier: Classifier, fit: Fit) -> None:
    module = FineTuning(classifier, Tuning(lr=1e30, optimizer="sgd", warmup=0.0))
    with pytest.raises(DivergedError, match=r"The training loss became nan in step \d of epoch 0"):
        fit(module)


def test_a_network_without_gradients_cannot_learn(classifier: Classifier, fit: Fit) -> None:
    classifier.model.forward = torch.no_grad()(classifier.model.forward)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="No weight that is trained gets a gradient"):
        fit(FineTuning(classifier))


def test_dropout_is_set(classifier: Classifier) -> None:
    FineTuning(classifier, Tuning(dropout=0.7))
    assert classifier.model[3].p == 0.7


@pytest.mark.ddp
@pytest.mark.parametrize("mode", ["full", "linear_probe"])
def test_two_processes(mode: str, classifier: Classifier, fit: Fit, digits: Batch) -> None:
    tuning = Tuning(mode=mode, ema=0.9)  # type: ignore[arg-type]
    average = [weight_average(0.9)]
    trainer = fit(
        FineTuning(classifier, tuning, GaussianNoise(0.1)),
        strategy="ddp_fork",
        devices=2,
        callbacks=average,
        max_epochs=1,
    )
    assert set(trainer.callback_metrics) == {"train/loss", "val/loss", "val/acc"}
    assert 0 <= trainer.callback_metrics["val/acc"] <= 1
