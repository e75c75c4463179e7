"""Masks that hold through optimizers that would move the weights, and through a Trainer."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules.errors import UserError
from lightning_modules.masks import WeightMasks

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9),
    "lbfgs": lambda p: torch.optim.LBFGS(p, 0.1),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def masks() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "0.weight": torch.rand(8, 6, generator=draw) < 0.5,
        "2.weight": torch.rand(3, 8, generator=draw) < 0.5,
    }


def held(model: nn.Module) -> bool:
    return all(bool((model.get_parameter(n)[~mask] == 0).all()) for n, mask in masks().items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_zeros_stay_and_the_rest_learns(name: str) -> None:
    model, start = network(), network()
    optimizer = OPTIMIZERS[name](model.parameters())
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    # momentum that was there before the masks must not come back
    F.cross_entropy(model(x), y).backward()
    optimizer.step(lambda: F.cross_entropy(model(x), y))
    handle = WeightMasks(masks()).hold(model, optimizer)
    assert held(model)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)  # type: ignore[arg-type]
        assert held(model)
        for name_, mask in masks().items():
            for tensor in optimizer.state[model.get_parameter(name_)].values():
                if isinstance(tensor, Tensor) and tensor.shape == mask.shape:
                    assert bool((tensor[~mask] == 0).all())
    kept = masks()["0.weight"]
    assert not torch.equal(
        model.get_parameter("0.weight")[kept], start.get_parameter("0.weight")[kept]
    )
    handle.remove()
    optimizer.step(closure)  # type: ignore[arg-type]
    assert not held(model)


class Training(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = network()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.classifier(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, weight_decay=0.1)


def test_through_a_trainer_and_its_checkpoint_is_clean(tmp_path: Any) -> None:
    module, data = Training(), TensorDataset(torch.randn(32, 6), torch.randint(3, (32,)))
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        gradient_clip_val=0.1, accumulate_grad_batches=2,
        callbacks=[WeightMasks(masks(), within="classifier")],
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=8))
    assert trainer.global_step == 4
    assert held(module.classifier)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    assert set(saved) == {f"classifier.{name}" for name in network().state_dict()}


def test_nan_is_erased_and_zero_has_no_sign() -> None:
    model = network()
    with torch.no_grad():
        model.get_parameter("0.weight").fill_(float("nan"))
    WeightMasks({"0.weight": torch.zeros(8, 6, dtype=torch.bool)}).apply(model)
    assert not bool(model.get_parameter("0.weight").signbit().any())
    assert held(WeightMasks(masks()).apply(network()))


def test_mistakes() -> None:
    with pytest.raises(UserError, match=r"no parameter '1\.weight'\. Did you mean"):
        WeightMasks({"1.weight": torch.ones(8, 6).bool()}).apply(network())
    with pytest.raises(UserError, match="Expected a mask"):
        WeightMasks({"0.weight": torch.ones(6, 8).bool()}).apply(network())
